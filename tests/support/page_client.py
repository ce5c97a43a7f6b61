"""A visitor of the page without a browser: uploads, presses, fetches, and keeps all it was sent."""

from __future__ import annotations

import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modeling_mteeg.app.page import build_page, launch
from modeling_mteeg.app.page_folder import page_folder


@contextmanager
def running_page(served: Any, reason: str = "") -> Iterator[tuple[str, Any]]:
    """A page over a base in this process; its address, and what Gradio made of it."""
    with page_folder():
        blocks = build_page(served, reason)
        launch(blocks, wait=False)
        try:
            yield blocks.local_url, blocks
        finally:
            blocks.close(verbose=False)


class Visitor:
    """One tab: what its JavaScript would do.

    Attributes
    ----------
    received : list of str
        Every text that the server sent, heads included.
    """

    def __init__(self, address: str, name: str | None = None) -> None:
        self.address, self.name = address.rstrip("/"), name or secrets.token_hex(6)
        self.received: list[str] = []
        self.config = json.loads(self.get("/config"))
        self.functions = self.config["dependencies"]
        self._line: Any = None

    def fetch(self, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
        """Status and body of an answer, whatever it says."""
        request = urllib.request.Request(self.address + path, body)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, head, data = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            status, head, data = error.code, error.headers, error.read()
        self.received.append(f"{head}\n{data.decode('latin-1')}")
        return status, data

    def get(self, path: str) -> str:
        """An answer that must be there."""
        status, data = self.fetch(path)
        assert status == 200, (path, status, data[:500])
        return data.decode("utf-8", errors="replace")

    def upload(self, *files: Path) -> list[str]:
        """What the server calls the files."""
        mark = secrets.token_hex(16)
        parts = b""
        for file in files:
            named = f'form-data; name="files"; filename="{file.name}"'
            head = f"--{mark}\r\nContent-Disposition: {named}\r\n"
            head += "Content-Type: application/octet-stream\r\n\r\n"
            parts += head.encode()
            parts += file.read_bytes() + b"\r\n"
        body = parts + f"--{mark}--\r\n".encode()
        status, data = self.fetch(
            "/gradio_api/upload", body, f"multipart/form-data; boundary={mark}"
        )
        assert status == 200, data
        return json.loads(data)

    def call(self, function: int, data: list[Any], event: Any = None, trigger: Any = None) -> Any:
        """Press something; what its parts become."""
        body = {"data": data, "event_data": event, "fn_index": function, "trigger_id": trigger,
                "session_hash": self.name}  # fmt: skip
        status, said = self.fetch("/gradio_api/queue/join?", json.dumps(body).encode(),
                                  "application/json")  # fmt: skip
        assert status == 200, said
        last: dict[str, Any] = {}
        for line in self.get(f"/gradio_api/queue/data?session_hash={self.name}").splitlines():
            if not line.startswith("data:"):
                continue
            message = json.loads(line[5:])
            if config := (message.get("output") or {}).get("render_config"):
                self.functions = [*self.functions, *config["dependencies"]]
                self.rendered = config
            if message["msg"] == "process_completed":
                last = message
        return last

    def find(self, element: str, event: str) -> dict[str, Any]:
        """What is called when something happens to a part of the page, by the part's id."""
        parts = {part["id"]: part for part in self.config["components"]}
        ids = {number for number, part in parts.items()
               if part["props"].get("elem_id") == element}  # fmt: skip
        return next(
            one for one in self.functions
            if any(target in ids and kind == event for target, kind in one["targets"])
        )  # fmt: skip

    @contextmanager
    def there(self) -> Iterator[None]:
        """The page is open for so long."""
        url = f"{self.address}/gradio_api/heartbeat/{self.name}"
        with urllib.request.urlopen(url, timeout=60) as line:
            line.readline()
            yield


def file_data(reference: str) -> dict[str, Any]:
    """A file in a call, as Gradio's page writes it."""
    name = reference.rpartition("/")[2]
    return {"path": reference, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def addresses(text: str) -> list[str]:
    """Where a text of the page says that results are."""
    return sorted(set(re.findall(r"results/[\w-]{43}/[\w.-]+", text)))
