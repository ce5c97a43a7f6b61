"""The served page without a browser: what two visitors get, and what the server tells of itself."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from places import ROOT
from test_app import write_edf
from tiny_models import model_with_tasks

from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.app import session as sessions
from modeling_mteeg.app.served import ServedModel

pytest.importorskip("gradio", reason="the page needs Gradio (the app extra)")
pytestmark = pytest.mark.slow

from page_client import Visitor, addresses, file_data, running_page  # noqa: E402

OPTIONS = ["", None, None, "", False, True]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place of the server") / "base"
    model = model_with_tasks("sleep-edf", "tuab")
    model.save_pretrained(folder)
    MteegFeatureExtractor().save_pretrained(folder)
    for name in model.tasks:
        model.save_adapter(name, folder / "adapters" / name, simulated=True)
    return folder


@pytest.fixture(scope="module")
def page(base, tmp_path_factory):
    served = ServedModel.load(str(base))
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("kept by the server"))
    with running_page(served) as (address, blocks):
        yield address, blocks
    os.environ.pop("GRADIO_TEMP_DIR")
    if before is not None:
        os.environ["GRADIO_TEMP_DIR"] = before


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Simulated recordings that suit both tasks, of two people."""
    folder = tmp_path_factory.mktemp("recordings")
    names = ["EEG Fpz-Cz", "EEG Pz-Oz", "FP1", "FP2", "C3", "T3"]
    return [write_edf(folder / f"person{seed}.edf", names, seed=seed) for seed in range(2)]


def predicted(visitor: Visitor, reference: str, tasks: list[str]) -> str:
    """Press Predict and show the answer; what the page then holds."""
    files = [file_data(reference)]
    visitor.call(visitor.find("recording", "change")["id"], [files, [], ""])
    run = next(one for one in visitor.functions if len(one["inputs"]) == 2 + len(OPTIONS))
    said = visitor.call(run["id"], [files, tasks, *OPTIONS])
    assert 'role="alert"' not in json.dumps(said), said
    (state,) = said["output"]["changed_state_ids"]
    show = next(one for one in visitor.functions if [state, "change"] in one["targets"])
    visitor.call(show["id"], [None])
    return json.dumps(visitor.rendered)


def pressed(visitor: Visitor, event: str, data: list, given: dict | None = None) -> str:
    """Press something in the first tab of the answer."""
    function = next(one for one in visitor.rendered["dependencies"]
                    if any(kind == event for _, kind in one["targets"]))  # fmt: skip
    return json.dumps(visitor.call(function["id"], data, given))


def test_nothing_that_the_browser_gets_names_a_place_on_the_server(page, base, recordings):
    address, _ = page
    visitor = Visitor(address)
    for path in ("/", "/gradio_api/info", "/gradio_api/openapi.json", "/theme.css",
                 "/gradio_api/file=/etc/passwd", "/gradio_api/app_id"):  # fmt: skip
        visitor.fetch(path)
    (reference,) = visitor.upload(recordings[0])
    shown = predicted(visitor, reference, ["sleep-edf", "tuab"])
    files = addresses(shown)
    assert len(files) == 2 * (4 + 4)  # two pictures in two colours, four files, of two tasks
    for one in files:
        status, data = visitor.fetch(f"/{one}")
        assert status == 200
        if one.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as everything:
                visitor.received += [everything.read(name).decode("latin-1")
                                     for name in everything.namelist()]  # fmt: skip
    tables = [part["props"]["value"] for part in json.loads(shown)["components"]
              if part["props"].get("elem_classes") == ["events"]]  # fmt: skip
    first = next(table for table in tables if table["headers"][3] == "W")["data"][0]
    traces = pressed(visitor, "select", [], {"index": [0, 0], "value": first[0],
                                             "row_value": first})  # fmt: skip
    assert "Traces of" not in traces and len(addresses(traces)) == 2 and "band-pass" in traces
    decided = pressed(visitor, "release", [0.25])
    assert "threshold 0.25, chosen by hand" in decided and len(addresses(decided)) == 8
    # What is wrong in every way
    visitor.call(visitor.find("recording", "change")["id"], [[file_data("/etc/passwd")], [], ""])
    visitor.call(visitor.find("recording", "change")["id"], [[{"path": 3}], 7, {}])
    visitor.fetch("/gradio_api/upload", b"nothing", "text/plain")
    told = "\n".join(visitor.received)
    assert len(told) > 50_000
    hidden = [str(base.parent), os.environ["GRADIO_TEMP_DIR"], str(Path.home()) + "/", str(ROOT),
              str(recordings[0].parent), sys.prefix]  # fmt: skip
    for place in hidden:
        for form in (place, json.dumps(place)[1:-1], place.replace(" ", "%20")):
            found = re.search(".{80}" + re.escape(form) + ".{80}", told, re.DOTALL)
            assert form not in told, found


