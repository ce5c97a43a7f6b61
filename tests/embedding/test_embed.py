"""Features of recordings: whose they are, and the files that `mteeg embed` writes."""

from __future__ import annotations

import json
import shutil

import mne
import numpy as np
import pandas
import pytest
import torch
from hub_server import WRITE
from recording_files import write_recording
from tiny_bases import TASKS, save_base, save_recordings
from tiny_corpora import save_corpus
from tiny_recordings import NAMES, eeg, raw_of

from modeling_mteeg import MteegFeatureExtractor, cli
from modeling_mteeg.embedding import EEGEmbedder, embed, embedding_files
from modeling_mteeg.model.channels import UnknownChannelError
from modeling_mteeg.prediction.task_loading import load_tasks

RECORDING = (eeg(31.0), NAMES, 250.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base):
    return load_tasks(base, list(TASKS))[0]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return save_recordings(tmp_path_factory.mktemp("recordings"))


def run(base, *arguments):
    return cli.main(["embed", *map(str, arguments), "--base", str(base)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Whose features ----------------------------------------------------------------------------------


@torch.no_grad()
def test_of_the_base_alone_they_are_its_pooler_output_whatever_tasks_it_holds(model):
    inputs = MteegFeatureExtractor(window_s=4)(RECORDING)
    expected = model.encode({"x": inputs})["x"]
    extractor = MteegFeatureExtractor(window_s=4)
    model.set_adapter("fists")
    found = embed(RECORDING, model, extractor=extractor)["base"]
    assert found.task == "" and found.provenance["adapter"] is None and found.window_s == 4
    np.testing.assert_allclose(found.values, expected.pooler_output, atol=1e-4)
    np.testing.assert_array_equal(found.onset_s, inputs.onset_s)
    by_channel = embed(RECORDING, model, per="channel", extractor=extractor)["base"]
    tokens = expected.last_hidden_state[:, 1:].reshape(7, 6, 4, -1)
    np.testing.assert_allclose(by_channel.values, model.fc_norm(tokens.mean(2)), atol=1e-4)
    assert by_channel.channels == tuple(NAMES)


@torch.no_grad()
def test_of_tasks_they_are_by_their_adapters_on_their_windows(model):
    found = embed(RECORDING, model, ["fists", "two-d"], stride_s=1.5)
    for name, one in found.items():
        inputs = MteegFeatureExtractor()(RECORDING, task=model.tasks[name], stride_s=1.5)
        expected = model(**inputs, task=name).pooler_output
        np.testing.assert_allclose(one.values, expected, atol=1e-4)
        alone = model.encode({"x": inputs})["x"].pooler_output
        assert not np.allclose(one.values, alone, atol=1e-2), "the adapter must show"
    assert found["two-d"].derived == ("FP1-C3",)


def test_a_recording_has_the_mean_of_its_windows(model):
    windows = embed(RECORDING, model, "fists")["fists"]
    whole = embed(RECORDING, model, "fists", per="recording")["fists"]
    assert whole.values.shape == (100,) and len(whole.onset_s) == len(windows.values) == 15
    np.testing.assert_allclose(whole.values, windows.values.mean(0), atol=1e-6)


def test_windows_that_are_left_out_are_not_in_the_mean(model):
    raw = raw_of(RECORDING[0])
    raw.set_annotations(mne.Annotations([4.5], [3.0], ["BAD_movement"]))
    marked = embed(raw, model, "fists")["fists"]
    assert [bool(text) for text in marked.marked].count(True) == 2
    kept = embed(raw, model, "fists", bad="leave-out", per="recording")["fists"]
    good = marked.values[[not text for text in marked.marked]]
    assert len(kept.onset_s) == len(good) == 13
    np.testing.assert_allclose(kept.values, good.mean(0), atol=1e-6)


def test_channels_of_the_base_alone_are_named_and_their_order_does_not_matter(model):
    options = {"window_s": 2, "stride_s": 2}
    one = embed(RECORDING, model, channels=["O1", "FP1"], **options)["base"]
    other = embed(RECORDING, model, channels=["FP1", "O1"], **options)["base"]
    assert one.channels == ("O1", "FP1") and len(one.values) == 15
    np.testing.assert_allclose(one.values, other.values, atol=1e-4)
    odd = (RECORDING[0], [*NAMES[:-1], "EKG"], 250.0)
    with pytest.raises(UnknownChannelError, match=r"EKG.*channels \(--channels\) names those"):
        embed(odd, model)
    assert embed(odd, model, channels=["C3"])["base"].channels == ("C3",)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"per": "patch"}, "per: expected one of window, channel, recording"),
        ({"tasks": "fists", "window_s": 4}, "window_s: for the base alone"),
        ({"tasks": "fists", "channels": ["C3"]}, "channels: for the base alone"),
        ({"channels": "C3"}, "channels: expected a list of names"),
        ({"window_s": 1.5}, "whole number"),
        ({"tasks": "seed-v"}, "not among those that the model holds"),
        ({"stride_s": 0.0}, "stride_s"),
        ({"batch_size": 0}, "batch_size"),
        ({"channels": ["C3", "PZ"]}, "PZ"),
    ],
)
def test_wrong_use_is_said(model, options, named):
    with pytest.raises(ValueError, match=named.replace("(", r"\(")):
        embed(RECORDING, model, **options)


