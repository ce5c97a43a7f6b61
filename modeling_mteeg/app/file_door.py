"""The only way from the browser to files: a layer around Gradio's server, as ASGI has it.

Gradio names files by their place on the server, hands out whatever lies in its folder of uploads
to whoever names it, and keeps equal uploads of several visitors as one file. Here its ways to files
are closed. What is uploaded gets a folder of its own and a name of 256 random bits, by which alone
the browser knows it; results are served under such names, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from .session import RESULTS, Visitors, published

MOST_BODY = 4 << 20
"""Bytes of a call; fields and names of files are some hundred."""
_CLOSED = re.compile(
    r"(/gradio_api)?/(file[=/]|proxy=|stream/|custom_component/|process_recording|deep_link)"
)
_TEXT = ("text/html", "application/json", "text/event-stream", "text/plain")
_INLINE = {".png": "image/png"}
Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


class FileDoor:
    """ASGI middleware.

    Parameters
    ----------
    app : callable
        Gradio's server.
    visitors : Visitors
    hidden : iterable of str
        Folders of the server that stand in no answer; a net below the messages, which name none.
    """

    def __init__(self, app: Any, visitors: Visitors, hidden: Iterable[str] = ()) -> None:
        self._app, self._visitors = app, visitors
        folders = {form for folder in hidden for form in (folder, json.dumps(folder)[1:-1])}
        ordered = sorted(filter(None, folders), key=len, reverse=True)
        either = b"|".join(re.escape(form.encode()) for form in ordered) or b"$^"
        self._hidden = re.compile(b"(?:" + either + rb")(?![\w.-])[\\/]*")

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """Answer a request, or let Gradio do so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path") or "")
        if path.startswith(f"/{RESULTS}/"):
            await self._send_result(path, scope, receive, send)
        elif _CLOSED.match(path):
            await _refuse(404, "No such file.", scope, receive, send)
        elif path.rstrip("/") == "/gradio_api/upload":
            await self._app(scope, receive, _Changed(send, self._adopted))
        else:
            if scope["method"] == "POST" and path.startswith("/gradio_api/"):
                body = await _whole(receive)
                if body is None:
                    await _refuse(413, "Too long a call.", scope, receive, send)
                    return
                receive = _again(self._with_files(body), receive)
            await self._app(scope, receive, _Changed(send, self._without_folders))

    async def _send_result(self, path: str, scope: Message, receive: Any, send: Send) -> None:
        from starlette.responses import FileResponse

        token, _, name = path.removeprefix(f"/{RESULTS}/").partition("/")
        file = published(token, name)
        if file is None:
            await _refuse(404, "No such file, or it was deleted.", scope, receive, send)
            return
        kind = _INLINE.get(file.suffix)
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff"}
        response = FileResponse(
            file, headers=headers, media_type=kind or "application/octet-stream",
            filename=None if kind else file.name,
        )  # fmt: skip
        await response(scope, receive, send)

    def _adopted(self, body: bytes) -> bytes:
        """Gradio's list of uploads, in which every file has its own name for the browser."""
        try:
            paths = json.loads(body)
        except ValueError:  # a sentence about what is wrong
            return self._without_folders(body)
        if not isinstance(paths, list):
            return self._without_folders(body)
        return json.dumps([self._visitors.adopt(Path(path)) for path in paths]).encode()

    def _with_files(self, body: bytes) -> bytes:
        """A call in which uploads have their places on the server."""
        try:
            call = json.loads(body)
        except ValueError:
            return body
        if not isinstance(call, dict) or "data" not in call:
            return body
        name = str(call.get("session_hash") or "")
        call["data"] = self._placed(call["data"], name)
        return json.dumps(call).encode()

    def _placed(self, value: Any, name: str) -> Any:
        if isinstance(value, list):
            return [self._placed(one, name) for one in value]
        if not isinstance(value, dict):
            return value
        value = {key: self._placed(one, name) for key, one in value.items()}
        if isinstance(value.get("path"), str):
            place = self._visitors.claim(name, value["path"])
            # A file that is gone stays a path that is none: the page says so.
            value["path"] = str(place or self._visitors.missing(value["path"]))
        return value

    def _without_folders(self, body: bytes) -> bytes:
        return self._hidden.sub(b"", body)


class _Changed:
    """Sends what an application answers with its text changed, message by message.

    A whole answer of Gradio's is one message, and so is every event of a stream.
    """

    def __init__(self, send: Send, change: Callable[[bytes], bytes]) -> None:
        self._send, self._change = send, change
        self._start: Message | None = None
        self._text = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {key.lower(): value.decode("latin-1") for key, value in message["headers"]}
            self._text = headers.get(b"content-type", "").startswith(_TEXT)
            self._text &= b"content-encoding" not in headers
            if self._text:
                self._start = message  # waits for the length
                return
        elif self._text and message["type"] == "http.response.body":
            body = self._change(message.get("body", b""))
            message = message | {"body": body}
            if self._start is not None:
                await self._send(_of_length(self._start, message))
                self._start = None
        await self._send(message)


def _of_length(start: Message, body: Message) -> Message:
    """The head of an answer that is as long as its changed body."""
    headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
    if not body.get("more_body") and len(headers) < len(start["headers"]):
        headers.append((b"content-length", str(len(body["body"])).encode()))
    return start | {"headers": headers}


async def _whole(receive: Any) -> bytes | None:
    """The body of a request; None: it is longer than a call can be."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BODY:
            return None
    return body


def _again(body: bytes, receive: Any) -> Callable[[], Awaitable[Message]]:
    """A ``receive`` that gives a body that was read already, then what else comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


async def _refuse(status: int, text: str, scope: Message, receive: Any, send: Send) -> None:
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(text, status)(scope, receive, send)
