"""The MCP SDK for Python drives a real engine: over streamable HTTP and through `isobar mcp`, in the newest revision of the
protocol and in the one with a handshake. What it accepts, other clients built on the protocol's text accept too.
"""

import contextlib
import logging
import unittest

import httpx2
import jsonschema
import mcp
import yaml
from mcp.client.streamable_http import streamable_http_client

from engine import ISOBAR, SHOP, Engine, schema_of_specs

NEWEST = "2026-07-28"
TOOLS = ["discover", "query", "plan", "apply", "operation_get", "operation_cancel", "explain", "import_terraform",
         "import_hand_over", "leaks", "recover", "recover_adopt", "recover_release", "recover_end", "logs", "audit",
         "terraform_states", "terraform_state_read", "terraform_unlock"]
CHANGING = {"apply", "operation_cancel", "import_terraform", "import_hand_over", "recover_adopt", "recover_release",
            "recover_end", "terraform_unlock"}


def setUpModule():
    global engine
    # It tells of every wait that is longer than a tenth of a second.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    engine = Engine()
    engine.start()


def tearDownModule():
    engine.stop()


@contextlib.asynccontextmanager
async def over_http(mode):
    headers = {"Authorization": f"Bearer {engine.token()}"}
    async with httpx2.AsyncClient(headers=headers) as http:
        async with mcp.Client(streamable_http_client(engine.url, http_client=http), mode=mode) as client:
            yield client


@contextlib.asynccontextmanager
async def over_stdio(mode):
    server = mcp.StdioServerParameters(command=ISOBAR, args=["mcp"], env=engine.environment())
    async with mcp.Client(server, mode=mode) as client:
        yield client


class Conversation:
    """What every transport and revision gives."""

    def connect(self):
        return type(self).transport(self.mode)

    async def answer(self, client, tool, **arguments):
        result = await client.call_tool(tool, arguments)
        self.assertFalse(result.is_error, result)
        self.assertIsNotNone(result.structured_content, "the answer is typed")
        return result.structured_content

    async def refusal(self, client, tool, **arguments):
        result = await client.call_tool(tool, arguments)
        self.assertTrue(result.is_error, result)
        return result.structured_content

    async def test_the_revision_is_the_one_that_was_asked_for(self):
        async with self.connect() as client:
            version = client.session.protocol_version
            if self.mode == "legacy":
                self.assertLess(version, NEWEST)
            else:
                self.assertEqual(version, NEWEST)
            if self.mode != NEWEST:
                # Who pins the revision asks nobody who is there.
                self.assertEqual(client.server_info.name, "isobar")
                self.assertIn("plan", client.instructions)

    async def test_every_tool_is_listed_with_schemas_that_are_schemas(self):
        async with self.connect() as client:
            tools = (await client.list_tools()).tools
        self.assertEqual([tool.name for tool in tools], TOOLS)
        for tool in tools:
            for schema in (tool.input_schema, tool.output_schema):
                self.assertEqual(schema["type"], "object", tool.name)
                jsonschema.Draft202012Validator.check_schema(schema)
            self.assertTrue(tool.title and tool.description, tool.name)
            self.assertEqual(tool.annotations.read_only_hint, tool.name not in CHANGING, tool.name)

    async def test_answers_are_what_their_schemas_say(self):
        async with self.connect() as client:
            schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
            discovery = await self.answer(client, "discover")
            plan = await self.answer(client, "plan", intent={"intent": "deploy", "spec": shop()})
        jsonschema.validate(discovery, schemas["discover"], jsonschema.Draft202012Validator)
        jsonschema.validate(plan, schemas["plan"], jsonschema.Draft202012Validator)
        self.assertEqual((discovery["providers"], discovery["clusters"]), (["local", "aws", "azure", "gcp"], []))
        self.assertFalse(plan["converged"])
        machines = [step for step in plan["plan"]["body"]["steps"] if step["action"]["action"] == "buy_machine"]
        self.assertEqual(len(machines), 3)
        self.assertTrue(plan["outline"])

    async def test_wrong_arguments_are_told_with_place_and_what_is_allowed(self):
        async with self.connect() as client:
            error = await self.refusal(client, "query", what="machine", cluster="shop")
            self.assertEqual((error["code"], error["pointer"]), ("invalid_argument", "/what"))
            self.assertIn("machines", error["allowed"])

            spec = shop()
            spec["workloads"]["web"]["helth"] = spec["workloads"]["web"].pop("health")
            error = await self.refusal(client, "plan", intent={"intent": "deploy", "spec": spec})
            self.assertEqual(error["pointer"], "/intent/spec/workloads/web/helth")
            self.assertIn("health", error["hint"])

            spec = shop()
            spec["pools"]["north"]["machines"] = {"min": 3, "max": 2}
            spec["workloads"]["web"]["kind"]["service"]["min_available"] = 99
            error = await self.refusal(client, "plan", intent={"intent": "deploy", "spec": spec})
            self.assertEqual(
                [problem["pointer"].removeprefix("/intent/spec/") for problem in error["problems"]],
                ["pools/north/machines/min", "workloads/web/kind/service/min_available"],
            )

    async def test_what_is_not_there_is_refused_with_what_to_do(self):
        async with self.connect() as client:
            error = await self.refusal(client, "operation_get", operation="op-none")
            self.assertEqual(error["code"], "not_found")
            error = await self.refusal(client, "apply", plan="plan-none", idempotency_key="once")
            self.assertEqual(error["code"], "not_found")
            self.assertTrue(error["hint"])

    async def test_an_unknown_tool_is_an_error_of_the_protocol(self):
        async with self.connect() as client:
            with self.assertRaises(mcp.MCPError) as raised:
                await client.session.call_tool("reboot_everything", {})
            self.assertIn("unknown tool", str(raised.exception))


