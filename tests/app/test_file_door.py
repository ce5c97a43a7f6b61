"""Nobody gets at files of others, and no answer names a place on the server: the layer alone."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from modeling_mteeg.app import session as sessions
from modeling_mteeg.app.file_door import MOST_BODY, FileDoor
from modeling_mteeg.app.server_paths import public_base, without_paths
from modeling_mteeg.app.session import Session, Visitors, published

pytest.importorskip("starlette", reason="the page needs Gradio (the app extra), which brings it")


class Inner:
    """Stands for Gradio: keeps what reaches it, and answers what it was given."""

    def __init__(self, body: bytes = b"{}", kind: str = "application/json") -> None:
        self.body, self.kind, self.asked = body, kind, []

    async def __call__(self, scope, receive, send):
        message = await receive()
        self.asked.append((scope["path"], message.get("body", b"")))
        head = [(b"content-type", self.kind.encode()),
                (b"content-length", str(len(self.body)).encode())]  # fmt: skip
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": self.body})


def ask(door: FileDoor, path: str, body: bytes = b"", method: str = "GET"):
    """Status, headers and body of an answer."""
    sent = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [], "root_path": "",
             "asgi": {"spec_version": "2.4"}}  # fmt: skip
    asyncio.run(door(scope, receive, send))
    headers = {key.decode().lower(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(one.get("body", b"") for one in sent[1:])


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    folder = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def received(uploads: Path, content: str, name: str = "night.edf") -> Path:
    """A file as Gradio keeps it: in a folder that is named by its content."""
    path = uploads / content / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def dropped(visitors: Visitors, uploads: Path, content: str) -> str:
    """What the browser is told of an upload."""
    inner = Inner(json.dumps([str(received(uploads, content))]).encode())
    _, headers, body = ask(FileDoor(inner, visitors), "/gradio_api/upload", b"x", "POST")
    assert headers["content-length"] == str(len(body))
    (reference,) = json.loads(body)
    return reference


def call_with(visitors: Visitors, visitor: str, *references: str) -> list[str]:
    """The paths that Gradio sees in a visitor's call."""
    inner = Inner()
    files = [{"path": one, "meta": {"_type": "gradio.FileData"}} for one in references]
    body = json.dumps({"data": [files], "session_hash": visitor, "fn_index": 1}).encode()
    ask(FileDoor(inner, visitors), "/gradio_api/queue/join", body, "POST")
    return [one["path"] for one in json.loads(inner.asked[0][1])["data"][0]]


@pytest.mark.parametrize(
    "path",
    ["/gradio_api/file=/etc/passwd", "/gradio_api/file=uploads/a.edf", "/file=/etc/passwd",
     "/gradio_api/file/etc/passwd", "/gradio_api/proxy=http://x/y", "/gradio_api/stream/a/b/c/d",
     "/gradio_api/process_recording"],
)  # fmt: skip
def test_gradios_ways_to_files_are_closed(path):
    inner = Inner()
    assert ask(FileDoor(inner, Visitors()), path)[0] == 404 and not inner.asked


def test_an_upload_is_known_by_its_name_of_chance_alone(uploads):
    visitors = Visitors()
    one, other = (dropped(visitors, uploads, "the same") for _ in range(2))
    assert re.fullmatch(r"[\w-]{43}/night\.edf", one) and one != other
    (mine,), (theirs,) = call_with(visitors, "a", one), call_with(visitors, "b", other)
    assert mine != theirs and Path(mine).read_text() == Path(theirs).read_text() == "the same"
    # What others may guess: places on the server, the folder of the content, another name.
    guesses = [mine, "the same/night.edf", f"{one.split('/')[0]}/other.edf", "../night.edf",
               "/etc/passwd", ""]  # fmt: skip
    for found in call_with(visitors, "b", *guesses):
        assert Path(found).parent == uploads / "gone" and not Path(found).exists()


def test_equal_uploads_that_arrive_at_once_are_two(uploads):
    """Gradio lays both at one place before the first is taken from there."""
    visitors, path = Visitors(), received(uploads, "x")
    one, other = visitors.adopt(path), visitors.adopt(path)
    places = [visitors.upload(reference) for reference in (one, other)]
    places[0].unlink()
    assert one != other and places[1].read_text() == "x"


