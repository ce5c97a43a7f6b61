"""What commands do where the Hub is not asked, does not answer, or has no rights for the token."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import huggingface_hub.utils._http
import pytest
from hub_server import READ, WRITE
from huggingface_hub import constants
from tiny_bases import save_base, save_recordings

from modeling_mteeg import cli
from modeling_mteeg.hub.reaching import reach_hub
from modeling_mteeg.model import hub_fetch

READS = {
    "predict": "predict {recording} --base {base} --task fists --out {out}.tsv",
    "its task": "predict {recording} --base {local} --task {base} --out {out}.tsv",
    "embed": "embed {recording} --base {base} --task fists --out {out}.npz",
    "explain": "explain {recording} --base {base} --task fists --table {out}.tsv",
    "export": "export --base {base} --task fists --out {out}.onnx",
    "evaluate": "evaluate --base {base} --task fists --data {local}",
    "convert": "convert {base} --out {out}",
    "to braindecode": "convert {base} --to braindecode --out {out}",
    "app": "app --base {base}",
}
"""Command lines that read something from the Hub."""
PUSH = "push {local} --repo {base}"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("reaching") / "base")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return save_recordings(tmp_path_factory.mktemp("recordings"))[0]


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """How long the client would have waited between its tries; and the state as it was."""
    found: list[float] = []
    monkeypatch.setattr(huggingface_hub.utils._http, "time", SimpleNamespace(
        sleep=found.append, time=time.time, monotonic=time.monotonic))  # fmt: skip
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_fetch, "no_answer", "")
    return found


@pytest.fixture
def run(local, recording, tmp_path, capsys):
    """Run a line of the tables: exit code and what it said on stderr."""

    def start(line: str, base: object = "me/base", out: str = "out") -> tuple[int, str]:
        places = {"base": base, "local": local, "recording": recording, "out": tmp_path / out}
        capsys.readouterr()
        code = cli.main(line.format_map(places).split())
        return code, capsys.readouterr().err

    return start


@pytest.fixture
def no_network(monkeypatch):
    """An address at which nothing answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: refused
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield


@pytest.mark.parametrize("name", READS)
def test_without_a_network_a_command_says_so_at_once_and_what_it_needs(
    run, no_network, waits, name, tmp_path
):
    code, said = run(READS[name])
    assert code == 2 and not waits
    assert "does not answer (ConnectionRefusedError" in said.splitlines()[-1]
    assert "HTTPS_PROXY" in said and "hf download me/base --local-dir" in said
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", READS)
@pytest.mark.slow
def test_in_offline_mode_nobody_is_asked(run, hub, monkeypatch, name):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, said = run(READS[name])
    assert code == 2 and not hub.requests
    assert "Unset HF_HUB_OFFLINE" in said and "hf download me/base" in said


STREAMED = "evaluate --base {local} --data hf://datasets/me/eeg-{{task}}"


def test_data_on_the_hub_are_not_waited_for_without_a_network(run, no_network, waits):
    code, said = run(STREAMED)
    assert code == 2 and not waits
    assert "does not answer (ConnectionRefusedError" in said.splitlines()[-1]
    assert "kept in no cache; give a folder" in said


def test_data_on_the_hub_are_not_waited_for_in_offline_mode(run, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, said = run(STREAMED)
    assert code == 2 and not hub.requests and "Unset HF_HUB_OFFLINE. Data of the Hub" in said


def test_nothing_is_sent_without_a_network(run, no_network, waits):
    code, said = run(PUSH)
    assert code == 2 and not waits and said.rstrip().endswith("Nothing was sent.")
    assert "does not answer (ConnectionRefusedError" in said and "hf download" not in said


def test_nothing_is_sent_in_offline_mode(run, hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, said = run(PUSH)
    assert code == 2 and not hub.requests
    assert "Unset HF_HUB_OFFLINE. Nothing was sent." in said


@pytest.fixture
def published(hub, run, monkeypatch):
    """The base on the Hub, and in the cache by one prediction."""
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert run(PUSH)[0] == 0
    assert run(READS["predict"], out="first")[0] == 0
    monkeypatch.delenv("HF_TOKEN")
    hub.requests.clear()
    return hub


@pytest.mark.parametrize("how", ["gone", "stalled", "offline"])
def test_what_is_in_the_cache_needs_no_hub(
    published, run, waits, tmp_path, monkeypatch, request, how
):
    if how == "gone":
        request.getfixturevalue("no_network")
    elif how == "stalled":
        held = published.fail("held")
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
        monkeypatch.setattr("modeling_mteeg.hub.reaching.PATIENCE_S", 0.05)
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, said = run(READS["predict"], out="second")
    if how == "stalled":
        held.go.set()
        assert "waiting for http://127.0.0.1" in said and "HF_HUB_ETAG_TIMEOUT" in said
    assert code == 0 and not waits
    assert ("only what is in the cache is used" in said) == (how != "offline")
    first, second = ((tmp_path / f"{name}.tsv").read_bytes() for name in ("first", "second"))
    assert first == second


def test_a_hub_with_a_fault_of_its_own_answers(published, run):
    fault = published.fail(503)
    reach_hub("me/base")
    assert not constants.HF_HUB_OFFLINE and fault.met == 1


def test_names_of_files_and_folders_ask_nobody(no_network, local):
    reach_hub(str(local), None, ["fists", f"mine={local}", str(local / "adapters" / "fists")])
    assert not constants.HF_HUB_OFFLINE
    for names in ("me/base", ["fists", "new=me/task@v2"], "fists,me/task"):
        reach_hub(names)
        assert constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = False


@pytest.mark.parametrize("name", ["predict", "embed", "explain", "to braindecode"])
@pytest.mark.slow
def test_what_is_here_needs_no_network_at_all(run, local, monkeypatch, name):
    def refuse(self, address):
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **options: refuse(None, address))
    assert run(READS[name], base=local)[0] == 0


@pytest.mark.parametrize(
    ("token", "line", "said"),
    [
        (READ, PUSH, "Take one with write access"),
        ("", PUSH, "log in (hf auth login), set HF_TOKEN"),
        ("hf_stale", PUSH, "does not accept the token"),
        ("", READS["predict"], "does not exist, or it is private"),
        ("hf_stale", READS["predict"], "log in (hf auth login), set HF_TOKEN"),
    ],
)
def test_a_token_without_rights_is_told_what_is_needed(hub, run, monkeypatch, token, line, said):
    hub.add_repo("me/base", private=True)
    monkeypatch.setenv("HF_TOKEN", token)
    code, error = run(line)
    assert code == 2 and said in error and len(error.splitlines()[-1]) < 600


@pytest.mark.parametrize("line", ["predict x.edf --base nosuch --task all --out {out}.tsv",
                                  "evaluate --base nosuch --data x"])  # fmt: skip
def test_a_base_that_is_no_folder_is_not_one_without_tasks(run, line):
    code, said = run(line)
    assert code == 2 and "No base nosuch: there is no such folder" in said
