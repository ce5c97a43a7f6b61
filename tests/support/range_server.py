"""A web server on this machine that answers range requests, and fails where a test wants it to."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Fault = Callable[[int, str], str | None]
"""Number of the request and its path to what goes wrong: a status, ``cut``, ``drop`` or None."""


class RangeServer(ThreadingHTTPServer):
    """Files below ``folder`` at ``url``; ``requests`` lists (path, first, last, status)."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.fault: Fault = lambda number, path: None
        self.ranges = True
        self.requests: list[tuple[str, int, int, int]] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def bytes_sent(self) -> int:
        return sum(last - first + 1 for _, first, last, status in self.requests if status < 300)


class HubServer(ThreadingHTTPServer):
    """The read side of the Hub for one dataset repository ``me/eeg``.

    Arrow files are forwarded to ``store``, by an address with a number in it as signature, which
    grows; ``asked`` counts requests for files.
    """

    daemon_threads = True

    def __init__(self, store: RangeServer) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.store, self.asked, self.signature = store, 0, 0
        self.url = f"http://127.0.0.1:{self.server_port}"


class _HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path, server = urlsplit(self.path).path, self.server
        folder = server.store.folder
        if match := re.fullmatch(r"/api/datasets/me/eeg(/revision/\w+)?", path):
            self._json({"id": "me/eeg", "sha": "a" * 40, "siblings": []}, body)
        elif match := re.fullmatch(r"/api/datasets/me/eeg/tree/\w+(?:/(.*))?", path):
            there = folder / unquote(match[1] or "")
            if not there.is_dir():
                return self._missing(body)
            entries = [
                {"type": "directory" if one.is_dir() else "file", "oid": "b" * 40,
                 "size": one.stat().st_size, "path": one.relative_to(folder).as_posix()}
                for one in sorted(there.iterdir())
            ]  # fmt: skip
            self._json(entries, body)
        elif match := re.fullmatch(r"/datasets/me/eeg/resolve/\w+/(.*)", path):
            server.asked += 1
            self._file(unquote(match[1]), body)
        else:
            self._missing(body)

    def _missing(self, body: bool) -> None:
        self._reply(404, b"", body, {"X-Error-Code": "EntryNotFound"})

    def _file(self, name: str, body: bool) -> None:
        path = self.server.store.folder / name
        headers = {"X-Repo-Commit": "a" * 40, "ETag": '"c"'}
        if not path.is_file():
            return self._missing(body)
        if path.suffix == ".arrow":
            self.server.signature += 1
            address = f"{self.server.store.url}/{name}?signature=%2F{self.server.signature}"
            headers |= {"Location": address, "X-Linked-Size": str(path.stat().st_size),
                        "X-Linked-Etag": '"c"'}  # fmt: skip
            self._reply(302, b"", body, headers)
        else:
            self._reply(200, path.read_bytes(), body, headers)

    def _json(self, content: object, body: bool) -> None:
        data = json.dumps(content).encode()
        self._reply(200, data, body, {"Content-Type": "application/json"})

    def _reply(
        self, status: int, data: bytes, body: bool, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        server, name = self.server, urlsplit(self.path).path.lstrip("/")
        path = server.folder / name
        content = path.read_bytes() if path.is_file() else b""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = found is not None and server.ranges
        first, last = map(int, found.groups()) if ranged else (0, len(content) - 1)
        last = min(last, len(content) - 1)
        status = 404 if not path.is_file() else 206 if ranged else 200
        with server.lock:
            fault = server.fault(len(server.requests), self.path)
            status = int(fault) if fault and fault.isdecimal() else status
            server.requests.append((name, first, last, 599 if fault else status))
        if fault == "drop":
            self.close_connection = True
            return
        data = content[first : last + 1] if status < 300 else b"fault"
        if fault == "cut":
            data = data[: len(data) // 2]
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes" if server.ranges else "none")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextlib.contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """The server, answering."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[RangeServer]:
    """A running server for the files below ``folder``."""
    with running(RangeServer(folder)) as server:
        yield server