# Files -------------------------------------------------------------------------------------------


def test_a_table_of_windows_and_its_sidecar(base, model, recordings, tmp_path, capsys):
    out = tmp_path / "new" / "night.parquet"
    assert run(base, recordings[0], "--out", out) == 0
    printed = capsys.readouterr().out
    assert "7 windows of 4 s, 100 features of each" in printed and "The last 3 s" in printed
    assert sorted(contents(out.parent)) == ["night.parquet", "night.parquet.json"]
    table = pandas.read_parquet(out)
    assert list(table) == ["recording", "onset", "duration", "embedding"]
    expected = embed(recordings[0], model, extractor=MteegFeatureExtractor(window_s=4))["base"]
    np.testing.assert_array_equal(np.stack(table["embedding"]), expected.values)
    assert table["onset"].tolist() == expected.onset_s.tolist()
    sidecar = json.loads((tmp_path / "new" / "night.parquet.json").read_text("utf-8"))
    assert all("Description" in sidecar[column] for column in table)
    (made,) = sidecar["GeneratedBy"]
    assert made["Base"]["fingerprint"] == model.fingerprint() and made["Adapter"] is None
    assert made["Settings"]["per"] == "window" and sidecar["Channels"] == NAMES
    assert sidecar["Notes"] == list(expected.notes)


def test_numpy_and_parquet_hold_the_same_side_by_side(base, recordings, tmp_path):
    arguments = [*recordings, "--task", "fists", "--task", "two-d", "--per", "channel", "--quiet"]
    for form in ("parquet", "npz"):
        assert run(base, *arguments, "--out", tmp_path, "--format", form) == 0
    stems = [f"{name}_desc-{task}" for name in ("sub-01", "second") for task in ("fists", "twod")]
    files = [f"{stem}_embeddings.{form}" for stem in stems for form in ("parquet", "npz")]
    assert set(contents(tmp_path)) == {*files, *(f"{name}.json" for name in files)}
    for stem in stems:
        table = pandas.read_parquet(tmp_path / f"{stem}_embeddings.parquet")
        arrays = np.load(tmp_path / f"{stem}_embeddings.npz", allow_pickle=False)
        windows, channels, width = arrays["embeddings"].shape
        assert (channels, width) == (len(arrays["channels"]), 100)
        rows = np.stack(table["embedding"]).reshape(windows, channels, width)
        np.testing.assert_array_equal(rows, arrays["embeddings"])
        assert table["channel"].tolist() == arrays["channels"].tolist() * windows
        assert table["onset"].tolist() == np.repeat(arrays["onset"], channels).tolist()


