"""Labelled recordings of a net without names of the 10-10 system."""

from __future__ import annotations

import numpy as np
import pytest
from annotated_recordings import CUES, write_annotated
from caps import field_uv, places_of
from tiny_recordings import card

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.annotated import main
from modeling_mteeg.dataset_scripts.annotated_options import AnnotatedOptions
from modeling_mteeg.model.preprocessing import preprocess
from modeling_mteeg.recordings.interpolation import open_for_tasks

pytest.importorskip("mne")
NET = "GSN-HydroCel-32"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    places = places_of(NET)
    for person in range(1, 4):
        signal = field_uv(np.array(list(places.values())), seconds=15.0, rate_hz=200.0)
        write_annotated(folder / f"p{person}.edf", np.roll(signal, 7 * person), CUES, list(places))
    return folder


COMMAND = ("--task", "presses", "--labels", "rest,press", "--subject-from", "name")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:A recording is shorter")
def test_windows_are_those_of_the_interpolated_recording(raw, tmp_path, capsys):
    place = ["--raw", str(raw), "--out", str(tmp_path)]
    assert main([*place, *COMMAND]) == 1
    assert f"--interpolate {NET}" in capsys.readouterr().err
    wanted = ("C3", "CZ", "PZ")
    asked = [
        "--rename",
        "E19=PZ",
        "--channels",
        ",".join(wanted),
        "--interpolate",
        NET,
        "--dtype",
        "float32",
    ]
    assert main([*place, *COMMAND, *asked]) == 0
    folder = tmp_path / "presses"
    corpus = load_corpus(folder)
    assert corpus.card.channels == wanted
    source = open_for_tasks(raw / "p1.edf", [card(channels=wanted)], interpolate=NET,
                            rename={"E19": "PZ"})  # fmt: skip
    rows = [source.names.index(name) for name in wanted]
    signal = preprocess(source.read(rows)[0] * 1e6, 200)
    reader = next(one for one in corpus.splits.values() if "p1" in map(str, one.recordings))
    first = list(map(str, reader.recordings)).index("p1")
    np.testing.assert_allclose(reader.read([first])[0], signal[:, 200:600], atol=1e-3)
    assert "interpolated by spherical splines from 33 others" in (folder / "report.tsv").read_text()
    assert f"positions: {NET}" in (folder / "README.md").read_text()


def test_a_cap_that_does_not_cover_the_task_is_skipped_with_the_reason(raw, tmp_path, capsys):
    asked = ["--channels", "C3,CB1", "--interpolate", NET, "--raw", str(raw)]
    assert main([*asked, "--out", str(tmp_path), *COMMAND]) == 1
    assert "not interpolated: no position of it is known" in capsys.readouterr().err
    with pytest.raises(ValueError, match="name the channels"):
        AnnotatedOptions(interpolate=NET)
