#!/usr/bin/env python3
"""Reduces Microsoft's OpenAPI to the operations that the Azure provider uses: tools/models/azure.py SPECIFICATION FOLDER.

SPECIFICATION is the folder `specification` of https://github.com/Azure/azure-rest-api-specs (MIT). Two files come into FOLDER,
JSON packed with zstd:

azure.json.zst: `operations` (id, method, path, query parameters) and `bodies`: the JSON Schema of each body that we send, by
operation, references resolved, read-only properties left out, unknown properties refused. Where a definition refers to itself
any object passes.

azure.openapi.json.zst: the same operations and their definitions as Microsoft has them, in one document, for validators
that others wrote.
"""
import json
import subprocess
import sys
from pathlib import Path

COMPUTE = "compute/resource-manager/Microsoft.Compute"
NETWORK = "network/resource-manager/Microsoft.Network/stable/2023-05-01"
FILES = {
    f"{COMPUTE}/ComputeRP/stable/2023-07-01/virtualMachine.json": [
        "VirtualMachines_CreateOrUpdate", "VirtualMachines_Get", "VirtualMachines_Delete", "VirtualMachines_List"],
    f"{COMPUTE}/ComputeRP/stable/2023-07-01/computeRPCommon.json": ["Usage_List"],
    f"{COMPUTE}/DiskRP/stable/2023-04-02/disk.json": ["Disks_Get", "Disks_Delete", "Disks_ListByResourceGroup"],
    f"{COMPUTE}/ComputeRP/stable/2023-07-01/virtualMachineScaleSet.json": ["VirtualMachineScaleSets_Get"],
    f"{COMPUTE}/ComputeRP/stable/2023-07-01/sshPublicKey.json": ["SshPublicKeys_Get"],
    f"{COMPUTE}/Skus/stable/2021-07-01/skus.json": ["ResourceSkus_List"],
    f"{NETWORK}/networkInterface.json": [
        "NetworkInterfaces_Get", "NetworkInterfaces_Delete", "NetworkInterfaces_List"],
    f"{NETWORK}/publicIpAddress.json": [
        "PublicIPAddresses_Get", "PublicIPAddresses_Delete", "PublicIPAddresses_List"],
    f"{NETWORK}/networkSecurityGroup.json": [
        "NetworkSecurityGroups_CreateOrUpdate", "NetworkSecurityGroups_Get", "NetworkSecurityGroups_Delete",
        "NetworkSecurityGroups_List", "SecurityRules_Get"],
    f"{NETWORK}/virtualNetwork.json": [
        "VirtualNetworks_CreateOrUpdate", "VirtualNetworks_Get", "VirtualNetworks_Delete", "VirtualNetworks_List", "Subnets_Get"],
    f"{NETWORK}/routeTable.json": ["RouteTables_Get", "Routes_Get"],
    f"{NETWORK}/natGateway.json": ["NatGateways_Get"],
}
# What says nothing about a request's form.
DROPPED = {"description", "example", "title", "discriminator", "readOnly", "format"}


class Specification:
    def __init__(self, root):
        self.root, self.read = Path(root).resolve(), {}

    def load(self, file):
        if file not in self.read:
            self.read[file] = json.loads(file.read_text(encoding="utf-8-sig"))
        return self.read[file]

    def follow(self, reference, file):
        name, pointer = reference.split("#")
        file = (file.parent / name).resolve() if name else file
        target = self.load(file)
        for key in pointer.strip("/").split("/"):
            target = target[key]
        return target, file

    def parameter(self, parameter, file):
        return self.follow(parameter["$ref"], file) if "$ref" in parameter else (parameter, file)


def flat(schema, file, specification):
    """An object's own properties and those of what it extends."""
    properties, required = dict(schema.get("properties", {})), list(schema.get("required", []))
    properties = {name: (value, file) for name, value in properties.items()}
    for part in schema.get("allOf", []):
        target, where = specification.follow(part["$ref"], file) if "$ref" in part else (part, file)
        inherited, needed = flat(target, where, specification)
        properties, required = {**inherited, **properties}, required + needed
    return properties, required


