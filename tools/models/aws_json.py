#!/usr/bin/env python3
"""Makes the schemas that the strict services beside EC2 check requests by: see tests/clouds/src/aws/beside.rs.

usage: aws_json.py BOTOCORE.whl OUT.json

The wheel is on PyPI (Apache-2.0). Kept are the requests of the operations that providers/aws calls, as JSON Schema by the
name that stands in the header X-Amz-Target, with the name that a signature has to be for.
"""

import gzip
import json
import sys
import zipfile

OPERATIONS = {
    "service-quotas/2019-06-24": ["ListServiceQuotas"],
    "pricing/2017-10-15": ["GetProducts"],
}


def schema(shapes: dict, name: str) -> dict:
    shape = shapes[name]
    if shape["type"] == "structure":
        members = {member: schema(shapes, to["shape"]) for member, to in shape["members"].items()}
        required = shape.get("required", [])
        return {"type": "object", "properties": members, "required": required, "additionalProperties": False}
    if shape["type"] == "list":
        return {"type": "array", "items": schema(shapes, shape["member"]["shape"])}
    if shape["type"] == "string":
        bounds = {"min": "minLength", "max": "maxLength", "enum": "enum"}
    else:
        bounds = {"min": "minimum", "max": "maximum"}
    kept = {to: shape[of] for of, to in bounds.items() if of in shape}
    return {"type": shape["type"], **kept}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    made = {}
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        for folder, operations in OPERATIONS.items():
            model = json.loads(gzip.decompress(wheel.read(f"botocore/data/{folder}/service-2.json.gz")))
            metadata = model["metadata"]
            signed_for = metadata.get("signingName", metadata["endpointPrefix"])
            for operation in operations:
                request = model["operations"][operation]["input"]["shape"]
                target = f"{metadata['targetPrefix']}.{operation}"
                made[target] = {"signed_for": signed_for, "request": schema(model["shapes"], request)}
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(json.dumps(made, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
