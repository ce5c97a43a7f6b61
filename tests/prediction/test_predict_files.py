"""mteeg predict: the files it writes, what it skips, and what it says of bad recordings."""

from __future__ import annotations

import csv
import errno
import json
import sys
from types import ModuleType

import mne
import numpy as np
import pytest
from recording_files import write_recording
from tiny_bases import TASKS, save_base, save_recordings
from tiny_models import tiny_model
from tiny_recordings import NAMES, card, eeg

from modeling_mteeg import cli
from modeling_mteeg.prediction import predict
from modeling_mteeg.prediction import result_files as prediction_files
from modeling_mteeg.prediction.finished_results import Options, _file_key, run_key
from modeling_mteeg.prediction.origins import adapter_origin
from modeling_mteeg.prediction.task_loading import load_tasks, split_task


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base with two tasks beside it."""
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return save_recordings(tmp_path_factory.mktemp("recordings"))


def run(base, *arguments):
    return cli.main(["predict", *map(str, arguments), "--base", str(base)])


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


# Files -------------------------------------------------------------------------------------------


def test_one_recording_and_task_become_events_and_a_sidecar(
    base, recordings, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a bar is for terminals
    out = tmp_path / "new" / "events.tsv"
    assert run(base, recordings[0], "--task", "fists", "--out", out, "--stride", 1.5) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["events.json", "events.tsv"]
    model, _ = load_tasks(base, ["fists"])
    expected = predict(recordings[0], model, stride_s=1.5)["fists"]
    rows = rows_of(out)
    columns = ["probability_left", "probability_both_fists", "probability_rest"]
    assert list(rows[0]) == ["onset", "duration", "trial_type", "label", *columns]
    assert [float(row["onset"]) for row in rows] == expected.onset_s.tolist()
    assert {row["duration"] for row in rows} == {"2"}
    assert [row["label"] for row in rows] == expected.labels
    assert [row["trial_type"] for row in rows] == expected.labels
    found = np.array([[float(row[column]) for column in columns] for row in rows])
    np.testing.assert_allclose(found, expected.probabilities, atol=2e-6)
    printed = capsys.readouterr()
    assert "20 windows of 2 s" in printed.out and "s of EEG/s" in printed.err


def test_the_sidecar_describes_every_column_and_how_it_came_about(base, recordings, tmp_path):
    out = tmp_path / "events.tsv"
    assert run(base, recordings[0], "--task", "fists", "--out", out, "--quiet") == 0
    sidecar = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert all("Description" in sidecar[column] for column in rows_of(out)[0])
    assert sidecar["onset"]["Units"] == sidecar["duration"]["Units"] == "s"
    assert list(sidecar["trial_type"]["Levels"]) == list(TASKS["fists"].labels)
    (generated,) = sidecar["GeneratedBy"]
    model, _ = load_tasks(base, ["fists"])
    assert generated["Name"] == "modeling-mteeg" and "not a diagnosis" in generated["Description"]
    assert generated["Base"] == {
        "name": str(base), "fingerprint": model.fingerprint(), "revision": None,
    }  # fmt: skip
    assert generated["Adapter"]["name"] == str(base / "adapters" / "fists")
    assert len(generated["Adapter"]["fingerprint"]) == 64
    assert {"python", "torch", "mne", "modeling-mteeg"} <= set(generated["PackageVersions"])
    settings = generated["Settings"]
    assert settings["stride_s"] == settings["window_s"] == 2.0 and settings["highpass_hz"] == 0.1
    assert sidecar["Sources"] == ["sub-01_eeg.edf"] and sidecar["RecordingDuration"] == 31.0
    assert sidecar["Channels"] == NAMES and sidecar["MissingChannels"] == []


def test_several_recordings_and_tasks_go_to_a_folder(base, recordings, tmp_path):
    arguments = [*recordings, "--task", "fists", "--task", "two-d", "--out", tmp_path, "--quiet"]
    assert run(base, *arguments, "--annotations") == 0
    stems = [f"{name}_desc-{task}" for name in ("sub-01", "second") for task in ("fists", "twod")]
    endings = ("events.tsv", "events.json", "annot.fif")
    expected = {f"{stem}_{ending}" for stem in stems for ending in endings}
    assert {path.name for path in tmp_path.iterdir()} == expected
    model, _ = load_tasks(base, ["two-d"])
    alone = predict(recordings[1], model)["two-d"]
    rows = rows_of(tmp_path / "second_desc-twod_events.tsv")
    found = [[float(row["probability_a"]), float(row["probability_b"])] for row in rows]
    np.testing.assert_allclose(found, alone.probabilities, atol=2e-6)


def test_annotations_fit_the_recording(base, recordings, tmp_path):
    out = tmp_path / "x_events.tsv"
    arguments = [recordings[0], "--task", "fists", "--out", out, "--annotations", "--merge"]
    assert run(base, *arguments, "--quiet") == 0
    annotations = mne.read_annotations(tmp_path / "x_annot.fif")
    rows = rows_of(out)
    raw = mne.io.read_raw(recordings[0], verbose="error").set_annotations(annotations)
    assert [one["description"] for one in raw.annotations] == [row["label"] for row in rows]
    np.testing.assert_allclose(raw.annotations.onset, [float(row["onset"]) for row in rows])
    np.testing.assert_allclose(raw.annotations.duration, [float(row["duration"]) for row in rows])
    assert float(rows[1]["probability_rest"]) == pytest.approx(
        raw.annotations.extras[1]["probability_rest"], abs=1e-5
    )


# Again, and after an interruption ----------------------------------------------------------------


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_second_start_skips_what_is_finished(base, recordings, tmp_path, capsys, monkeypatch):
    arguments = [*recordings, "--task", "fists", "--out", tmp_path, "--annotations"]
    predicted = []

    def watched(recording, *rest, **options):
        predicted.append(recording)
        if len(predicted) == 2:
            raise KeyboardInterrupt
        return predict(recording, *rest, **options)

    monkeypatch.setattr(prediction_files, "predict", watched)
    assert run(base, *arguments) == 130
    assert "interrupted: results that were finished are there" in capsys.readouterr().err
    before = contents(tmp_path)
    assert len(before) == 3  # of the first recording, whole
    assert run(base, *arguments) == 0
    assert predicted == [recordings[0], recordings[1], recordings[1]]
    assert "sub-01_desc-fists_events.tsv: done already" in capsys.readouterr().out
    after = contents(tmp_path)
    assert len(after) == 6 and all(after[name] == content for name, content in before.items())


@pytest.mark.parametrize("lost", ["x_events.tsv", "x_events.json", "x_annot.fif"])
def test_a_result_that_lacks_a_file_is_not_finished(base, recordings, tmp_path, lost):
    out = tmp_path / "x_events.tsv"
    arguments = [recordings[1], "--task", "fists", "--out", out, "--annotations", "--quiet"]
    assert run(base, *arguments) == 0
    before = contents(tmp_path)
    (tmp_path / lost).unlink()
    if lost == "x_events.json":  # then the events could be anybody's
        assert run(base, *arguments) == 2
        assert run(base, *arguments, "--overwrite") == 0
    else:
        assert run(base, *arguments) == 0
    assert contents(tmp_path) == before


def test_a_broken_write_leaves_no_part(base, recordings, tmp_path, monkeypatch, capsys):
    from modeling_mteeg.prediction import events

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(events.os, "replace", full_disk)
    out = tmp_path / "events.tsv"
    assert run(base, recordings[1], "--task", "fists", "--out", out, "--quiet") == 1
    assert f"{out.with_suffix('.json')}: could not be written" in capsys.readouterr().err
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    "change, named",
    [
        (["--stride", "1"], "stride_s"),
        (["--merge"], "merge"),
        (["--allow-missing", "1"], "allow_missing"),
        (["--rename", "C3=C5", "--allow-missing", "1"], "rename"),
    ],
)
def test_another_runs_files_are_not_replaced(base, recordings, tmp_path, capsys, change, named):
    out = tmp_path / "events.tsv"
    arguments = [recordings[1], "--task", "fists", "--out", out, "--quiet"]
    assert run(base, *arguments) == 0
    before = contents(tmp_path)
    assert run(base, *arguments, *change) == 2
    error = capsys.readouterr().err
    assert named in error and "--overwrite" in error and contents(tmp_path) == before
    assert run(base, *arguments, *change, "--overwrite") == 0
    assert contents(tmp_path) != before


def test_another_recording_or_adapter_is_another_run(base, recordings, tmp_path):
    out = tmp_path / "events.tsv"
    path = write_recording(tmp_path / "in", "rec.vhdr", eeg(9.0), NAMES, 250.0)
    arguments = [path, "--task", "fists", "--out", out, "--quiet"]
    assert run(base, *arguments) == 0 and run(base, *arguments) == 0
    data = path.with_suffix(".eeg")  # where a BrainVision recording's signal lies
    data.write_bytes(data.read_bytes()[::-1])
    assert run(base, *arguments) == 2
    model, _ = load_tasks(base, ["fists"])
    told = (recordings[0], model.tasks["fists"], "base")
    keys = [run_key(*told, adapter, Options()) for adapter in ("one", "other")]
    assert keys[0] != keys[1]


def test_a_recording_that_is_a_folder_is_known_by_the_files_in_it(tmp_path):
    folder, keys = tmp_path / "rec.mff", []
    (folder / "sub").mkdir(parents=True)
    data = folder / "sub" / "signal1.bin"
    for content in (b"one", b"two", b"longer"):
        data.write_bytes(content)
        keys.append(_file_key(folder))
    (folder / ".DS_Store").write_bytes(b"of a Mac")
    assert _file_key(folder) == keys[-1]
    data.rename(folder / "signal2.bin")
    assert len({*keys, _file_key(folder)}) == 4


def test_a_recording_is_known_by_the_files_that_its_header_names(tmp_path):
    header, data = tmp_path / "a.vhdr", tmp_path / "Müller signal.eeg"
    keys = []
    for text in ("utf-8", "latin-1"):
        header.write_text(f"[Common Infos]\nDataFile={data.name}\nMarkerFile={'x' * 300}\n", text)
        for content in (b"1234", b"1235"):
            data.write_bytes(content)
            keys.append(_file_key(header))
    assert len(set(keys)) == 4


def test_files_of_somebody_else_are_not_replaced(base, recordings, tmp_path, capsys):
    (tmp_path / "events.json").write_text('{"trial_type": {"Levels": {}}}')
    arguments = [recordings[1], "--task", "fists", "--out", tmp_path / "events.tsv", "--quiet"]
    assert run(base, *arguments) == 2
    assert "events.json there already" in capsys.readouterr().err
    assert list(contents(tmp_path)) == ["events.json"]


# What goes wrong ---------------------------------------------------------------------------------


def test_bad_recordings_are_reported_and_lose_nothing_else(base, recordings, tmp_path, capsys):
    few = write_recording(tmp_path, "few.edf", eeg(13.0)[:4], NAMES[:4], 250.0)
    broken = tmp_path / "broken.edf"
    broken.write_bytes(b"not an EDF file")
    listed = [broken, few, tmp_path / "absent.edf", recordings[0]]
    out = tmp_path / "out"
    assert run(base, *listed, "--task", "fists", "--out", out) == 2
    error = capsys.readouterr().err
    assert "3 of 4 results could not be made; the other 1 are there" in error
    for words in ("broken.edf (fists): ", "missing: C4, O1", "expected a file"):
        assert words in error
    assert {path.stem for path in out.iterdir()} == {"sub-01_desc-fists_events"}


def test_a_task_that_does_not_fit_loses_no_other_task(base, tmp_path, capsys):
    path = write_recording(tmp_path, "few.edf", eeg(13.0)[[0, 2, 5]], ["FP1", "C3", "O1"], 250.0)
    arguments = [path, "--task", "fists", "--task", "two-d", "--out", tmp_path / "out", "--quiet"]
    assert run(base, *arguments) == 2
    assert "few.edf (fists): Task 'fists': Expected 6 channels" in capsys.readouterr().err
    assert (tmp_path / "out" / "few_desc-twod_events.tsv").is_file()
    assert not (tmp_path / "out" / "few_desc-fists_events.tsv").exists()
    allowed = [*arguments, "--allow-missing", "3", "--overwrite"]
    assert run(base, *allowed) == 0
    sidecar = json.loads((tmp_path / "out" / "few_desc-fists_events.json").read_text("utf-8"))
    assert sidecar["MissingChannels"] == ["FP2", "CZ", "C4"]
    assert sidecar["GeneratedBy"][0]["Settings"]["allow_missing"] == 3
    assert any("FP2, CZ, C4" in note for note in sidecar["Notes"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["a.edf", "b.edf", "--task", "fists", "--out", "x.tsv"], "expected a folder"),
        (["a.edf", "--task", "fists", "--task", "two-d", "--out", "x.tsv"], "expected a folder"),
        (["x/a.edf", "y/a.edf", "--task", "fists", "--out", "o"], "different folders"),
        (["a.edf", "--task", "fists", "--out", "o", "--rename", "T7"], "OLD=NEW"),
        (["a.edf", "--task", "no-such", "--out", "o"], "fists, two-d"),
        (["a.edf", "--task", "fists", "--out", "o", "--device", "cuda:77"], "cuda:77"),
        (["a.edf", "--task", "fists", "--out", "o"], "expected a file a.edf"),
    ],
)
def test_wrong_use_is_named(base, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run(base, *arguments) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_base_that_is_none(tmp_path, capsys):
    assert run(tmp_path, "a.edf", "--task", "fists", "--out", "o") == 2
    assert "expected the folder of a base" in capsys.readouterr().err


# Tasks and pictures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, parts",
    [
        ("seed-v", (None, "seed-v", None)),
        ("me/seed", (None, "me/seed", None)),
        ("me/seed@v1.0", (None, "me/seed", "v1.0")),
        ("mine=me/seed@0f", ("mine", "me/seed", "0f")),
        ("tuab@main", (None, "tuab", "main")),
    ],
)
def test_how_a_task_is_written(text, parts):
    assert split_task(text) == parts


def test_a_folder_under_another_name(base, recordings, tmp_path):
    folder = base / "adapters" / "fists"
    assert split_task(str(folder)) == (None, str(folder), None)
    arguments = [recordings[1], "--task", f"hands={folder}", "--out", tmp_path, "--quiet"]
    assert run(base, *arguments) == 0
    assert (tmp_path / "second_desc-hands_events.tsv").is_file()


def test_a_base_by_its_folder_in_python(base, recordings):
    found = predict(recordings[1], base, "fists")
    assert list(found) == ["fists"] and len(found["fists"].onset_s) == 6
    with pytest.raises(ValueError, match="name the tasks"):
        predict(recordings[1], base)


def test_pictures_are_drawn_of_every_result(base, recordings, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    pictures = ModuleType("modeling_mteeg.pictures")

    def save_prediction(prediction, recording, path):
        drawn.append((prediction.card.name, recording, path))
        path.write_text("picture")

    pictures.save_prediction = save_prediction
    monkeypatch.setitem(sys.modules, "modeling_mteeg.pictures", pictures)
    arguments = ["--task", "fists", "--out", tmp_path, "--quiet", "--plot"]
    assert run(base, recordings[0], *arguments, tmp_path / "one.pdf") == 0
    assert drawn == [("fists", recordings[0], tmp_path / "one.pdf")]
    drawn.clear()
    renamed = ["--rename", "CZ=PZ", "--allow-missing", "1", "--overwrite"]
    assert run(base, *recordings, *arguments, tmp_path / "p", *renamed) == 0
    assert [path.name for *_, path in drawn] == ["sub-01_desc-fists.png", "second_desc-fists.png"]
    assert drawn[0][1].ch_names == ["FP1", "FP2", "C3", "PZ", "C4", "O1"]
    drawn.clear()
    (tmp_path / "p" / "second_desc-fists.png").unlink()
    assert run(base, *recordings, *arguments, tmp_path / "p", *renamed) == 0
    assert len(drawn) == 1


# Where base and tasks come from ------------------------------------------------------------------


def test_names_of_files(tmp_path):
    names = ("a/sub-01_task-rest_eeg.vhdr", "b_raw.fif", "c_raw.fif.gz", "d.set", "raw.edf")
    targets = prediction_files.plan_targets(names, ["seed-v"], tmp_path)
    assert [target.events.name for target in targets] == [
        "sub-01_task-rest_desc-seedv_events.tsv", "b_desc-seedv_events.tsv",
        "c_desc-seedv_events.tsv", "d_desc-seedv_events.tsv", "raw_desc-seedv_events.tsv",
    ]  # fmt: skip


def test_an_adapter_from_the_hub_is_named_with_its_commit(base):
    model, _ = load_tasks(base, ["fists"])
    assert adapter_origin(model, "fists") == (str(base / "adapters" / "fists"), None)
    commit = "0123456789" * 4
    cache = f"/home/me/.cache/huggingface/hub/models--me--my-tasks/snapshots/{commit}"
    model.adapter_sources["fists"] = f"{cache}/adapters/fists"
    assert adapter_origin(model, "fists") == ("me/my-tasks/adapters/fists", commit)
    model.adapter_sources["fists"] = cache
    assert adapter_origin(model, "fists") == ("me/my-tasks", commit)
    model.delete_adapter("fists")
    assert "fists" not in model.adapter_sources


def test_tasks_beside_a_base_on_the_hub_are_those_of_its_commit(monkeypatch):
    asked = {}
    model = tiny_model()
    model.config._commit_hash = "c0ffee"

    def load_adapter(source, name, **options):
        asked[source] = options["revision"]
        return card(name=name or source.rpartition("/")[2])

    monkeypatch.setattr(model, "load_adapter", load_adapter)
    monkeypatch.setattr(
        "modeling_mteeg.prediction.task_loading.AutoModel.from_pretrained",
        lambda name, **options: asked.update(base=(name, options)) or model,
    )
    tasks = ["tuab", "tuev@v2", "you/seed", "mine=you/other@v1"]
    _, names = load_tasks("me/base", tasks, revision="v3", token="secret")
    assert names == ["tuab", "tuev", "seed", "mine"]
    assert asked == {
        "base": ("me/base", {"revision": "v3", "token": "secret", "trust_remote_code": False}),
        "tuab": "c0ffee", "tuev": "v2", "you/seed": None, "you/other": "v1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("nowhere/at/all", "no such folder, and on the Hub it would be owner/repo"),
        ("me/base", "no such folder here, and from the Hub: offline mode is on. Unset"),
    ],
)
def test_a_base_that_is_not_there_is_named_in_both_places(monkeypatch, base, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=said):
        load_tasks(base, ["tuab"])


def test_any_error_of_one_recording_leaves_the_others(base, recordings, tmp_path, monkeypatch,
                                                      capsys):  # fmt: skip
    good = prediction_files.predict

    def bad(path, *arguments, **options):
        if path.name == "second.vhdr":
            raise OverflowError("cannot convert float infinity to integer")
        return good(path, *arguments, **options)

    monkeypatch.setattr(prediction_files, "predict", bad)
    arguments = (*reversed(recordings), "--task", "fists", "--quiet")
    assert run(base, *arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "1 of 2 results could not be made; the other 1 are there" in error
    assert "second.vhdr: cannot be used (OverflowError: cannot convert" in error
    assert "Traceback" not in error
    assert rows_of(tmp_path / "out" / "sub-01_desc-fists_events.tsv")
    assert run(base, recordings[1], "--task", "fists", "--quiet", "--out", tmp_path / "a.tsv") == 2
    assert "Traceback" not in capsys.readouterr().err

    def interrupted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(prediction_files, "predict", interrupted)
    with pytest.raises(MemoryError):
        run(base, *arguments, "--out", tmp_path / "more")


def test_numbers_too_large_to_filter_have_no_answer(base):
    model, _ = load_tasks(str(base), ["fists"], device="cpu")
    signal = eeg(13.0)
    signal[2] *= 1e306 / np.abs(signal[2]).max()
    with pytest.raises(ValueError, match="finite"), np.errstate(all="ignore"):
        predict((signal, NAMES, 250.0), model, "fists")
