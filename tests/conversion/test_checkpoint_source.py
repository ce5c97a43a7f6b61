"""Checkpoints by name: fetched from the Hub or an address, said, checked, never overwritten."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.file_download
import huggingface_hub.utils._http
import plain_labram
import pytest
import torch
from hub_server import WRITE
from huggingface_hub import constants
from places import ROOT
from safetensors.torch import save
from transformers import AutoModel

from modeling_mteeg.cli import build_parser, main
from modeling_mteeg.commands import convert
from modeling_mteeg.conversion import convert_checkpoint
from modeling_mteeg.conversion.checkpoint_reader import CheckpointError
from modeling_mteeg.conversion.checkpoint_source import find_checkpoint, is_remote
from modeling_mteeg.conversion.url_download import DownloadError, download_url

REPO = "me/labram"


@functools.cache
def weights() -> bytes:
    """A small published model as a safetensors file."""
    state = {k: v.float() for k, v in plain_labram.random_weights(layers=1).items()}
    return save(state)


DIGEST = hashlib.sha256(weights()).hexdigest()


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> None:
    """The client does not wait between its tries here."""
    clock = SimpleNamespace(sleep=lambda seconds: None)
    download = sys.modules[download_url.__module__]
    for module in (huggingface_hub.utils._http, huggingface_hub.file_download, download):
        monkeypatch.setattr(module, "time", clock)


def push(hub, files: dict[str, bytes], revision: str = "main", **options) -> None:
    """Files as a commit of the repository."""
    if f"models/{REPO}" not in hub.repos:
        hub.add_repo(REPO, **options)
    api = huggingface_hub.HfApi(token=WRITE)
    if revision != "main":
        api.create_branch(REPO, branch=revision, exist_ok=True)
    for name, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=REPO, revision=revision)


def test_a_hub_name_becomes_a_base_that_says_where_it_is_from(hub, tmp_path, capsys):
    push(hub, {"model.safetensors": weights(), "config.json": b"{}", "pytorch_model.bin": b"x"})
    assert main(["convert", REPO, "--out", str(tmp_path / "base")]) == 0
    told = capsys.readouterr().out
    assert f"{REPO} at {hub.repo(REPO).head}, model.safetensors" in told and DIGEST in told
    assert f"{len(weights()) / 1e6:.1f} MB" in told
    source = json.loads((tmp_path / "base/conversion.json").read_text())["source"]
    assert source["repo"] == REPO and source["path_in_repo"] == "model.safetensors"
    assert source["commit"] == hub.repo(REPO).head and source["sha256"] == DIGEST
    (tmp_path / "here.safetensors").write_bytes(weights())
    convert_checkpoint(tmp_path / "here.safetensors", tmp_path / "other")
    same(tmp_path / "base", tmp_path / "other")


def same(one: Path, other: Path) -> None:
    first, second = (AutoModel.from_pretrained(p).state_dict() for p in (one, other))
    assert all(torch.equal(first[key], second[key]) for key in first | second)


@pytest.mark.parametrize(
    "place", ["{repo}", "{repo}@old", "https://huggingface.co/{repo}/blob/old/weights/a%20b.pth"]
)
def test_revision_and_file_are_given_beside_or_within_the_name(hub, place):
    push(hub, {"model.safetensors": b"new"})
    push(hub, {"weights/a b.pth": b"old"}, revision="old")
    options = {} if "blob" in place else {"file": "weights/a b.pth"}
    if place == "{repo}":
        options["revision"] = "old"
    found = find_checkpoint(place.format(repo=REPO), **options)
    assert found.path.read_bytes() == b"old"
    assert found.origin["commit"] == hub.repo(REPO).branches["old"]


@pytest.mark.parametrize(
    ("files", "file", "words"),
    [
        ({"a.pth": b"a", "b.pt": b"b"}, None, ["--file", "a.pth, b.pt"]),
        ({"a.pth": b"a"}, "b.pth", ["expected the file b.pth", "a.pth"]),
        ({"readme.txt": b"a"}, None, ["ends in .safetensors", "found none"]),
    ],
)
def test_a_repository_that_leaves_the_file_open_names_its_files(hub, files, file, words):
    push(hub, files)
    with pytest.raises(CheckpointError) as raised:
        find_checkpoint(REPO, file=file)
    assert [word for word in words if word not in str(raised.value)] == []


def test_one_file_of_weights_needs_no_name(hub):
    push(hub, {"labram-base.pth": b"a", "notes.txt": b"b"})
    assert find_checkpoint(REPO).origin["path_in_repo"] == "labram-base.pth"


def test_offline_the_cache_serves_and_what_is_not_there_is_said(hub, monkeypatch):
    push(hub, {"model.safetensors": weights()})
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(CheckpointError, match=r"no file or folder .* Unset HF_HUB_OFFLINE"):
            find_checkpoint(REPO)
    online = find_checkpoint(REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_checkpoint(REPO).path.samefile(online.path)
    assert find_checkpoint(REPO).origin == online.origin
    with pytest.raises(CheckpointError, match="offline mode"):
        find_checkpoint(REPO, file="other.pth")


@pytest.mark.parametrize("status", [500, 503, 429])
def test_while_the_hub_has_a_fault_the_cache_serves(hub, status):
    push(hub, {"model.safetensors": weights()})
    online = find_checkpoint(REPO)
    hub.fail(status)
    assert find_checkpoint(REPO).origin == online.origin


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "log in"), (403, "may not read it")],
)
def test_lacking_rights_are_a_sentence_even_where_the_cache_has_it(hub, status, words):
    push(hub, {"model.safetensors": weights()})
    find_checkpoint(REPO)
    hub.fail(status, "GET", "/api/models/")
    with pytest.raises(CheckpointError, match=words):
        find_checkpoint(REPO)


def test_what_is_not_on_the_hub_is_said(hub):
    push(hub, {"model.safetensors": weights()})
    with pytest.raises(CheckpointError, match="you/none does not exist, or it is private"):
        find_checkpoint("you/none")
    with pytest.raises(CheckpointError, match="has no such revision"):
        find_checkpoint(REPO, revision="none")


def test_a_private_repository_wants_a_token(hub, tmp_path, capsys):
    push(hub, {"model.safetensors": weights()}, private=True)
    out = ["--out", str(tmp_path / "base"), "--quiet"]
    assert main(["convert", REPO, *out]) == 2
    assert "or it is private" in capsys.readouterr().err and not (tmp_path / "base").exists()
    assert main(["convert", REPO, *out, "--token", WRITE]) == 0


def test_a_file_damaged_on_the_way_or_in_the_cache_is_fetched_again(hub):
    push(hub, {"model.safetensors": weights()})
    path = find_checkpoint(REPO).path
    path.resolve().write_bytes(weights()[:-1] + b"?")
    assert find_checkpoint(REPO).path.read_bytes() == weights()
    hub.fail("garble", "GET", DIGEST)
    path.resolve().write_bytes(b"?")
    with pytest.raises(CheckpointError, match="is damaged"):
        find_checkpoint(REPO)


def test_nothing_is_fetched_where_the_result_has_no_place(hub, tmp_path):
    push(hub, {"model.safetensors": weights()})
    (tmp_path / "mine.txt").write_text("mine")
    hub.requests.clear()
    with pytest.raises(FileExistsError):
        convert_checkpoint(REPO, tmp_path)
    assert not hub.requests


@pytest.mark.parametrize("page", ["published_weights.md", "benchmarks_of_others.md"])
def test_commands_in_the_documents_are_understood(page):
    text = (ROOT / "docs" / page).read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("mteeg convert ")]
    assert lines
    for line in lines:
        args = build_parser().parse_args(shlex.split(line)[1:])
        convert.check_direction(args)
        assert is_remote(args.checkpoint) == (args.to == "mteeg")


def test_options_of_the_hub_are_refused_where_they_do_not_belong(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(weights())
    for place in (path, "http://127.0.0.1:9/a.pth"):
        with pytest.raises(CheckpointError, match="--revision and --file are for a repository"):
            find_checkpoint(place, revision="v1")
    with pytest.raises(CheckpointError, match="names revision old, --revision another: new"):
        find_checkpoint(f"{REPO}@old", revision="new")


def test_a_misspelt_file_is_no_name_on_the_hub(tmp_path):
    with pytest.raises(CheckpointError, match=r"found nothing at models/labram\.pth"):
        convert_checkpoint("models/labram.pth", tmp_path / "base")


def test_another_sha256_stops_before_anything_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80 no checkpoint")
    with pytest.raises(CheckpointError, match=r"expected the SHA-256 0000.*found [0-9a-f]{64}"):
        convert_checkpoint(path, tmp_path / "base", sha256="0" * 64)
    with pytest.raises(CheckpointError, match="64 hexadecimal"):
        convert_checkpoint(path, tmp_path / "base", sha256="abc")
    path.write_bytes(weights())
    convert_checkpoint(path, tmp_path / "base", sha256=DIGEST.upper())


class FileServer(ThreadingHTTPServer):
    """One file at every path; faults: a status, ``cut`` in the middle, ``swap``: cut, then another
    file of the same size; ``stall``: nothing more comes until ``go``."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.etag = content, '"one"'
        self.faults: list[int | str | None] = []
        self.ranges, self.go = True, threading.Event()
        self.asked: list[tuple[str, str | None, int]] = []
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_port}/weights/labram.safetensors"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        server = self.server
        fault = server.faults.pop(0) if body and server.faults else None
        wanted, content = self.headers.get("Range"), server.content
        fresh = self.headers.get("If-Range") in (None, server.etag)
        start = int(wanted[6:-1]) if wanted and server.ranges and fresh else 0
        status = fault if isinstance(fault, int) else 206 if start else 200
        server.asked.append((self.command, wanted, status))
        data = b"" if isinstance(fault, int) else content[start:]
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", server.etag)
        kind = "text/html" if "html" in self.path else "application/octet-stream"
        self.send_header("Content-Type", kind)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            data = data[: len(data) // 2] if fault in ("cut", "swap") else data
            server.sent += len(data)
            self.wfile.write(data[:1000] if fault == "stall" else data)
            if fault == "stall":
                self.wfile.flush()
                server.go.wait(20)
        if fault == "swap":
            server.etag, server.content = '"two"', server.content[::-1]


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[FileServer]:
    """Weights at an address; the cache is a folder of the test."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with FileServer(weights()) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def parts(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "home").rglob("*.part*"))


def test_an_address_becomes_a_base_and_is_fetched_once(server, tmp_path, capsys):
    assert main(["convert", server.url, "--out", str(tmp_path / "base")]) == 0
    told = capsys.readouterr().out
    assert server.url in told and DIGEST in told
    source = json.loads((tmp_path / "base/conversion.json").read_text())["source"]
    assert source["url"] == server.url and source["file"] == "labram.safetensors"
    server.asked.clear()
    convert_checkpoint(server.url, tmp_path / "again", sha256=DIGEST)
    assert not server.asked and not parts(tmp_path)
    same(tmp_path / "base", tmp_path / "again")


def test_what_may_be_secret_in_an_address_is_not_written_down(server, tmp_path):
    signed = server.url.replace("http://", "http://me:word@") + "?signature=secret"
    found = find_checkpoint(signed)
    assert found.path.read_bytes() == weights()
    assert found.origin == {"url": server.url}


def test_a_cut_connection_goes_on_where_it_broke_off(server, tmp_path):
    server.faults = ["cut", "cut"]
    assert download_url(server.url).read_bytes() == weights()
    ranges = [wanted for _, wanted, status in server.asked if status == 206]
    assert len(ranges) == 2 and server.sent < 1.1 * len(weights())


def test_a_later_call_goes_on_with_what_an_earlier_one_kept(server, tmp_path):
    server.faults = ["cut"] + [503] * 40
    with pytest.raises(DownloadError, match="a fault of its own"):
        download_url(server.url)
    kept = sum(path.stat().st_size for path in (tmp_path / "home").rglob("*.part"))
    assert 0.4 * len(weights()) < kept < 0.6 * len(weights())
    server.faults, server.sent = [], 0
    assert download_url(server.url).read_bytes() == weights()
    assert server.sent == len(weights()) - kept and not parts(tmp_path)


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(server, tmp_path):
    server.faults = ["cut"] + [503] * 40
    with pytest.raises(DownloadError):
        download_url(server.url)
    server.faults, server.etag, server.content = [], '"two"', weights()[::-1]
    assert download_url(server.url).read_bytes() == weights()[::-1]


def test_parts_of_two_files_are_never_put_together(server):
    server.faults = ["swap"]
    assert download_url(server.url).read_bytes() == weights()[::-1]


def test_a_server_that_stalls_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    server.faults = ["stall"]
    assert download_url(server.url).read_bytes() == weights()
    assert server.asked[-1][1] == "bytes=1000-"  # to the byte
    server.go.set()


def test_a_server_without_ranges_is_asked_from_the_start(server):
    server.ranges, server.faults = False, ["cut"]
    assert download_url(server.url).read_bytes() == weights()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (404, "no such file"),
        (403, "not give it to everybody"),
        (418, "refused it"),
        (500, "a fault of its own"),
        ("cut", "connection failed or broke off"),
    ],
)
def test_what_an_address_does_not_give_is_a_sentence(server, tmp_path, fault, words, capsys):
    server.faults = [fault] * 200
    server.ranges = fault != "cut"  # nothing new with every try
    assert main(["convert", server.url, "--out", str(tmp_path / "base"), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told and not (tmp_path / "base").exists()
    assert not [p for p in (tmp_path / "home").rglob("*") if p.suffix == ".safetensors"]


def test_a_web_page_and_offline_mode_are_said_before_anything_is_kept(
    server, tmp_path, monkeypatch
):
    with pytest.raises(DownloadError, match="expected a file, found a web page"):
        download_url(server.url.replace("weights", "html"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="Unset HF_HUB_OFFLINE"):
        download_url(server.url)
    assert not parts(tmp_path)


def test_a_page_of_github_means_the_file(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "modeling_mteeg.conversion.url_download._fetch",
        lambda url, path: asked.append(url) or path.write_bytes(b"x"),
    )
    page = "https://github.com/935963004/LaBraM/blob/main/checkpoints/labram-base.pth"
    path = download_url(page, tmp_path)
    assert asked == [page.replace("/blob/", "/raw/")] and path.name == "labram-base.pth"
