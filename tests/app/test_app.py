"""What the page answers, without a browser: the same as ``predict``, or what went wrong."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import threading
import zipfile
from pathlib import Path

import edfio
import mne
import numpy as np
import pytest
from odd_files import time_stamps, write_odd_edf
from tiny_models import CARDS, model_with_tasks

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.app import markup
from modeling_mteeg.app.answer import parse_names
from modeling_mteeg.app.examine import Fit, examine
from modeling_mteeg.app.scalp_answer import WINDOWS, attribute_recording
from modeling_mteeg.app.served import ServedModel
from modeling_mteeg.app.session import Session
from modeling_mteeg.app.summary import Summary
from modeling_mteeg.app.task_work import SHOWN_ROWS, read_events
from modeling_mteeg.explanation import explain
from modeling_mteeg.explanation.explaining import class_to_explain, surest_windows
from modeling_mteeg.pictures.page_picture import PagePicture
from modeling_mteeg.prediction import Prediction, predict
from modeling_mteeg.prediction.events import events_text

SECONDS = 60
FIELDS = ["", None, None, "", False, False]
"""The page's options as they are at first, but without a scalp map."""


def write_edf(
    path: Path, channels: list[str], rate_hz: int = 100, seed: int = 0, seconds: int = SECONDS
) -> Path:
    """A simulated recording: noise of 20 uV in every channel."""
    random = np.random.default_rng(seed)
    noise = lambda: random.normal(0, 20, seconds * rate_hz).clip(-400, 400)  # noqa: E731
    signals = [
        edfio.EdfSignal(
            noise(), rate_hz, label=name, physical_dimension="uV", physical_range=(-400, 400)
        )
        for name in channels
    ]
    edfio.Edf(signals).write(path)
    return path


@pytest.fixture(scope="module")
def served():
    model = model_with_tasks("sleep-edf", "chb-mit", "tuab")
    model.tasks["sleep-edf"] = model.tasks["sleep-edf"].replace(simulated=True)
    return ServedModel("a base", model.requires_grad_(False), MteegFeatureExtractor())


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    return write_edf(folder / "SC4001E0-PSG.edf", ["EEG Fpz-Cz", "EEG Pz-Oz", "EOG horizontal"])


@pytest.fixture(scope="module")
def scalp(tmp_path_factory):
    """Referential channels, of which chb-mit's are differences; tuab's T3 is called T7."""
    names = ["EEG FP1-REF", "EEG F7-REF", "EEG T7-REF", "EEG C3-REF", "EEG P3-REF", "EEG FP2-REF"]
    return write_edf(tmp_path_factory.mktemp("scalp") / "chb01_03.edf", names, 256, seed=1)


@pytest.fixture
def session():
    session = Session()
    yield session
    session.clear()


def asked(served, session, files, tasks, progress=lambda share, desc: None, **fields):
    """What the Predict button gives; fields by their number."""
    from modeling_mteeg.app.calls import predict_upload

    options = list(FIELDS)
    for name, value in fields.items():
        options[["repo", "stride_s", "missing", "names", "merge", "scalp"].index(name)] = value
    return predict_upload(served, session, [str(file) for file in files], tasks, options, progress)


def test_the_answer_is_that_of_predict(served, session, night):
    found, status = asked(served, session, [night], ["sleep-edf"])
    expected = predict(night, served.model, ["sleep-edf"], name=night.name)["sleep-edf"]
    (task,) = found.tasks
    assert task.files["events.tsv"].read_text("utf-8") == events_text(expected)
    assert task.files["events.tsv"].name == "SC4001E0-PSG_desc-sleepedf_events.tsv"
    assert task.columns == ("onset", "duration", "label", "W", "N1", "N2", "N3", "REM")
    assert len(task.rows) == len(expected.onset_s) == 20 and task.more_rows == 0
    assert [row[2] for row in task.rows] == expected.labels
    shown = np.array([row[3:] for row in task.rows], float)
    assert np.allclose(shown, expected.probabilities, atol=0.0006)
    assert task.notes == expected.notes and "75 Hz low-pass" in task.notes[0]
    assert "SC4001E0-PSG.edf" in status and "1 min" in status
    sidecar = json.loads(task.files["events.json"].read_text("utf-8"))
    assert sidecar["Sources"] == ["SC4001E0-PSG.edf"]
    notes = mne.read_annotations(task.files["Annotations (FIF)"])
    assert list(notes.description) == expected.labels


