"""What the Hub of the tests stands on: requests read, logged and answered, and faults on demand."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import File, HubError

if TYPE_CHECKING:
    from hub_server import HubServer


@dataclasses.dataclass
class Fault:
    """What goes wrong with requests that match: ``times`` of them, after ``skip`` that pass.

    ``kind`` is a status, ``cut`` (the connection ends in the middle of what is sent or received),
    ``lost`` (all is done, but the answer does not come), ``garble`` (as many bytes, others) or
    ``held`` (nothing happens until ``go`` is set).
    """

    kind: int | str
    method: str = ""
    path: str = ""
    times: float = float("inf")
    skip: int = 0
    met: int = 0
    go: threading.Event = dataclasses.field(default_factory=threading.Event)

    def meets(self, method: str, path: str) -> bool:
        """Count a request, and say whether it fails."""
        if (self.method and method != self.method) or not re.search(self.path, path):
            return False
        self.met += 1
        return self.skip < self.met <= self.skip + self.times


@dataclasses.dataclass(frozen=True)
class Request:
    """One request and what was answered (0: nothing)."""

    method: str
    path: str
    status: int
    token: str | None
    sent: int
    range: str | None = None


class Store(ThreadingHTTPServer):
    """Where large files lie, at an address of its own."""

    daemon_threads = True

    def __init__(self, hub: HubServer) -> None:
        super().__init__(("127.0.0.1", 0), StoreHandler)
        self.hub = hub
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Cut(Exception):
    """The connection ends here."""


class Handler(BaseHTTPRequestHandler):
    """Reading, answering, faults and the log; what is answered is the subclasses' matter."""

    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # one packet an answer: no 40 ms of waiting
    hub: HubServer
    routes: tuple[tuple[str, str, str], ...] = ()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.fault, self.sent, self.status = None, 0, 0
        self.place = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(self.place.query).items()}
        try:
            self._answer()
        except (_Cut, BrokenPipeError, ConnectionResetError):
            self.close_connection, self.status = True, 0
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        wanted = self.headers.get("Range")
        if self.place.path == "/":  # other programs on this machine look who is at a port
            return
        with self.hub.lock:
            self.hub.requests.append(
                Request(self.command, self.place.path, self.status, token, self.sent, wanted)
            )

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        with self.hub.lock:
            met = [one for one in self.hub.faults if one.meets(self.command, self.place.path)]
        self.fault = met[0] if met else None
        kind = self.fault.kind if self.fault else None
        length = int(self.headers.get("Content-Length") or 0)
        if kind == "cut" and length:
            self.rfile.read(length // 2)
            raise _Cut
        self.body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        if kind == "held":
            self.fault.go.wait(60)
        try:
            if isinstance(kind, int):
                raise HubError(kind, f"the test wants a {kind}")
            for method, pattern, name in self.routes:
                found = re.fullmatch(pattern, self.place.path)
                if found and self.command in method.split():
                    return getattr(self, name)(*(unquote(part or "") for part in found.groups()))
            raise HubError(404, f"{self.command} {self.path} is not known here")
        except HubError as error:
            extra = {"X-Error-Code": error.code} if error.code else {}
            if error.status == 429:
                extra["Retry-After"] = "3"
            self.json(error.content, error.status,
                      {"X-Error-Message": str(error)} | extra)  # fmt: skip

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def json(self, content: object, status: int = 200, headers: dict | None = None) -> None:
        headers = {"Content-Type": "application/json"} | (headers or {})
        self.reply(json.dumps(content).encode(), status, headers)

    def reply(self, data: bytes, status: int = 200, headers: dict | None = None) -> None:
        """Answer; ranges are cut out here, and so are faults of what is sent."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        headers = dict(headers or {})
        if found and status == 200:
            first, last = int(found[1]), min(int(found[2] or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, status = data[first : last + 1], 206
        if self.fault and self.fault.kind == "lost":
            raise _Cut
        if self.fault and self.fault.kind == "garble":
            data = bytes(255 - byte for byte in data)
        self.status = status
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.kind == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.sent = len(data) // 2
            raise _Cut
        self.wfile.write(data)
        self.sent = len(data)


class StoreHandler(Handler):
    routes = (
        ("GET HEAD", r"/files/(\w+)", "download"),
        ("PUT", r"/files/(\w+)", "upload"),
        ("PUT", r"/files/(\w+)/(\d+)", "upload_part"),
    )

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    def download(self, sha: str) -> None:
        self.reply(self.hub.large[sha], headers={"ETag": f'"{sha}"', "Accept-Ranges": "bytes"})

    def upload(self, sha: str) -> None:
        self.keep(sha, self.body)
        self.reply(b"")

    def upload_part(self, sha: str, number: str) -> None:
        self.hub.parts.setdefault(sha, {})[int(number)] = self.body
        self.reply(b"", headers={"ETag": f'"{sha[:8]}-{number}"'})

    def keep(self, sha: str, content: bytes) -> None:
        if File(content).sha256 != sha:
            raise HubError(400, "the content has another hash")
        self.hub.large[sha] = content