def converted(schema, file, specification, within=()):
    while "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name in within:
            return {"type": "object"}
        within += (name,)
        schema, file = specification.follow(schema["$ref"], file)
    if "properties" in schema or "allOf" in schema:
        properties, required = flat(schema, file, specification)
        written = {}
        for name, (value, where) in properties.items():
            target = specification.follow(value["$ref"], where)[0] if "$ref" in value else value
            if not (value.get("readOnly") or target.get("readOnly")):
                written[name] = converted(value, where, specification, within)
        required = [name for name in required if name in written]
        return {"type": "object", "properties": written, "required": required, "additionalProperties": False}
    result = {key: value for key, value in schema.items() if key not in DROPPED and not key.startswith("x-ms-")}
    # "Property vmSize ... the enum data type is currently deprecated": any size is allowed.
    if schema.get("x-ms-enum", {}).get("name") == "VirtualMachineSizeTypes":
        del result["enum"]
    for key in ("items", "additionalProperties"):
        if isinstance(result.get(key), dict):
            result[key] = converted(result[key], file, specification, within)
    return result


def bundled(specification, operations, bodies):
    """One document of several: definitions are named after their file too, since files share names."""
    paths, definitions, security = {}, {}, {}

    def moved(value, file):
        if isinstance(value, list):
            return [moved(item, file) for item in value]
        if not isinstance(value, dict):
            return value
        if isinstance(value.get("$ref"), str):
            target, where = specification.follow(value["$ref"], file)
            name = where.stem + "_" + value["$ref"].rsplit("/", 1)[1]
            if name not in definitions:
                definitions[name] = None
                definitions[name] = moved(target, where)
            return {"$ref": "#/definitions/" + name}
        return {key: moved(item, file) for key, item in value.items()
                if key != "x-ms-examples" and not (key == "description" and isinstance(item, str))}

    for name in FILES:
        file = (specification.root / name).resolve()
        document = specification.load(file)
        security.update(document.get("securityDefinitions", {}))
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation.get("operationId") not in operations:
                    continue
                resolved = [specification.parameter(p, file) for p in operation["parameters"]]
                # Definitions of the network refer to each other in circles, at which validators fail: only requests count.
                kept = {} if name.startswith("network/") else operation["responses"]
                # Likewise their bodies, which we have without circles.
                parameters = [
                    {**p, "schema": bodies[operation["operationId"]]}
                    if p["in"] == "body" and name.startswith("network/") else moved(p, where) for p, where in resolved]
                answers = {status: {"description": "", **moved(kept.get(status, {}), file)}
                           for status in operation["responses"]}
                paths.setdefault(path, {})[method] = {
                    "operationId": operation["operationId"], "responses": answers,
                    "parameters": parameters}
    return {
        "swagger": "2.0", "info": {"title": "Azure", "version": "1"}, "paths": paths, "definitions": definitions,
        "consumes": ["application/json"], "produces": ["application/json"], "securityDefinitions": security,
        "security": [{"azure_auth": ["user_impersonation"]}]}


def pack(output, data):
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    subprocess.run(["zstd", "-19", "--force", "--quiet", "-o", str(output)], input=text.encode(), check=True)


def main():
    root, folder = sys.argv[1:]
    specification = Specification(root)
    operations, bodies = [], {}
    for name, wanted in FILES.items():
        file = (specification.root / name).resolve()
        for path, methods in specification.load(file)["paths"].items():
            for method, operation in methods.items():
                if operation.get("operationId") not in wanted:
                    continue
                parameters = [specification.parameter(p, file) for p in operation["parameters"]]
                query = sorted(p["name"] for p, _ in parameters if p["in"] == "query")
                operations.append(
                    {"id": operation["operationId"], "method": method.upper(), "path": path, "query": query})
                for parameter, where in parameters:
                    if parameter["in"] == "body":
                        bodies[operation["operationId"]] = converted(parameter["schema"], where, specification)
    found = {operation["id"] for operation in operations}
    assert found == set(sum(FILES.values(), [])) and bodies, f"found only {found}"
    pack(Path(folder) / "azure.json.zst", {"operations": operations, "bodies": bodies})
    pack(Path(folder) / "azure.openapi.json.zst", bundled(specification, found, bodies))


main()