def test_a_recording_is_one_row(base, recordings, tmp_path):
    arguments = ["--task", "fists", "--per", "recording", "--last-window", "--quiet"]
    assert run(base, *recordings, *arguments, "--out", tmp_path) == 0
    tables = [pandas.read_parquet(path) for path in sorted(tmp_path.glob("*.parquet"))]
    table = pandas.concat(tables)
    assert table["recording"].tolist() == ["second.vhdr", "sub-01_eeg.edf"]
    assert table["windows"].tolist() == [7, 16] and table["duration"].tolist() == [13, 31]
    assert np.stack(table["embedding"]).shape == (2, 100)


def test_cues_and_marks_stand_beside_the_windows(base, tmp_path):
    path = write_recording(tmp_path, "run.edf", eeg(31.0), NAMES, 250.0)
    cues = tmp_path / "run_events.tsv"
    cues.write_text("onset\tduration\ttrial_type\n3\t0\tleft\n9.5\t0\tright\n", "utf-8")
    out = tmp_path / "cues.npz"
    arguments = ["--task", "fists", "--at", "events", "--at-labels", "right", "--quiet"]
    assert run(base, path, *arguments, "--out", out) == 0
    found = np.load(out)
    assert found["cue"].tolist() == ["right"] and found["onset"].tolist() == [9.5]
    ends = tmp_path / "ends.npz"
    assert run(base, path, "--task", "fists", "--last-window", "--out", ends, "--quiet") == 0
    assert np.load(ends)["note"].tolist() == [""] * 15 + ["last window"]


def test_a_second_start_makes_what_is_missing_and_nothing_else(
    base, recordings, tmp_path, capsys, monkeypatch
):
    arguments = [*recordings, "--task", "fists", "--out", tmp_path]
    asked = []

    def watched(recording, *rest, **options):
        asked.append(recording)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return embed(recording, *rest, **options)

    monkeypatch.setattr(embedding_files, "embed", watched)
    assert run(base, *arguments) == 130
    before = contents(tmp_path)
    assert len(before) == 2 and "finished are there" in capsys.readouterr().err
    assert run(base, *arguments) == 0
    assert asked == [recordings[0], recordings[1], recordings[1]]
    assert "sub-01_desc-fists_embeddings.parquet: done already" in capsys.readouterr().out
    after = contents(tmp_path)
    assert len(after) == 4 and all(after[name] == content for name, content in before.items())


@pytest.mark.parametrize(
    "change",
    [
        ["--per", "channel"],
        ["--stride", "1"],
        ["--window", "3"],
        ["--channels", "C3,O1"],
        ["--notch", "60"],
    ],
)
def test_files_of_another_run_stay_unless_told_otherwise(
    base, recordings, tmp_path, capsys, change
):
    arguments = [recordings[1], "--out", tmp_path / "x.parquet", "--quiet"]
    assert run(base, *arguments) == 0
    before = contents(tmp_path)
    assert run(base, *arguments, *change) == 2
    assert "there already, made with another" in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert run(base, *arguments, *change, "--overwrite") == 0
    assert contents(tmp_path) != before


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--out", "x.npz", "--format", "parquet"], "expected the ending .parquet"),
        (["--out", "x.npz", "--task", "fists", "--task", "two-d"], "expected a folder"),
        (["--out", "x.npz", "--task", "fists", "--window", "2"], "--window: for the base alone"),
        (["--out", "x.npz", "--task", "fists", "--notch", "60"], "--notch: for the base alone"),
        (["--out", "x.npz", "--notch", "fifty"], "--notch: expected such as 60 or 50,60"),
        (["--out", "x.npz", "--task", "seed-v"], "seed-v"),
        (["--out", "x.npz", "--at-offset", "1"], "--at"),
        (["--out", "x.npz", "--channels", "C3,PZ"], "PZ"),
    ],
)
def test_wrong_arguments_leave_no_file(
    base, recordings, tmp_path, capsys, monkeypatch, arguments, named
):
    monkeypatch.chdir(tmp_path)
    assert run(base, recordings[1], *arguments) == 2
    assert named in capsys.readouterr().err
    assert contents(tmp_path) == {}


