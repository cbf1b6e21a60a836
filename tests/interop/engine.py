"""A real engine, `isobar serve`, in a temporary data folder, for the tests beside this.

It plans with an image that only looks like one: no machine boots here.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
ISOBAR = os.environ.get("ISOBAR", str(REPOSITORY / "target/debug/isobar"))
SHOP = REPOSITORY / "examples/shop.yaml"

# An engine listens within this time, and ends within it, or the tests fail.
PATIENCE_S = 30

MANIFEST = {
    "format": 1,
    "id": "node-empty",
    "command_line": "quiet",
    "kernel": {"file": "vmlinux", "bytes": 0},
    "initramfs": {"file": "initramfs", "bytes": 0},
}


class Engine:
    """Runs from `start` to `stop`; may be killed in between and started again where it was."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="isobar-interop.")
        self.data = pathlib.Path(self.folder.name) / "data"
        self.log = pathlib.Path(self.folder.name) / "engine.log"
        self.process = None
        self.url = None
        self.listens = "127.0.0.1:0"

    def start(self, *options):
        image = pathlib.Path(self.folder.name) / "image"
        image.mkdir(exist_ok=True)
        (image / "manifest.json").write_text(json.dumps(MANIFEST))
        for name in ("vmlinux", "initramfs"):
            (image / name).touch()
        told = pathlib.Path(self.folder.name) / "serve.json"
        arguments = ["serve", "--output", "json", "--image", image, "--listen", self.listens, "--node-listen", "127.0.0.1:0"]
        arguments += options
        with told.open("w") as output, self.log.open("a") as log:
            self.process = subprocess.Popen([ISOBAR, *arguments], env=self.environment(), stdout=output, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.url = json.loads(told.read_text())["mcp"]
                self.listens = self.url.removeprefix("http://").removesuffix("/mcp")
                return
            except ValueError:
                time.sleep(0.05)
        log = self.log.read_text()
        self.stop()
        raise AssertionError(f"the engine does not listen:\n{log}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def stop(self):
        self.end()
        self.folder.cleanup()

    def command(self, *arguments):
        """What the command says, run beside the engine."""
        ran = subprocess.run([ISOBAR, *arguments], env=self.environment(), check=True, capture_output=True)
        return ran.stdout

    def environment(self):
        return {"PATH": os.environ["PATH"], "ISOBAR_DATA": str(self.data)}

    def token(self):
        return (self.data / "token").read_text().strip()


def schema_of_specs():
    """What `isobar schema` prints."""
    return json.loads(subprocess.run([ISOBAR, "schema"], check=True, capture_output=True).stdout)