@pytest.mark.slow
def test_pictures_and_everything_in_one_file(served, session, night):
    found, _ = asked(served, session, [night], ["sleep-edf"], scalp=True)
    (task,) = found.tasks
    hypnogram, scalp = task.pictures
    assert hypnogram.title == "Hypnogram of sleep-edf" and "what speaks for" in scalp.title
    for picture in task.pictures:
        assert picture.path.read_bytes().startswith(b"\x89PNG")
    with zipfile.ZipFile(task.files["Everything (zip)"]) as everything:
        names = set(everything.namelist())
        assert (
            everything.read(task.files["events.tsv"].name) == task.files["events.tsv"].read_bytes()
        )
    single = [path for label, path in task.files.items() if "zip" not in label]
    assert names == {path.name for path in [*single, hypnogram.path, scalp.path]}


@pytest.mark.slow
def test_derived_and_missing_channels_are_named(served, session, scalp):
    found, _ = asked(served, session, [scalp], ["chb-mit", "tuab"], missing=2)
    chb, tuab = found.tasks
    assert not chb.warning and "3, 3 derived" in chb.facts["Channels used"]
    assert any("FP1-F7, F7-T7, C3-P3" in note for note in chb.notes)
    assert tuab.warning.startswith("1 of 4 channels are missing: T3.")
    assert chb.pictures[0].title == "Timeline of chb-mit"


@pytest.mark.slow
def test_channels_can_be_meant_by_other_names(served, session, scalp):
    found, _ = asked(served, session, [scalp], ["tuab"], names="T7=T3")
    (task,) = found.tasks
    assert not task.warning and task.facts["Channels used"] == "4"
    assert "Channels were taken under other names: T7 as T3." in task.notes


@pytest.mark.slow
def test_a_recording_of_several_parts_is_said_and_answered_in_its_own_time(
    served, session, tmp_path
):
    seconds = [*range(20), *range(300, 307), *range(400, 402)]
    signal = np.random.default_rng(3).normal(0, 20, (2, len(seconds) * 100))
    path = write_odd_edf(
        tmp_path / "gaps.edf", signal, ["EEG Fpz-Cz", "EEG Pz-Oz"], 100, kind="EDF+D",
        stamps=time_stamps(seconds),
    )  # fmt: skip
    examined = examine(served.tasks, [path], {})
    assert examined.facts["Length"] == "6 min 42 s" and examined.suggested == ["sleep-edf"]
    assert examined.facts["Parts"] == "3, 29 s recorded"
    found, status = asked(served, session, [path], ["sleep-edf"], scalp=True)
    (task,) = found.tasks
    expected = predict(path, served.model, ["sleep-edf"], name=path.name)["sleep-edf"]
    assert [float(row[0]) for row in task.rows] == expected.onset_s.tolist()
    assert task.rows[-1][0] == "303" and task.findings == expected.findings
    assert "6 min 42 s" in status and len(task.pictures) == 2
    html = markup.findings(task.findings)
    assert html.index("mteeg-warning") < html.index("3 parts, recorded at 0 to 20 s")
    assert html.index("3 parts, recorded") < html.index("mteeg-note") < html.index("75 Hz low-pass")
    assert "last_window (--last-window)" in html and "mteeg-error" not in html


def test_parts_that_are_all_shorter_than_a_window_do_not_fit(served, tmp_path):
    seconds = [0, 1, 10, 11, 20, 21]
    signal = np.random.default_rng(3).normal(0, 20, (2, len(seconds) * 100))
    path = write_odd_edf(
        tmp_path / "gaps.edf", signal, ["EEG Fpz-Cz", "EEG Pz-Oz"], 100, kind="EDF+D",
        stamps=time_stamps(seconds),
    )  # fmt: skip
    (fit,) = [one for one in examine(served.tasks, [path], {}).fits if one.task == "sleep-edf"]
    assert not fit.fits and fit.words == "every part is shorter than its window of 3 s"