class NewestOverHttp(Conversation, unittest.IsolatedAsyncioTestCase):
    transport, mode = staticmethod(over_http), NEWEST


class FoundOutOverHttp(Conversation, unittest.IsolatedAsyncioTestCase):
    transport, mode = staticmethod(over_http), "auto"


class LegacyOverHttp(Conversation, unittest.IsolatedAsyncioTestCase):
    transport, mode = staticmethod(over_http), "legacy"


class FoundOutOverStdio(Conversation, unittest.IsolatedAsyncioTestCase):
    transport, mode = staticmethod(over_stdio), "auto"


class LegacyOverStdio(Conversation, unittest.IsolatedAsyncioTestCase):
    transport, mode = staticmethod(over_stdio), "legacy"


class Strangers(unittest.IsolatedAsyncioTestCase):
    """Who has no token learns nothing, in any revision."""

    async def test_without_the_token_there_is_no_connection(self):
        for mode in (NEWEST, "auto", "legacy"):
            with self.subTest(mode=mode), self.assertRaises(Exception):
                async with mcp.Client(engine.url, mode=mode) as client:
                    await client.list_tools()


class PublishedSchema(unittest.TestCase):
    """The schema of specs, as another validator reads it."""

    def test_the_example_is_what_the_schema_asks_for(self):
        schema = schema_of_specs()
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(shop(), schema, jsonschema.Draft202012Validator)

    def test_what_a_spec_refuses_the_schema_refuses(self):
        wrong = shop()
        next(iter(wrong["pools"].values()))["machines"] = {"min": 1, "max": 2, "mox": 2}
        with self.assertRaises(jsonschema.ValidationError) as raised:
            jsonschema.validate(wrong, schema_of_specs(), jsonschema.Draft202012Validator)
        self.assertIn("mox", raised.exception.message)


def shop():
    return yaml.safe_load(SHOP.read_text())


if __name__ == "__main__":
    unittest.main()
