"""A headless Chromium for tests, driven over a pipe with the standard library alone."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Tab:
    """One page, and everything it has said and asked for."""

    def __init__(self, write: int, read: int, patience: float = 120.0) -> None:
        self._write, self._read, self._buffer, self._number = write, read, b"", 0
        self._session: str | None = None
        self._deadline = time.monotonic() + patience
        self.events: list[dict[str, Any]] = []

    def start(self, width: int, height: int, *, mobile: bool, dark: bool) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not self.said("Page.loadEventFired"):
            self._receive()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        given = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return given["result"].get("value")

    def said(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def screenshot(self, out: Path, *, full: bool = True) -> None:
        given = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        out.write_bytes(base64.b64decode(given["data"]))

    def pdf(self, out: Path) -> None:
        given = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        out.write_bytes(base64.b64decode(given["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise EOFError("Chromium has ended")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        if "id" not in message:
            self.events.append(message)
        return message


@contextlib.contextmanager
def tab(
    profile: Path,
    *,
    width: int = 1280,
    height: int = 900,
    mobile: bool = False,
    dark: bool = False,
) -> Iterator[Tab]:
    """Starts a browser with a profile of its own, and ends it."""
    assert PROGRAM
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    # The browser reads from descriptor 3 and writes to 4.
    command = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    browser = subprocess.Popen(
        ["bash", "-c", command, "bash", PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        opened = Tab(ours_out, ours_in)
        opened.start(width, height, mobile=mobile, dark=dark)
        yield opened
    finally:
        browser.kill()
        browser.wait()
        os.close(ours_out)
        os.close(ours_in)
