"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import plain_labram
import pytest
import torch
from transformers import AutoModel

from modeling_mteeg import cli
from modeling_mteeg.conversion import convert_state_dict


@pytest.fixture
def checkpoint(tmp_path):
    weights = {k: v.float() for k, v in plain_labram.random_weights().items()}
    torch.save({"model": weights, "epoch": 7}, tmp_path / "labram.pth")
    return tmp_path / "labram.pth"


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version(capsys, flag):
    with pytest.raises(SystemExit) as ended:
        cli.main([flag])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "mteeg" in out
    if flag == "--help":
        assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(capsys, name):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["no-such-command"], ["convert"], ["convert", "a.pth"]])
def test_wrong_arguments_end_with_code_2(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert "usage: mteeg" in capsys.readouterr().err


def test_convert_prints_every_key_and_makes_a_model(capsys, tmp_path, checkpoint):
    assert cli.main(["convert", str(checkpoint), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    status = {row[1]: row[0] for row in rows if row[0] in ("used", "dropped", "missing")}
    weights = plain_labram.random_weights()
    expected = {key: "dropped" if key.startswith("head") else "used" for key in weights}
    assert status == expected | {"epoch": "dropped"}
    loaded = AutoModel.from_pretrained(tmp_path / "out")
    direct, _report = convert_state_dict(weights)
    assert loaded.fingerprint() == direct.fingerprint()


def test_quiet_prints_nothing_but_errors(capsys, tmp_path, checkpoint):
    words = ["convert", str(checkpoint), "--out", str(tmp_path / "out"), "--quiet"]
    assert cli.main(words) == 0
    assert capsys.readouterr() == ("", "") and (tmp_path / "out" / "config.json").is_file()
    assert cli.main(words) == 2  # the folder is not empty
    out, err = capsys.readouterr()
    assert not out and err.startswith("mteeg convert: error: ") and "not empty" in err


def test_convert_published_pretraining_checkpoint(capsys, tmp_path, golden_dir):
    path = golden_dir / "mem_tiny_checkpoint.pth"
    assert cli.main(["convert", str(path), "--out", str(tmp_path / "out")]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    by_status = {s: [r[1] for r in rows if r[0] == s] for s in ("used", "dropped", "missing")}
    assert by_status["missing"] == ["fc_norm.weight", "fc_norm.bias"]
    assert {"student.mask_token", "student.norm.weight", "lm_head.weight", "optimizer", "args"} <= {
        *by_status["dropped"]
    }
    model = AutoModel.from_pretrained(tmp_path / "out")
    given = torch.load(path, weights_only=False)["model"]  # the tests' own material
    assert set(by_status["used"]) | set(by_status["dropped"]) >= set(given)
    assert model.config.num_hidden_layers == 2 and model.config.num_attention_heads == 5
    assert torch.equal(
        model.layers[1].attention.qkv.weight, given["student.blocks.1.attn.qkv.weight"]
    )
    assert torch.equal(model.spatial_embedding, given["student.pos_embed"][0])


def test_errors_go_to_stderr_without_traceback(capsys, tmp_path, checkpoint):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "not.pth").write_text("no checkpoint")
    cases = {
        "nothing at": [str(tmp_path / "absent.pth"), "--out", str(tmp_path / "a")],
        "not empty": [str(checkpoint), "--out", str(tmp_path / "full")],
        "first bytes": [str(tmp_path / "not.pth"), "--out", str(tmp_path / "b")],
        "cls_token": [str(checkpoint), "--out", str(tmp_path / "c"), "--prefix", "x."],
    }
    for words, arguments in cases.items():
        assert cli.main(["convert", *arguments]) == 2
        err = capsys.readouterr().err
        assert err.startswith("mteeg convert: error: ") and words in err and "Traceback" not in err
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="nothing at"):
        cli.main(["--debug", "convert", *cases["nothing at"]])


@pytest.mark.slow
def test_code_in_a_checkpoint_does_not_run_from_the_command_line(tmp_path):
    class Bad:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"model": {"cls_token": torch.ones(1)}, "args": Bad()}, tmp_path / "bad.pth")
    command = [sys.executable, "-m", "modeling_mteeg.cli", "convert", str(tmp_path / "bad.pth")]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "refused" in done.stderr and "system" in done.stderr and "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pth"]
