#!/usr/bin/env python3
"""Makes what the strict catalog of prices of tests/clouds holds requests and its own answers against: see
tests/clouds/src/gcp/billing.rs.

usage: gcp_billing.py GOOGLE_API_PYTHON_CLIENT.whl OUT.json

The wheel is on PyPI (Apache-2.0) and holds Google's discovery document. Kept are the query parameters of the only method that the
provider calls, and its answer as JSON Schema, closed to fields that Google does not name.
"""

import json
import sys
import zipfile

DOCUMENT = "googleapiclient/discovery_cache/documents/cloudbilling.v1.json"
# Google writes 64-bit integers as text.
KEPT = ("type", "enum")


def schema(document: dict, node: dict) -> dict:
    if "$ref" in node:
        return schema(document, document["schemas"][node["$ref"]])
    if node["type"] == "object":
        properties = {name: schema(document, value) for name, value in node.get("properties", {}).items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if node["type"] == "array":
        return {"type": "array", "items": schema(document, node["items"])}
    return {key: node[key] for key in KEPT if key in node}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        document = json.loads(wheel.read(DOCUMENT))
    method = document["resources"]["services"]["resources"]["skus"]["methods"]["list"]
    query = {name: {"type": value["type"]} for name, value in method["parameters"].items() if value["location"] == "query"}
    made = {"revision": document["revision"], "query": query, "answer": schema(document, method["response"])}
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(json.dumps(made, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