def test_an_ending_that_is_not_written_is_no_folder(base, recordings, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(base, recordings[1], "--out", tmp_path / "x.csv")
    assert "ends in .parquet or .npz" in capsys.readouterr().err and contents(tmp_path) == {}


def test_a_recording_that_does_not_fit_loses_no_other(base, recordings, tmp_path, capsys):
    short = write_recording(tmp_path, "short.edf", eeg(1.0), NAMES, 250.0)
    out = tmp_path / "out"
    assert run(base, short, recordings[1], "--task", "fists", "--out", out, "--quiet") == 2
    assert "1 of 2 results could not be made; the other 1" in capsys.readouterr().err
    assert sorted(contents(out)) == [
        "second_desc-fists_embeddings.parquet", "second_desc-fists_embeddings.parquet.json",
    ]  # fmt: skip


def test_mains_frequencies_are_chosen_for_the_base_alone(base, model, recordings, tmp_path):
    out = tmp_path / "x.npz"
    assert run(base, recordings[0], "--notch", "50,60", "--out", out, "--quiet") == 0
    extractor = MteegFeatureExtractor(window_s=4, notch_hz=[50, 60])
    expected = embed(recordings[0], model, extractor=extractor)["base"].values
    np.testing.assert_array_equal(np.load(out)["embeddings"], expected)
    plain = embed(recordings[0], model, extractor=MteegFeatureExtractor(window_s=4))["base"]
    assert not np.array_equal(plain.values, expected)


def test_a_base_without_an_extractor_has_windows_of_ten_seconds(base, recordings, tmp_path):
    shutil.copytree(base, tmp_path / "plain", ignore=shutil.ignore_patterns("preprocessor*"))
    assert run(tmp_path / "plain", recordings[0], "--out", tmp_path / "x.npz", "--quiet") == 0
    assert np.load(tmp_path / "x.npz")["onset"].tolist() == [0, 10, 20]


@pytest.mark.slow
def test_bases_and_tasks_on_the_hub(hub, base, recordings, tmp_path, capsys):
    local, _ = load_tasks(base, list(TASKS))
    MteegFeatureExtractor(window_s=4).push_to_hub("me/base", token=WRITE)
    local.push_to_hub("me/base", token=WRITE)
    for task in TASKS:
        local.push_adapter(task, "me/base", path_in_repo=f"adapters/{task}", token=WRITE)
    for out, more in (("base.npz", []), ("fists.npz", ["--task", "fists"])):
        here, there = tmp_path / out, tmp_path / f"hub-{out}"
        assert run(base, recordings[1], *more, "--out", here, "--quiet") == 0
        assert run("me/base", recordings[1], *more, "--out", there, "--quiet") == 0
        np.testing.assert_array_equal(*(np.load(one)["embeddings"] for one in (here, there)))
    sidecar = json.loads((tmp_path / "hub-fists.npz.json").read_text("utf-8"))
    assert sidecar["GeneratedBy"][0]["Adapter"]["name"] == "me/base/adapters/fists"
    assert len(sidecar["GeneratedBy"][0]["Base"]["revision"]) == 40
    windows = (eeg(8.0).reshape(6, 4, 500).transpose(1, 0, 2), NAMES, 250.0)
    embedder = EEGEmbedder("me/base", "fists", channels=NAMES, rate_hz=250.0)
    expected = local.encode({"x": MteegFeatureExtractor()(windows)}, "fists")["x"].pooler_output
    np.testing.assert_allclose(
        embedder.fit_transform(windows[0]), expected.detach().numpy(), atol=1e-5
    )
    save_corpus(tmp_path / "fists", TASKS["fists"], (4, 4, 6))
    arguments = ["evaluate", "--task", "me/base/adapters/fists", "--data", str(tmp_path)]
    assert cli.main([*arguments, "--split", "test"]) == 2  # a card without figures
    printed = capsys.readouterr().out
    assert "fists, test: 6 windows" in printed and "nothing to compare" in printed
