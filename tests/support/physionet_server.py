"""A database in PhysioNet's layout on a server of this machine, which fails where a test wants it.

Files lie below ``/<slug>/<version>/`` with SHA256SUMS.txt and RECORDS, made of random bytes.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


def motor_imagery(subjects: int = 2, size: int = 40_000) -> dict[str, bytes]:
    """Files of a small database that is laid out as eegmmidb; the bytes are random."""
    names = [f"S{subject:03d}/S{subject:03d}R{run:02d}.edf{event}"
             for subject in range(1, subjects + 1) for run in (3, 4, 6)
             for event in ("", ".event")]  # fmt: skip
    files = {name: random.Random(name).randbytes(size) for name in names}
    files["LICENSE.txt"] = b"Open Data Commons Attribution License v1.0"
    return files


class PhysioNetServer(ThreadingHTTPServer):
    """``files`` below ``/<folder>/``; ``faults`` has what goes wrong with a path, in order.

    A fault is a status (``429``, ``503 Retry-After 1``), ``cut`` (half of what was asked for, then
    the connection ends), ``stall`` (half, then nothing), ``long`` and ``short`` (Content-Length is
    not the file's), ``whole`` (Range is ignored), ``long whole``, ``elsewhere`` (another range than
    was asked for), ``unconditional`` (If-Range is ignored), ``endless`` (no length, no end) or
    ``packed``. One that ends with ``*`` stays.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], folder: str = "eegmmidb/1.0.0") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.url = f"/{folder}/", f"http://127.0.0.1:{self.server_port}"
        self.lock, self.awake = threading.Lock(), threading.Event()
        self.begin(files)

    def begin(self, files: Mapping[str, bytes]) -> None:
        """Serve these files, without faults, as if nobody had asked yet."""
        self.files, self.faults = dict(files), {}
        self.heads: bool | None = True  # None: a HEAD fails; false: it is not known
        self.etags, self.dates = True, True
        self.asked: list[tuple[str, str, str, str]] = []  # method, path, Range, If-Range
        self.sent: Counter[str] = Counter()
        self.list_anew()

    def list_anew(self) -> None:
        """Make SHA256SUMS.txt and RECORDS of the files that are there."""
        records = [name for name in self.files if name.endswith(".edf")]
        self.files.pop("SHA256SUMS.txt", None)
        self.files["RECORDS"] = "".join(f"{name}\n" for name in records).encode()
        self.files["SHA256SUMS.txt"] = "".join(
            f"{hashlib.sha256(content).hexdigest()} {name}\n"
            for name, content in sorted(self.files.items())
        ).encode()

    def gets(self, name: str | None = None) -> list[tuple[str, str]]:
        """``Range`` and ``If-Range`` of the requests for a file; of all but the lists."""
        return [(ranged, condition) for method, path, ranged, condition in self.asked
                if method == "GET" and path not in ("SHA256SUMS.txt", "RECORDS")
                and name in (None, path)]  # fmt: skip

    def fault_of(self, name: str) -> str:
        with self.lock:
            waiting = self.faults.get(name, [])
            if not waiting:
                return ""
            return (waiting[0][:-1] if waiting[0].endswith("*") else waiting.pop(0)) or ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: PhysioNetServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        server, path = self.server, unquote(self.path)
        name = path.removeprefix(server.folder)
        asked = self.headers.get("Range", ""), self.headers.get("If-Range", "")
        with server.lock:
            server.asked.append((method, name, *asked))
        content = server.files.get(name) if path.startswith(server.folder) else None
        fault = server.fault_of(name) if method == "GET" else ""
        if content is None:
            return self._end(404, b"", method)
        if method == "HEAD" and not server.heads:
            return self._end(500 if server.heads is None else 405, b"", method)
        if fault[:3].isdecimal():
            _, _, wait = fault.partition(" Retry-After ")
            return self._end(
                int(fault[:3]), b"fault", method, {"Retry-After": wait} if wait else {}
            )
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        headers = {}
        if server.etags:
            headers["ETag"] = etag
        if server.dates:
            headers["Last-Modified"] = f"Mon, 01 Jan 2024 00:00:{sum(content[:4]) % 60:02d} GMT"
        start, status = 0, 200
        match = re.fullmatch(r"bytes=(\d+)-", asked[0])
        valid = fault == "unconditional" or asked[1] in ("", etag, headers.get("Last-Modified"))
        if match and valid and "whole" not in fault:
            start, status = int(match[1]) - 1000 * (fault == "elsewhere"), 206
            if start >= len(content):
                return self._end(416, b"", method, {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, content[start:], method, headers, name, fault)

    def _end(self, status: int, data: bytes, method: str, headers: dict | None = None) -> None:
        self._send(status, data, method, headers or {}, "", "")

    def _send(
        self, status: int, data: bytes, method: str, headers: dict, name: str, fault: str
    ) -> None:
        length = len(data) + {"long": 100, "short": -100}.get(fault[:5].strip(), 0)
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        if fault == "packed":
            self.send_header("Content-Encoding", "gzip")
        if fault == "endless":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if method == "HEAD":
            return
        if fault == "endless":
            return self._endless()
        data = data[: len(data) // 2] if fault in ("cut", "stall") else data[:length]
        try:
            self.wfile.write(data)
        except OSError:
            return
        with self.server.lock:
            self.server.sent[name] += len(data)
        if fault == "stall":
            self.server.awake.wait(20)
        if fault:
            self.close_connection = True

    def _endless(self) -> None:
        try:
            while True:
                self.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")
                time.sleep(0)
        except OSError:
            self.close_connection = True