def test_two_visitors_at_once_get_their_own_and_nothing_of_each_other(page, recordings):
    address, _ = page
    one, other = Visitor(address), Visitor(address)
    with one.there(), other.there():
        mine, theirs = one.upload(recordings[0])[0], other.upload(recordings[1])[0]
        shown = predicted(one, mine, ["sleep-edf"])
        shown_other = predicted(other, theirs, ["tuab"])
        assert not set(addresses(shown)) & set(addresses(shown_other))
        assert "person1" not in "".join(one.received) and "person0" not in "".join(other.received)
        # The other one guesses: the upload and the results by all ways that Gradio has.
        session = page[1].visitors.session(one.name)
        places = [*session.uploads, *session.results.values(), Path(mine)]
        for place in places:
            for way in ("file=", "file/", "stream/", "proxy="):
                status, data = other.fetch(f"/gradio_api/{way}{place}".replace(" ", "%20"))
                assert status == 404 and b"No such file" in data
            said = other.call(other.find("recording", "change")["id"],
                              [[file_data(str(place))], [], ""])  # fmt: skip
            if place != Path(mine):  # the name of chance, which only its owner was told
                told = json.dumps(said)
                assert "no longer on the server" in told or "Invalid file type" in told
        token = addresses(shown)[0].split("/")[1]
        for guess in (token[:-1] + "A" + token[-1:], token[::-1]):
            assert other.fetch(f"/results/{guess}/events.tsv")[0] == 404
        assert one.fetch("/" + addresses(shown)[0])[0] == 200


def test_what_a_visitor_had_goes_after_the_page_is_closed(page, recordings, monkeypatch):
    address, blocks = page
    visitor, stays = Visitor(address), Visitor(address)
    with stays.there():
        kept = stays.upload(recordings[0])[0]
        stays.call(stays.find("recording", "change")["id"], [[file_data(kept)], [], ""])
        with visitor.there():
            reference = visitor.upload(recordings[0])[0]
            shown = predicted(visitor, reference, ["sleep-edf"])
            session = blocks.visitors.session(visitor.name)
            folder, (upload,) = Path(session.folder), session.uploads
        end = time.monotonic() + 60
        while not session.closed and time.monotonic() < end:
            time.sleep(0.1)
        assert session.closed and upload.exists()
        monkeypatch.setattr(sessions, "GRACE_S", -1.0)
        blocks.visitors.sweep()
        assert not folder.exists() and not upload.exists()
        assert stays.fetch("/" + addresses(shown)[0])[0] == 404
        assert blocks.visitors.upload(kept).is_file()


MEMORY = """
import resource, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from tiny_models import model_with_tasks
from modeling_mteeg import MteegFeatureExtractor
from modeling_mteeg.app.answer import Options, answer
from modeling_mteeg.app.examine import examine
from modeling_mteeg.app.served import ServedModel
from modeling_mteeg.app.session import Session
from modeling_mteeg.app.uploads import gather_recording

served = ServedModel("base", model_with_tasks("sleep-edf"), MteegFeatureExtractor())
served.model.requires_grad_(False)
for file in sys.argv[1:]:
    session = Session()
    folder = session.start() / "recording"
    folder.mkdir()
    examine(served.tasks, [file], {{}})
    recording = gather_recording([file], folder)
    options = Options(stride_s=30)
    found = answer(served, recording, ["sleep-edf"], session, options, lambda *said: None)
    found.works[0].traces(3000.0, 3.0, "W")
    session.clear()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="ru_maxrss is of Unix")
def test_hours_of_eeg_take_the_memory_of_one(tmp_path):
    """Eight hours after one: the highest memory grows by less than the seven hours' signal."""
    names = ["EEG Fpz-Cz", "EEG Pz-Oz"]
    files = [write_edf(tmp_path / f"{hours}h.edf", names, 200, seconds=hours * 3600)
             for hours in (1, 8)]  # fmt: skip
    paths = [str(ROOT), str(ROOT / "tests" / "support")]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(paths=paths), *map(str, files)],
        capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    one, eight = (int(line) * 1024 for line in done.stdout.split())
    signal = 2 * 7 * 3600 * 200 * 8  # as numbers of eight bytes
    assert eight - one < 0.4 * signal, (one, eight, signal)
