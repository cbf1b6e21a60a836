#!/usr/bin/env python3
"""Reduces Google's discovery document of Compute Engine to what the strict cloud of tests/clouds checks requests and answers
by: the methods that the provider uses and every schema under them, without their prose.

usage: gcp.py GOOGLE_API_PYTHON_CLIENT.whl OUT.json.zst

The wheel is on PyPI (Apache-2.0) and holds the document as Google serves it.
"""

import json
import subprocess
import sys
import zipfile

DOCUMENT = "googleapiclient/discovery_cache/documents/compute.v1.json"
METHODS = """
    addresses.get
    disks.aggregatedList disks.delete disks.get
    firewalls.delete firewalls.get firewalls.insert firewalls.list
    globalAddresses.get globalOperations.wait
    instanceGroupManagers.get instanceTemplates.get
    instances.aggregatedList instances.delete instances.get instances.getSerialPortOutput instances.insert
    machineTypes.list
    networks.delete networks.get networks.insert networks.list
    regionDisks.get regionInstanceGroupManagers.get regionInstanceTemplates.get
    regionOperations.wait regions.get
    routers.delete routers.get routers.insert routers.list
    routes.get
    subnetworks.delete subnetworks.get subnetworks.insert subnetworks.list
    zoneOperations.wait
""".split()
PROSE = {"description", "enumDescriptions", "enumDeprecated", "deprecated", "scopes", "flatPath", "parameterOrder", "default"}


def without_prose(node: object, named: bool = False) -> object:
    """`named`: the keys are names of somebody's fields, whatever they are called."""
    if isinstance(node, dict):
        kept = {key: value for key, value in node.items() if named or key not in PROSE}
        return {key: without_prose(value, key in ("properties", "parameters") and not named) for key, value in kept.items()}
    if isinstance(node, list):
        return [without_prose(value) for value in node]
    return node


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        document = json.loads(wheel.read(DOCUMENT))
    methods = {}
    for name in METHODS:
        resource, method = name.split(".")
        methods[name] = without_prose(document["resources"][resource]["methods"][method])
    schemas: dict[str, object] = {}
    wanted = references(methods)
    while wanted:
        name = wanted.pop()
        schemas[name] = without_prose(document["schemas"][name])
        wanted |= references(schemas[name]) - schemas.keys()
    reduced = {
        "revision": document["revision"],
        "parameters": sorted(document["parameters"]),
        "methods": methods,
        "schemas": schemas,
    }
    text = json.dumps(reduced, sort_keys=True, separators=(",", ":"))
    subprocess.run(["zstd", "-q", "-19", "-f", "-o", sys.argv[2]], input=text.encode(), check=True)


if __name__ == "__main__":
    main()