def test_one_who_leaves_takes_nothing_from_others(uploads, monkeypatch):
    visitors = Visitors()
    places = {name: Path(call_with(visitors, name, dropped(visitors, uploads, "x"))[0])
              for name in "ab"}  # fmt: skip
    addresses = {}
    for name in "ab":
        session = visitors.session(name)
        (session.start() / "events.tsv").write_text(name)
        addresses[name] = session.publish(Path(session.folder) / "events.tsv")
    fetch = lambda name: ask(FileDoor(Inner(), visitors), f"/{addresses[name]}")  # noqa: E731
    status, headers, body = fetch("a")
    assert (status, body) == (200, b"a") and headers["cache-control"] == "private, no-store"
    assert "events.tsv" in headers["content-disposition"]
    folder = Path(visitors.session("a").folder)
    visitors.close("a")
    assert visitors._sessions["a"].stopping
    visitors.sweep()
    assert places["a"].exists()  # may come back
    monkeypatch.setattr(sessions, "GRACE_S", -1.0)
    visitors.sweep()
    assert not places["a"].exists() and not folder.exists() and fetch("a")[0] == 404
    assert places["b"].exists() and fetch("b")[2] == b"b"
    monkeypatch.setattr(sessions, "KEPT_S", -1.0)
    visitors.sweep()
    assert not places["b"].exists() and fetch("b")[0] == 404
    assert not [path for path in uploads.rglob("*") if path.is_file()]


def test_an_upload_that_nobody_used_goes_too(uploads, monkeypatch):
    visitors = Visitors()
    reference = dropped(visitors, uploads, "x")
    visitors.sweep()
    assert visitors.upload(reference).exists()
    monkeypatch.setattr(sessions, "KEPT_S", -1.0)
    place = visitors.upload(reference)
    visitors.sweep()
    assert not place.exists() and visitors.upload(reference) is None


def test_a_file_taken_off_the_page_is_deleted(uploads):
    visitors = Visitors()
    kept, gone = (Path(call_with(visitors, "a", dropped(visitors, uploads, "x"))[0])
                  for _ in range(2))  # fmt: skip
    visitors.session("a").keep_uploads([str(kept)])
    assert kept.exists() and not gone.exists()


def test_results_are_found_by_their_whole_address_alone(tmp_path):
    session = Session()
    path = session.start() / "events.tsv"
    path.write_text("mine")
    (path.parent / "secret.txt").write_text("not published")
    address = session.publish(path)
    _, token, name = address.split("/")
    assert len(token) == 43 and published(token, name) == path
    door = FileDoor(Inner(), Visitors())
    for guess in ("results//events.tsv", f"results/{token}/secret.txt", f"results/{token}",
                  f"results/{token}/../secret.txt", f"results/{'A' * 43}/events.tsv"):  # fmt: skip
        assert ask(door, f"/{guess}")[0] == 404
    session.start()  # another run
    assert ask(door, f"/{address}")[0] == 404
    session.clear()


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json",
                                  "text/event-stream"])  # fmt: skip
def test_no_folder_of_the_server_passes(kind):
    text = 'data: {"error": "no /srv/my page/uploads/a.edf", "win": "C:\\\\page\\\\a.edf"}\n\n'
    door = FileDoor(Inner(text.encode(), kind), Visitors(), ["/srv/my page", "C:\\page"])
    _, headers, body = ask(door, "/")
    assert b"/srv" not in body and b"C:" not in body and b"a.edf" in body
    assert headers["content-length"] == str(len(body))


def test_a_call_without_a_tab_shares_nobodys_session(uploads):
    for name in ("", None):
        with pytest.raises(ValueError, match="names its tab"):
            Visitors().session(name)
    visitors = Visitors()
    (found,) = call_with(visitors, "", dropped(visitors, uploads, "x"))
    assert Path(found).parent == uploads / "gone"


def test_a_call_is_no_place_for_a_file():
    inner = Inner()
    status, _, _ = ask(FileDoor(inner, Visitors()), "/gradio_api/queue/join",
                       b"x" * (MOST_BODY + 1), "POST")  # fmt: skip
    assert status == 413 and not inner.asked


@pytest.mark.parametrize(
    "text, shown",
    [
        ("no /srv/data/a b.edf here", "no a b.edf here"),
        ("found '/home/me/x/night.edf': 3 bytes", "found 'night.edf': 3 bytes"),
        ("/etc/passwd and ~/.cache/hub/x", "passwd and x"),
        (r"found C:\Users\me\a.edf.", "found a.edf."),
        ("12 µV²/Hz, and/or owner/repo, https://host/a/b", None),
        ("known: page folder /tmp/my page/x.edf", "known: page folder x.edf"),
    ],
)
def test_messages_name_files_without_their_places(text, shown):
    assert without_paths(text, "/tmp/my page") == (text if shown is None else shown)


def test_a_base_is_called_by_its_folders_name(tmp_path):
    (tmp_path / "model").mkdir()
    assert public_base(str(tmp_path / "model")) == "model"
    assert public_base("owner/base") == "owner/base"