def test_stride_and_merged_runs_are_those_of_the_command(served, session, night, tmp_path):
    found, _ = asked(served, session, [night], ["sleep-edf"], stride_s=1.5, merge=True)
    (task,) = found.tasks
    expected = predict(night, served.model, ["sleep-edf"], stride_s=1.5)["sleep-edf"]
    assert task.files["events.tsv"].read_text("utf-8") == events_text(expected, merge=True)
    assert "every 1.5 s" in task.facts["Windows"]


@pytest.mark.parametrize(
    "tasks, fields, words",
    [
        ([], {}, "No task is chosen"),
        (["chb-mit"], {}, "3 are missing: FP1-F7, F7-T7, C3-P3"),
        (["sleep-edf"], {"names": "T7"}, "expected pairs such as T7=T3"),
        (["sleep-edf"], {"names": "T7=T3"}, "T7 are not in the recording"),
        (["sleep-edf"], {"stride_s": -1}, "stride_s"),
        (["sleep-edf"], {"repo": "not a repository"}, "expected owner/repo"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(served, session, night, tasks, fields, words):
    found, status = asked(served, session, [night], tasks, **fields)
    assert found is None and 'role="alert"' in status
    assert words in status and "Traceback" not in status and "/mteeg-app-" not in status


def test_files_that_are_no_recording(served, session, tmp_path):
    text = tmp_path / "night.edf"
    text.write_text("no EDF at all")
    found, status = asked(served, session, [text], ["sleep-edf"])
    assert found is None and "night.edf: 13 bytes long, shorter than an EDF header" in status
    assert str(tmp_path) not in status and session.folder not in status
    assert "No recording yet" in asked(served, session, [], ["sleep-edf"])[1]


def test_a_fault_inside_is_logged_and_admitted(served, session, night, monkeypatch, caplog):
    def broken(*args, **options):
        raise RuntimeError("secret of the server")

    monkeypatch.setattr("modeling_mteeg.app.calls.answer", broken)
    found, status = asked(served, session, [night], ["sleep-edf"])
    assert found is None and "fault of the program" in status and "secret" not in status
    assert "secret of the server" in caplog.text


@pytest.mark.slow
def test_stop_ends_the_work_at_the_next_sign_of_progress(served, session, night):
    seen = []

    def progress(share, desc):
        seen.append(share)
        session.stop()

    found, status = asked(served, session, [night], ["sleep-edf"], progress)
    assert found is None and "Stopped" in status and len(seen) == 1
    assert session.folder is None
    assert asked(served, session, [night], ["sleep-edf"])[0] is not None


@pytest.mark.slow
def test_progress_grows_to_one(served, session, night):
    seen = []
    asked(served, session, [night], ["sleep-edf"], lambda share, desc: seen.append((share, desc)),
          scalp=True)  # fmt: skip
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    said = " ".join(desc for _, desc in seen)
    assert "1 min of 1 min" in said and "Drawing" in said and "Attributing" in said


@pytest.mark.slow
def test_visitors_at_the_same_time_get_their_own(served, night, scalp):
    jobs = {"sleep-edf": night, "chb-mit": scalp}
    sessions = {task: Session() for task in jobs}
    answers = {}

    def visit(task: str) -> None:
        answers[task] = asked(served, sessions[task], [jobs[task]], [task])

    threads = [threading.Thread(target=visit, args=(task,)) for task in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for task, (found, status) in answers.items():
        expected = predict(jobs[task], served.model, [task])[task]
        assert found.tasks[0].files["events.tsv"].read_text("utf-8") == events_text(expected)
        assert jobs[task].name in status
        sessions[task].clear()
    assert set(served.model.tasks) == {"sleep-edf", "chb-mit", "tuab"}


def test_a_dropped_recording_is_looked_at(served, night, scalp):
    found = examine(served.tasks, [night], {})
    assert found.facts == {"Length": "1 min", "Rate": "100 Hz", "Channels": "3"}
    assert [fit.task for fit in found.fits if fit.fits] == ["sleep-edf"]
    found = {fit.task: fit for fit in examine(served.tasks, [scalp], {}).fits}
    assert found["chb-mit"].fits and found["chb-mit"].words == "all 3 channels, 3 derived"
    assert not found["tuab"].fits and "1 of 4 channels missing: T3" in found["tuab"].words
    assert "T7=T3" in found["tuab"].words
    assert found["sleep-edf"].words == "none of its 2 channels is there"
    assert all(fit.fits for fit in examine({"tuab": CARDS["tuab"]}, [scalp], {"T7": "T3"}).fits)


def test_tasks_that_were_recorded_for_are_suggested_before_derived_ones(served, tmp_path):
    both = write_edf(tmp_path / "a.edf", ["FPZ", "CZ", "PZ", "OZ", "FP1", "FP2", "C3", "T3"])
    found = examine(served.tasks, [both], {})
    assert {fit.task for fit in found.fits if fit.fits} == {"sleep-edf", "tuab"}
    assert found.suggested == ["tuab"]
    card = CARDS["tuab"].replace(window_s=SECONDS + 1)
    (fit,) = examine({"tuab": card}, [both], {}).fits
    assert not fit.fits and fit.words == "shorter than its window of 61 s"


def test_tasks_that_suit_are_marked_unless_the_visitor_chose(served, night):
    from modeling_mteeg.app.calls import look_at_upload

    look = lambda files, chosen: look_at_upload(served, Session(), files, chosen)  # noqa: E731
    html, fits, marked = look([str(night)], [])
    assert marked == ["sleep-edf"] and "100 Hz" in html
    assert [fit.words for fit in fits if fit.fits] == ["all 2 channels"]
    assert look([str(night)], ["tuab"])[2] == ["tuab"]
    assert look(None, ["tuab"]) == ("", (), ["tuab"])
    html, fits, marked = look([str(night), str(night)], [])
    assert 'role="alert"' in html and marked == [] and fits == ()


def test_the_list_of_tasks_asks_in_words_and_says_what_fits():
    card = CARDS["chb-mit"].replace(description="Is there a seizure? Cases 1 and 21 are one girl.")
    asks, about = markup.task_label(card).splitlines()
    assert asks == "Is there a seizure?" and about.startswith("chb-mit: background, seizure; 3 ch")
    lines = markup.task_label(card, Fit("chb-mit", False, "none of its 3 channels is there"))
    assert lines.splitlines()[2] == "✗ none of its 3 channels is there"
    assert markup.task_label(CARDS["tuab"]).startswith("Which of normal or abnormal?\n")


def test_the_table_shows_the_first_rows_and_counts_the_rest(tmp_path):
    rows = [f"{onset}\t1\tseizure\tseizure\t0.25\t0.75" for onset in range(SHOWN_ROWS + 7)]
    head = "onset\tduration\ttrial_type\tlabel\tprobability_background\tprobability_seizure"
    (tmp_path / "events.tsv").write_text("\n".join([head, *rows]) + "\n")
    columns, shown, more = read_events(tmp_path / "events.tsv")
    assert columns == ("onset", "duration", "label", "background", "seizure")
    assert shown[3] == ["3", "1", "seizure", "0.250", "0.750"]
    assert len(shown) == SHOWN_ROWS and more == 7


def test_names_are_pairs():
    assert parse_names(" T7 = T3,\nT8=T4 ,") == {"T7": "T3", "T8": "T4"}
    assert parse_names("") == {}
    for wrong in ("T7", "=T3", "T7=", "T7=T3, T7=T4"):
        with pytest.raises(ValueError, match="expected pairs"):
            parse_names(wrong)


def test_the_scalp_map_is_of_the_surest_windows():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    binary = Prediction(CARDS["chb-mit"], np.arange(3) * 2.0, probabilities, 2.0, ("FP1-F7",))
    assert class_to_explain(binary.card, probabilities) == 1
    assert surest_windows(binary, 1, most=3) == [1, 2, 0]
    labels = np.eye(5, dtype=np.float32)[[2, 2, 0]]
    stages = Prediction(CARDS["sleep-edf"], np.arange(3) * 3.0, labels, 3.0, ("FPZ-CZ",))
    assert class_to_explain(stages.card, labels) == 2
    assert surest_windows(stages, 2, most=2) == [0, 1]


def test_the_scalp_map_is_that_of_explain(served, scalp):
    """With derived channels; one window at a time is the same as all at once."""
    raw = mne.io.read_raw(scalp, preload=False, verbose="error")
    prediction = predict(raw, served.model, ["chb-mit"])["chb-mit"]
    told = []
    found = attribute_recording(served.model, raw, prediction, lambda *tick: told.append(tick))
    expected = explain(raw, served.model, "chb-mit", windows=WINDOWS)
    assert found.label == expected.label == "seizure" and found.channels == expected.channels
    assert sorted(found.onset_s) == list(expected.onset_s)
    assert np.allclose(found.values, expected.values, rtol=1e-3, atol=1e-4)
    assert told == [(0, WINDOWS), *((done, WINDOWS) for done in range(WINDOWS))]


def test_the_scalp_map_is_of_windows_that_are_the_label_where_any_is(served, scalp):
    raw = mne.io.read_raw(scalp, preload=False, verbose="error")
    prediction = predict(raw, served.model, ["chb-mit"])["chb-mit"]
    positive = np.full(len(prediction.onset_s), 0.4)
    for number, expected in ((1, [2]), (0, range(WINDOWS))):
        positive[2] = 0.9 if number else 0.4
        rows = np.stack([1 - positive, positive], 1)
        other = dataclasses.replace(prediction, probabilities=rows)
        found = attribute_recording(served.model, raw, other, lambda done, count: None)
        assert list(found.onset_s) == [prediction.onset_s[window] for window in expected]
        assert found.labelled.number == number


def test_the_scalp_map_ends_in_time(served, night, monkeypatch):
    monkeypatch.setattr("modeling_mteeg.app.scalp_answer.SPENT_S", -1.0)
    raw = mne.io.read_raw(night, preload=False, verbose="error")
    prediction = predict(raw, served.model, ["sleep-edf"])["sleep-edf"]
    found = attribute_recording(served.model, raw, prediction, lambda done, count: None)
    assert len(found.onset_s) == 1


def test_texts_of_others_are_escaped():
    bad = "<script>"
    pieces = [
        markup.figure(bad, PagePicture(Path(), Path(), 1, 1, bad), bad, bad),
        markup.downloads({bad: bad}),
        markup.summary(Summary(bad, {bad: bad}, bad)),
        markup.facts({bad: bad}),
        markup.bullets([bad]),
        *(make(bad) for make in (markup.warning, markup.header, markup.heading, markup.small)),
        *(make(bad, bad) for make in (markup.error, markup.note)),
    ]
    html = "".join(pieces)
    assert all("&lt;script&gt;" in piece for piece in pieces)
    assert "<script" not in html


def test_an_answer_does_not_need_the_package_to_be_installed(served, session, night, monkeypatch):
    """In a Space the package lies beside ``app.py``; pip knows nothing of it."""
    asked_version = importlib.metadata.version

    def version(name: str) -> str:
        if name == "modeling-mteeg":
            raise importlib.metadata.PackageNotFoundError(name)
        return asked_version(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr("modeling_mteeg.prediction.origins.version", version)
    found, status = asked(served, session, [night], ["sleep-edf"])
    assert found is not None, status


def test_the_command_says_what_to_do_without_a_base(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MTEEG_BASE", raising=False)
    assert cli.main(["app"]) == 2
    assert "No base to serve: give --base FOLDER" in capsys.readouterr().err
    assert cli.main(["app", "--base", str(tmp_path)]) == 2
    assert "expected the folder of a base" in capsys.readouterr().err


def test_the_command_says_how_to_get_gradio(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert cli.main(["app", "--base", "anything"]) == 2
    assert "pip install 'modeling-mteeg[app]'" in capsys.readouterr().err
