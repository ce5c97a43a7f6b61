"""Original PhysioNet recordings of one subject, from the files to a trained and tested task."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import torch
from transformers import AutoFeatureExtractor, AutoModel

from dataset_scripts.physionet_mi import main as prepare_main
from modeling_mteeg.preprocessing import read_recording

JOINT = Path(__file__).resolve().parents[1] / "recipes" / "joint.py"


def joint_recipe():
    spec = importlib.util.spec_from_file_location("joint_recipe", JOINT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_subject_is_prepared_trained_evaluated_and_predicted(recordings_dir, tmp_path, capsys):
    raw, data, out = recordings_dir / "eegmmidb", tmp_path / "data", tmp_path / "out"
    arguments = ["--raw", str(raw), "--out", str(data), "--split", "within-subject"]
    assert prepare_main([*arguments, "--subjects", "S001"]) == 0
    report = (data / "physionet-mi" / "report.tsv").read_text("utf-8")
    left_out = next(line for line in report.splitlines() if "S088R10" in line)
    assert "left-out" in left_out and "protocol" in left_out
    options = ["model.preset=tiny", "optimization.epochs=2", "optimization.batch_size=16"]
    command = ["--data", str(data), "--output", str(out), "--tasks", "physionet-mi"]
    for option in options:
        command += ["--set", option]
    assert joint_recipe().main(command) == 0
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["simulated"] == {"physionet-mi": False}
    scores = results["test"]["physionet-mi"]
    assert scores["num_samples"]["mean"] == 24
    assert 0 <= scores["balanced_accuracy"]["mean"] <= 1
    assert "simulated" not in capsys.readouterr().out.rpartition("Test results")[2]
    model = AutoModel.from_pretrained(out / "model").eval()
    card = model.load_adapter("physionet-mi")
    extractor = AutoFeatureExtractor.from_pretrained(out / "model")
    with torch.no_grad():
        logits = model(**extractor(read_recording(raw / "S002R04.edf"), task=card)).logits
    assert logits.shape == (30, 5) and bool(logits.isfinite().all())
