"""The recipes of stage one from the command line: the chain to joint tuning, and faults."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from places import ROOT
from recipe_modules import load_recipe
from tiny_corpora import save_corpora
from tiny_unlabelled import RECORDINGS, save_unlabelled
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

import modeling_mteeg
from modeling_mteeg.dataset_scripts import demo_data
from modeling_mteeg.training.arguments import shipped_config
from modeling_mteeg.training.stage_one import MaskedTrainingConfig, TokenizerTrainingConfig

RECIPES = ROOT / "recipes"
CONFIGS = RECIPES / "configs"
STAGE_ONE = sorted([*CONFIGS.glob("tokenizer_*.yaml"), *CONFIGS.glob("pretrain_*.yaml")])
SMALL = ["--set", "model.preset=tiny", "--set", "optimization.epochs=2",
         "--set", "optimization.warmup_epochs=1", "--set", "optimization.batch_size=16",
         "--set", "data.max_patches=12", "--set", "data.max_seconds=4",
         "--set", "data.validation=0.3"]  # fmt: skip


@pytest.fixture(scope="module")
def recipes():
    return {name: load_recipe(name) for name in ("pretrain_tokenizer", "pretrain", "joint")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return save_unlabelled(tmp_path_factory.mktemp("unlabelled") / "data", RECORDINGS)


def test_tokenizer_then_pre_training_then_joint_tuning(recipes, data, tmp_path, capsys):
    tokenizer, base = tmp_path / "tokenizer", tmp_path / "base"
    words = ["--data", str(data), *SMALL, "--set", "model.num_codes=16"]
    assert recipes["pretrain_tokenizer"].main([*words, "--output", str(tokenizer)]) == 0
    assert f"--tokenizer {tokenizer / 'model'}" in capsys.readouterr().out
    words = ["--data", str(data), *SMALL, "--tokenizer", str(tokenizer / "model")]
    assert recipes["pretrain"].main([*words, "--output", str(base)]) == 0
    shown = capsys.readouterr().out
    assert f"joint.py --base {base / 'model'}" in shown and "recordings are simulated" in shown

    model = AutoModelForPreTraining.from_pretrained(base / "model")
    assert model.config.num_codes == 16
    backbone = AutoModel.from_pretrained(base / "model")
    assert isinstance(backbone, modeling_mteeg.MteegModel)
    extractor = AutoFeatureExtractor.from_pretrained(base / "model")
    assert isinstance(extractor, modeling_mteeg.MteegFeatureExtractor)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, model.mteeg.state_dict()[name]), name
    loaded = AutoModel.from_pretrained(tokenizer / "model")
    assert isinstance(loaded, modeling_mteeg.MteegTokenizerModel) and loaded.codebook.started
    record = json.loads((base / "model/training.json").read_text())
    assert record["simulated"] and len(record["history"]) == 2
    assert record["command"].startswith(f"python {RECIPES / 'pretrain.py'} --data")
    check_card(base / "model", record)
    check_tokenizer_card(tokenizer / "model", RECORDINGS)

    save_corpora(tmp_path / "corpora", {"seed-v": (18, 9, 9)})
    joint = ["--data", str(tmp_path / "corpora"), "--tasks", "seed-v"]
    joint += ["--base", str(base / "model"), "--output", str(tmp_path / "joint")]
    for setting in ("epochs=1", "warmup_epochs=0", "batch_size=6"):
        joint += ["--set", f"optimization.{setting}"]
    assert recipes["joint"].main(joint) == 0
    tuned = AutoModel.from_pretrained(tmp_path / "joint/model")
    before, after = backbone.state_dict(), tuned.state_dict()
    frozen = [name for name in before if "temporal_encoder" not in name]
    assert frozen and all(torch.equal(before[name], after[name]) for name in frozen)
    tuned_card = (tmp_path / "joint/model/README.md").read_text("utf-8")
    task_card = (tmp_path / "joint/model/adapters/seed-v/README.md").read_text("utf-8")
    assert "**Simulated start**" in tuned_card and "**Simulated start**" in task_card
    origin = json.loads((tmp_path / "joint/model/training.json").read_text())
    assert origin["start_simulated"] and not origin["only_simulated"]  # the task's are not
    assert "license: unknown" in tuned_card and "license: unknown" in task_card


def test_a_collapse_stops_and_loses_nothing(recipes, data, tmp_path, capsys, monkeypatch):
    from modeling_mteeg.training.stage_one import held_out_codes

    monkeypatch.setattr(held_out_codes, "LEAST_PERPLEXITY", 100)  # 16 codes cannot reach it
    out = tmp_path / "tokenizer"
    words = ["--data", str(data), *SMALL, "--set", "model.num_codes=16", "--output", str(out)]
    words += ["--set", "optimization.max_steps_on_plateau=0"]
    assert recipes["pretrain_tokenizer"].main(words) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: COLLAPSED: one code takes") and shown.err.count("\n") == 1
    assert "max_steps_on_plateau" in shown.err and "--config small" in shown.err
    lines = [line for line in shown.out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 and all("held out: " in line for line in lines)
    assert "electrode " in lines[1] and (out / "checkpoints").is_dir()
    assert len(json.loads((out / "history.json").read_text())) == 2
    assert not (out / "model").exists()

    more = ["--set", "optimization.max_steps_on_plateau=4"]  # 2 epochs of 2 steps
    assert recipes["pretrain_tokenizer"].main([*words, *more]) == 1
    shown = capsys.readouterr()
    assert "going on at epoch 3" in shown.out and "epoch 3: " in shown.out
    assert recipes["pretrain_tokenizer"].main([*words, "--set", "on_collapse=continue"]) == 0
    assert "COLLAPSED: one code" in capsys.readouterr().out and (out / "model").is_dir()

    base = ["--data", str(data), *SMALL, "--tokenizer", str(out / "model")]
    base += ["--output", str(tmp_path / "base")]
    assert recipes["pretrain"].main(base) == 2
    assert f"error: tokenizer {out / 'model'}: COLLAPSED" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()
    assert recipes["pretrain"].main([*base, "--set", "on_collapse=continue"]) == 0
    assert (tmp_path / "base/model/model.safetensors").is_file()


def check_tokenizer_card(folder: Path, recordings) -> None:
    """What it is, what it was trained on, how it is loaded."""
    text = (folder / "README.md").read_text("utf-8")
    record = json.loads((folder / "training.json").read_text())
    header, _, body = text.removeprefix("---").partition("\n---\n")
    assert "- neural-tokenizer" in header and "- simulated" in header
    assert "license: apache-2.0" in header and record["only_simulated"]
    assert "**Simulated data**" in body and "into one of 16 codes" in " ".join(body.split())
    last = record["history"][-1]
    assert f"| phases | {last['validation']['phase_loss']:.4f} |" in body
    assert f"| share of the commonest code | {last['validation']['commonest_code']:.3f} |" in body
    assert f"| dead codes | {last['model']['dead_codes']} |" in body
    assert "get_codebook_indices" in body and record["command"] in body
    assert "mask" not in body.partition("## Results")[2] and "None" not in body


def check_card(folder: Path, record: dict) -> None:
    """The card says what the record says, and that the recordings were simulated."""
    text = (folder / "README.md").read_text("utf-8")
    header, _, body = text.removeprefix("---").partition("\n---\n")
    assert "- simulated" in header and "- lora" not in header
    assert "license: apache-2.0" in header and record["only_simulated"]
    assert "Simulated start" not in body
    assert "**Simulated data**" in body and "None" not in body.partition("## Results")[2]
    last = record["history"][-1]["validation"]
    assert f"| loss | {last['loss']:.4f} |" in body
    assert f"| codes found in masked patches | {last['accuracy']:.3f} |" in body
    assert f"| tokenizer | `{record['config']['tokenizer']}` |" in body
    for counts in record["windows"].values():
        assert all(f"{shape}: {number}" in body for shape, number in counts.items())


@pytest.mark.slow
def test_pre_training_alone_makes_the_demo_tokenizer_first_and_keeps_it(
    recipes, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        demo_data,
        "simulated_recordings",
        lambda folder: save_unlabelled(folder / "data", RECORDINGS),
    )
    load = TokenizerTrainingConfig.load

    def short(path, overrides=None):  # the demo's own settings, with less of everything
        less = {"optimization.epochs": 1, "optimization.batch_size": 16, "data.max_patches": 12,
                "data.max_seconds": 4, "data.validation": 0.3}  # fmt: skip
        return load(path, {**(overrides or {}), **less})

    monkeypatch.setattr(TokenizerTrainingConfig, "load", short)
    words = [*SMALL[4:], "--set", "optimization.epochs=1"]
    words += ["--set", "optimization.warmup_epochs=0"]
    assert recipes["pretrain"].main(words) == 0
    shown = capsys.readouterr().out
    assert "no tokenizer in outputs/tokenizer_demo/model yet: training it first" in shown
    assert (tmp_path / "outputs/pretrain_demo/model/model.safetensors").is_file()
    weights = tmp_path / "outputs/tokenizer_demo/model/model.safetensors"
    before = weights.stat().st_mtime_ns
    assert recipes["pretrain"].main([*words, "--resume", "never"]) == 0
    assert "training it first" not in capsys.readouterr().out
    assert weights.stat().st_mtime_ns == before
    other = [*words, "--tokenizer", "elsewhere", "--output", "other"]
    assert recipes["pretrain"].main(other) == 2  # only the demo's own is made
    assert "found 'elsewhere'" in capsys.readouterr().err


def test_sizes_name_the_shipped_configurations(recipes):
    find = functools.partial(shipped_config, CONFIGS)
    for size in ("demo", "base", "large", "huge"):
        assert find("pretrain", size) == CONFIGS / f"pretrain_{size}.yaml"
        assert find("tokenizer", size).is_file()
    assert find("tokenizer", "huge") == CONFIGS / "tokenizer_base.yaml"
    assert find("tokenizer", "own/base") == Path("own/base")


def test_going_on_from_earlier_weights(recipes, data, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    words = ["--data", str(data), *SMALL, "--set", "model.num_codes=16"]
    assert recipes["pretrain_tokenizer"].main([*words, "--output", str(first)]) == 0
    again = ["--data", str(data), *SMALL[2:], "--init", str(first / "model")]
    again += ["--set", "model.revive_dead=false", "--set", "optimization.lr=1e-9",
              "--set", "optimization.min_lr=1e-9"]  # fmt: skip
    assert recipes["pretrain_tokenizer"].main([*again, "--output", str(second)]) == 0
    one, two = (AutoModel.from_pretrained(folder / "model") for folder in (first, second))
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=name)


def test_a_finished_run_is_not_trained_again_nor_written_over(recipes, data, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--data", str(data), *SMALL, "--output", str(out)]
    assert recipes["pretrain_tokenizer"].main(words) == 0
    weights = (out / "model/model.safetensors").read_bytes()
    capsys.readouterr()
    assert recipes["pretrain_tokenizer"].main(words) == 0
    assert "all epochs are done already" in capsys.readouterr().out
    assert (out / "model/model.safetensors").read_bytes() == weights
    assert recipes["pretrain_tokenizer"].main([*words, "--set", "seed=5"]) == 2
    assert "seed: there 0, now 5" in capsys.readouterr().err


def test_faults_are_said_before_any_work(recipes, data, tmp_path, capsys):
    out = ["--output", str(tmp_path / "out")]
    words = ["--data", str(data), *SMALL, *out]
    assert recipes["pretrain"].main([*words, "--tokenizer", str(tmp_path / "none")]) == 2
    assert "expected a folder or Hub id of a neural tokenizer" in capsys.readouterr().err
    assert recipes["pretrain_tokenizer"].main(["--data", str(tmp_path), *SMALL, *out]) == 2
    assert "dataset_scripts.unlabelled" in capsys.readouterr().err
    assert recipes["pretrain_tokenizer"].main([*words, "--set", "optimisation.lr=1"]) == 2
    assert "did you mean 'optimization'" in capsys.readouterr().err
    many = ["--set", "optimization.batch_size=2", "--set", "optimization.gradient_accumulation=4"]
    assert recipes["pretrain_tokenizer"].main([*words, *many]) == 2
    assert "windows for 1 processes x 4 slices" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_tokenizer_must_have_the_codes_that_the_model_predicts(recipes, data, tmp_path, capsys):
    model = modeling_mteeg.MteegForPreTraining(
        modeling_mteeg.MteegConfig.from_preset("tiny", num_codes=32)
    )
    model.save_pretrained(tmp_path / "student")
    config = modeling_mteeg.MteegTokenizerConfig.from_preset("tiny", num_codes=16)
    modeling_mteeg.MteegTokenizerModel(config).save_pretrained(tmp_path / "tokenizer")
    words = ["--data", str(data), *SMALL[2:], "--init", str(tmp_path / "student")]
    words += ["--tokenizer", str(tmp_path / "tokenizer"), "--output", str(tmp_path / "out")]
    assert recipes["pretrain"].main(words) == 2
    assert "predicts 32 codes, the tokenizer has 16" in capsys.readouterr().err


@pytest.mark.parametrize("path", STAGE_ONE, ids=lambda path: path.stem)
def test_shipped_configurations_are_right_and_name_their_command(path):
    kind = TokenizerTrainingConfig if path.stem.startswith("tokenizer") else MaskedTrainingConfig
    changes = {}
    if not path.stem.endswith("demo"):
        changes = {"data.folders": ["UNLABELLED"]}
        if kind is MaskedTrainingConfig:
            changes["tokenizer"] = "TOKENIZER"
    config = kind.load(path, changes)
    recipe = {"tokenizer": "pretrain_tokenizer.py", "pretrain": "pretrain.py"}
    header = path.read_text("utf-8").partition("model:")[0]
    assert f"accelerate launch recipes/{recipe[path.stem.partition('_')[0]]}" in header
    if not path.stem.endswith("demo"):
        assert f"recipes/configs/{path.name}" in header
    assert config.output == f"outputs/{path.stem}"


def test_published_settings():
    base = MaskedTrainingConfig.load(
        CONFIGS / "pretrain_base.yaml", {"data.folders": ["x"], "tokenizer": "t"}
    )
    opt = base.optimization
    assert (opt.batch_size, opt.epochs, opt.warmup_epochs, opt.lr, opt.min_lr) == (
        512, 50, 5, 5e-4, 1e-5,
    )  # fmt: skip
    assert (opt.betas, opt.weight_decay, opt.clip_norm) == ((0.9, 0.98), 0.05, 3.0)
    assert (base.data.stride_s, base.data.max_patches, base.model.mask_ratio) == (4, 256, 0.5)
    tokenizer = TokenizerTrainingConfig.load(
        CONFIGS / "tokenizer_base.yaml", {"data.folders": ["x"]}
    )
    opt = tokenizer.optimization
    assert (opt.batch_size, opt.epochs, opt.warmup_epochs, opt.lr, opt.min_lr) == (
        1024, 100, 10, 5e-5, 1e-5,
    )  # fmt: skip
    assert (opt.betas, opt.weight_decay, opt.clip_norm) == ((0.9, 0.99), 1e-4, None)
    assert tokenizer.data.stride_s == 1
    assert {path.stem for path in STAGE_ONE} >= {
        f"pretrain_{size}" for size in ("demo", "base", "large", "huge")
    } | {"tokenizer_demo", "tokenizer_base"}
