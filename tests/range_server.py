"""A web server on this machine that answers range requests, and fails where a test wants it to."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
        server, name = self.server, self.path.lstrip("/")
        path = server.folder / name
        content = path.read_bytes() if path.is_file() else b""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = found is not None and server.ranges
        first, last = map(int, found.groups()) if ranged else (0, len(content) - 1)
        last = min(last, len(content) - 1)
        status = 404 if not path.is_file() else 206 if ranged else 200
        with server.lock:
            fault = server.fault(len(server.requests), name)
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
def serving(folder: Path) -> Iterator[RangeServer]:
    """A running server for the files below ``folder``."""
    with RangeServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
