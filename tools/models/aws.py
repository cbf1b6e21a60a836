#!/usr/bin/env python3
"""Makes the model that the strict EC2 of tests/clouds checks requests against: see tests/clouds/src/aws/model.rs.

usage: aws.py service-2.json[.gz] OUT.json.zst

The input is botocore's data/ec2/2016-11-15/service-2.json.gz (Apache-2.0). Kept are the requests of the operations that
providers/aws calls, with their types, names on the wire, required members, allowed words and bounds.
"""

import gzip
import json
import subprocess
import sys

OPERATIONS = [
    "AttachInternetGateway",
    "AuthorizeSecurityGroupIngress",
    "CreateInternetGateway",
    "CreateRoute",
    "CreateSecurityGroup",
    "CreateSubnet",
    "CreateVpc",
    "DeleteInternetGateway",
    "DeleteNetworkInterface",
    "DeleteSecurityGroup",
    "DeleteSubnet",
    "DeleteVolume",
    "DeleteVpc",
    "DescribeImages",
    "DescribeInstanceTypeOfferings",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeInternetGateways",
    "DescribeNetworkInterfaces",
    "DescribeRouteTables",
    "DescribeSecurityGroups",
    "DescribeSpotPriceHistory",
    "DescribeSubnets",
    "DescribeVolumes",
    "DescribeVpcs",
    "DetachInternetGateway",
    "GetConsoleOutput",
    "RunInstances",
    "TerminateInstances",
]
KEPT = ("type", "required", "enum", "min", "max")


def wire_name(name: str, member: dict) -> str:
    """The ec2 protocol's name of a member in a query: queryName, else locationName with a capital, else its own."""
    if "queryName" in member:
        return member["queryName"]
    location = member.get("locationName")
    return location[0].upper() + location[1:] if location else name


def reduced(shape: dict) -> dict:
    kept = {key: shape[key] for key in KEPT if key in shape}
    if shape["type"] == "list":
        kept["member"] = shape["member"]["shape"]
    if shape["type"] == "structure":
        kept["members"] = {wire_name(name, member): member["shape"] for name, member in shape["members"].items()}
        kept["required"] = [wire_name(name, shape["members"][name]) for name in shape.get("required", [])]
    return kept


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = sys.argv[1:]
    opened = gzip.open if source.endswith(".gz") else open
    with opened(source, "rt", encoding="utf-8") as file:
        model = json.load(file)
    operations = {name: model["operations"][name]["input"]["shape"] for name in OPERATIONS}
    shapes, wanted = {}, list(operations.values())
    while wanted:
        name = wanted.pop()
        if name not in shapes:
            shapes[name] = reduced(model["shapes"][name])
            wanted += shapes[name].get("members", {}).values()
            wanted += [shapes[name]["member"]] if "member" in shapes[name] else []
    text = json.dumps({"version": model["metadata"]["apiVersion"], "operations": operations, "shapes": shapes}, sort_keys=True)
    subprocess.run(["zstd", "-q", "-19", "-f", "-o", out], input=text.encode(), check=True)


if __name__ == "__main__":
    main()
