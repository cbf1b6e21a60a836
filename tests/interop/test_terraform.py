"""Terraform and OpenTofu themselves keep their states in a real engine, over their `http` backend: each program that
`TERRAFORMS` names goes through the same story. `terraform_data` is built into both, so no provider is needed.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from engine import Engine

# Programs, separated by `:`. The test fails where there is none: `./dev test interop` finds or builds one.
PROGRAMS = os.environ["TERRAFORMS"].split(":")
# What a program does here takes seconds; longer, and the test fails.
PATIENCE_S = 120
SECRET = "planted-and-never-to-be-seen"

BACKEND = """
terraform {
  backend "http" {}
}
"""
THINGS = """
resource "terraform_data" "web" {
  count = 3
  input = "%s ${count.index}"
}
output "webs" { value = terraform_data.web[*].id }
""" % SECRET
# Waits for the file `go` in the middle of an apply, once `begun` tells that it is there.
SLOW = """
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "touch begun; while [ ! -e go ]; do sleep 0.1; done"
  }
}
"""


class Configuration:
    """A folder with a configuration whose state is in an engine."""

    def __init__(self, program, engine, state, *parts):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="isobar-terraform."))
        self.program, self.engine, self.state = program, engine, state
        self.password = None
        self.write("\n".join([BACKEND, *parts]))

    def write(self, text):
        (self.folder / "main.tf").write_text(text)

    @property
    def address(self):
        return f"{self.engine.url.removesuffix('/mcp')}/terraform/{self.state}"

    def environment(self):
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"], "HOME": str(home), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1",
            "TF_HTTP_ADDRESS": self.address, "TF_HTTP_LOCK_ADDRESS": self.address,
            "TF_HTTP_UNLOCK_ADDRESS": self.address, "TF_HTTP_USERNAME": "isobar",
            "TF_HTTP_PASSWORD": self.password or self.engine.token(),
            # Long enough for an engine to be started again.
            "TF_HTTP_RETRY_MAX": "5", "TF_HTTP_RETRY_WAIT_MIN": "1", "TF_HTTP_RETRY_WAIT_MAX": "4",
        }

    def start(self, *arguments):
        return subprocess.Popen([self.program, *arguments], cwd=self.folder, env=self.environment(), text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, *arguments, expect=0):
        running = self.start(*arguments)
        told, _ = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == expect, f"{arguments} ended with {running.returncode}:\n{told}"
        return told

    def init(self):
        self.run("init", "-input=false", "-no-color")

    def init_again(self):
        """The backend is at another address."""
        self.run("init", "-input=false", "-no-color", "-reconfigure")

    def apply(self, expect=0):
        return self.run("apply", "-auto-approve", "-input=false", "-no-color", expect=expect)

    def remove(self):
        shutil.rmtree(self.folder)

    # The story of an apply that waits in its middle.

    def start_slow_apply(self):
        running = self.start("apply", "-auto-approve", "-input=false", "-no-color")
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / "begun").exists():
            assert running.poll() is None and time.monotonic() < deadline, running.communicate()[0]
            time.sleep(0.05)
        return running

    def let_go(self):
        (self.folder / "go").touch()


def request(configuration, method, body=None, **headers):
    """One request to a state's address, as a third client sends it. The status and the body."""
    credentials = base64.b64encode(f"x:{configuration.engine.token()}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", **headers}
    asked = urllib.request.Request(configuration.address, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


class Story:
    """What every program must live through."""

    program = None

    def setUp(self):
        self.engine = Engine()
        self.engine.start()
        self.addCleanup(self.engine.stop)

    def configuration(self, state, *parts):
        made = Configuration(self.program, self.engine, state, *parts)
        self.addCleanup(made.remove)
        made.init()
        return made

    def states(self):
        return {state["state"]: state for state in json.loads(self.engine.command("terraform", "states", "-o", "json"))}

    def test_a_state_lives_here_and_comes_back_byte_for_byte(self):
        shop = self.configuration("shop/production", THINGS)
        self.assertIn("3 added", shop.apply())
        self.assertIn("No changes", shop.run("plan", "-detailed-exitcode", "-no-color"))

        stored = self.engine.command("terraform", "get", "shop/production")
        self.assertEqual(shop.run("state", "pull").strip("\n"), stored.decode().strip("\n"))
        status, body = request(shop, "GET")
        self.assertEqual((status, body), (200, stored))
        listed = self.states()["shop/production"]
        told = json.loads(stored)
        self.assertEqual((listed["head"]["serial"], listed["head"]["lineage"]), (told["serial"], told["lineage"]))
        self.assertEqual(listed["head"]["bytes"], len(stored))
        self.assertIsNone(listed["lock"])

        entries = json.loads(self.engine.command("audit", "-o", "json"))["entries"]
        written = [entry["what"] for entry in entries if entry["what"]["what"] == "state_written"]
        self.assertEqual(written[0]["serial"], told["serial"])
        self.assertIn("@", written[0]["by"], "the lock says who")
        self.assertTrue(json.loads(self.engine.command("audit", "verify", "-o", "json"))["intact"])

        self.assertIn(SECRET, stored.decode())
        for file in [self.engine.log, *(path for path in self.engine.data.rglob("*") if path.is_file())]:
            self.assertNotIn(SECRET.encode(), file.read_bytes(), file)

    def test_what_is_older_or_anothers_is_refused_even_when_it_is_forced(self):
        shop = self.configuration("shop", THINGS)
        shop.apply()
        first = self.engine.command("terraform", "get", "shop")
        shop.write(BACKEND + THINGS.replace("count = 3", "count = 4"))
        shop.apply()
        last = self.engine.command("terraform", "get", "shop")
        older, other = shop.folder / "older.json", shop.folder / "other.json"
        older.write_bytes(first)
        newer = json.loads(last)
        other.write_text(json.dumps({**newer, "lineage": "another", "serial": newer["serial"] + 1}))
        for file, why in [(older, "serial"), (other, "lineage")]:
            shop.run("state", "push", file.name, expect=1)
            # Only here the program leaves it to the backend.
            self.assertIn("409", shop.run("state", "push", "-force", file.name, expect=1))
            self.assertIn(why, self.states()["shop"]["refused"])
        self.assertEqual(self.engine.command("terraform", "get", "shop"), last)
        history = json.loads(self.engine.command("terraform", "history", "shop", "-o", "json"))
        oldest = history[-1]["version"]
        kept = [self.engine.command("terraform", "get", "shop", "--version", str(one["version"])) for one in history]
        self.assertIn(first, kept)
        self.assertEqual(oldest, 1)
        self.assertIsNone(self.states()["shop"]["lock"], "a refusal leaves no lock behind")

    def test_of_two_applies_one_is_told_who_holds_the_state(self):
        slow = self.configuration("shop", SLOW)
        running = slow.start_slow_apply()
        second = self.configuration("shop", SLOW)
        told = second.apply(expect=1)
        self.assertIn("Error acquiring the state lock", told)
        lock = self.states()["shop"]["lock"]
        self.assertIn(lock["id"], told)
        self.assertIn(lock["who"], told)
        slow.let_go()
        self.assertEqual(running.wait(PATIENCE_S), 0, running.communicate()[0])
        second.let_go()
        self.assertIn("0 added", second.apply())

    def test_the_lock_of_a_killed_apply_is_taken_away_by_its_id(self):
        slow = self.configuration("shop", SLOW)
        running = slow.start_slow_apply()
        running.kill()
        running.communicate()
        slow.let_go()
        lock = self.states()["shop"]["lock"]["id"]
        self.assertIn(lock, slow.apply(expect=1))
        with self.assertRaises(subprocess.CalledProcessError):
            self.engine.command("terraform", "unlock", "shop", "--lock", "another")
        self.engine.command("terraform", "unlock", "shop", "--lock", lock)
        slow.apply()
        entries = json.loads(self.engine.command("audit", "-o", "json"))["entries"]
        self.assertIn("state_unlocked", [entry["what"]["what"] for entry in entries])

    def test_force_unlock_without_a_locks_id_is_behind_a_switch(self):
        slow = self.configuration("shop", SLOW)
        running = slow.start_slow_apply()
        running.kill()
        running.communicate()
        slow.let_go()
        lock = self.states()["shop"]["lock"]["id"]
        status, words = request(slow, "UNLOCK", b"")
        self.assertEqual(status, 409)
        self.assertIn(b"--terraform-force-unlock", words)
        self.engine.end()
        self.engine.start("--terraform-force-unlock")
        slow.run("force-unlock", "-force", lock)
        slow.apply()

    def test_a_wrong_password_opens_nothing(self):
        shop = self.configuration("shop", THINGS)
        shop.password = "0" * 64
        self.assertIn("auth", shop.apply(expect=1).lower())
        self.assertEqual(self.states(), {})

    def test_a_restored_backup_has_the_states_and_takes_none_until_it_is_recovered(self):
        shop = self.configuration("shop", THINGS)
        shop.apply()
        stored = self.engine.command("terraform", "get", "shop")
        backup = shop.folder / "isobar.backup"
        self.engine.command("backup", backup)
        self.assertNotIn(SECRET.encode(), backup.read_bytes())
        key = (self.engine.data / "key").read_bytes()
        self.engine.end()

        restored = Engine()
        self.addCleanup(restored.stop)
        restored.command("restore", backup)
        (restored.data / "key").touch(mode=0o600)
        (restored.data / "key").write_bytes(key)
        restored.start()
        shop.engine = restored
        self.assertEqual(request(shop, "GET"), (200, stored))
        lock = b'{"ID":"1"}'
        self.assertEqual(request(shop, "LOCK", lock)[0], 503)
        restored.command("recover", "end")
        deadline = time.monotonic() + PATIENCE_S
        while request(shop, "LOCK", lock)[0] != 200:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.assertEqual(request(shop, "UNLOCK", lock)[0], 200)
        shop.init_again()
        self.assertIn("No changes", shop.run("plan", "-no-color"))

    def test_an_engine_that_dies_between_lock_and_write_loses_neither(self):
        slow = self.configuration("shop", SLOW)
        running = slow.start_slow_apply()
        before = self.states()["shop"]["lock"]
        self.engine.kill()
        self.engine.start()
        self.assertEqual(self.states()["shop"]["lock"], before)
        self.engine.kill()
        # The client now writes to nobody, and goes on asking.
        slow.let_go()
        time.sleep(1)
        self.engine.start()
        told, _ = running.communicate(timeout=PATIENCE_S)
        self.assertEqual(running.returncode, 0, told)
        self.assertIn("No changes", slow.run("plan", "-no-color"))
        self.assertIsNone(self.states()["shop"]["lock"])


def _stories():
    for path in PROGRAMS:
        name = pathlib.Path(path).name
        yield f"Test{name.capitalize()}", type(f"Test{name.capitalize()}", (Story, unittest.TestCase), {"program": path})


globals().update(dict(_stories()))


if __name__ == "__main__":
    unittest.main()
