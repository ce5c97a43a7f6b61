"""A base, or one task merged into it, as a model of braindecode: keys, shapes, equal features."""

from __future__ import annotations

import json
import sys

import braindecode_here
import pytest
import torch
from hub_server import WRITE
from safetensors.torch import load_file
from tiny_models import CARDS, HEADS, inputs_of, model_with_tasks, tiny_model

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.cli import main
from modeling_mteeg.conversion import ConversionError, convert_state_dict, write_braindecode
from modeling_mteeg.conversion.braindecode_folder import MissingBraindecodeError, differences
from modeling_mteeg.conversion.braindecode_layout import to_braindecode
from modeling_mteeg.model.channels import CHANNEL_NAMES, channel_ids

# Keys and shapes of braindecode 1.8.1's Labram(n_times=3000, n_outputs=4, use_mean_pooling=True)
# with its default sizes, LaBraM-Base's; of twelve blocks the pattern of one.
OUTSIDE = {
    "cls_token": (1, 1, 200),
    "position_embedding": (1, 129, 200),
    "temporal_embedding": (1, 16, 200),
    "patch_embed.temporal_conv.conv1.weight": (8, 1, 1, 15),
    "patch_embed.temporal_conv.conv1.bias": (8,),
    "patch_embed.temporal_conv.norm1.weight": (8,),
    "patch_embed.temporal_conv.norm1.bias": (8,),
    "patch_embed.temporal_conv.conv2.weight": (8, 8, 1, 3),
    "patch_embed.temporal_conv.conv2.bias": (8,),
    "patch_embed.temporal_conv.norm2.weight": (8,),
    "patch_embed.temporal_conv.norm2.bias": (8,),
    "patch_embed.temporal_conv.conv3.weight": (8, 8, 1, 3),
    "patch_embed.temporal_conv.conv3.bias": (8,),
    "patch_embed.temporal_conv.norm3.weight": (8,),
    "patch_embed.temporal_conv.norm3.bias": (8,),
    "fc_norm.weight": (200,),
    "fc_norm.bias": (200,),
}
BLOCK = {
    "gamma_1": (200,),
    "gamma_2": (200,),
    "norm1.weight": (200,),
    "norm1.bias": (200,),
    "attn.qkv.weight": (600, 200),
    "attn.q_norm.weight": (20,),
    "attn.q_norm.bias": (20,),
    "attn.k_norm.weight": (20,),
    "attn.k_norm.bias": (20,),
    "attn.proj.weight": (200, 200),
    "attn.proj.bias": (200,),
    "norm2.weight": (200,),
    "norm2.bias": (200,),
    "mlp.0.weight": (800, 200),
    "mlp.0.bias": (800,),
    "mlp.2.weight": (200, 800),
    "mlp.2.bias": (200,),
}
HEAD = {"final_layer.weight": (4, 200), "final_layer.bias": (4,)}
BASE = OUTSIDE | {f"blocks.{n}.{key}": shape for n in range(12) for key, shape in BLOCK.items()}


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def test_keys_and_shapes_are_those_of_braindecode():
    model = MteegModel(MteegConfig.from_preset("base"))
    made = to_braindecode(model)
    assert shapes(made.state_dict) == BASE and len(BASE) == 221
    assert made.config["n_times"] == 3000 and made.config["n_outputs"] == 0
    assert made.report.size == "base" and made.config["use_mean_pooling"]
    assert all(value.dtype == torch.float32 for value in made.state_dict.values())
    model.add_adapter("four", labels=list("abcd"), channels=["C3", "CZ"], window_s=15)
    assert shapes(to_braindecode(model, "four").state_dict) == BASE | HEAD
    assert shapes(to_braindecode(model).state_dict) == BASE  # a task held is not in it


@pytest.mark.parametrize("options", [{}, {"qkv_bias": True}, {"layer_scale_init": None}])
def test_there_and_back_is_the_same_base_bit_for_bit(options, tmp_path):
    model = tiny_model(**options)
    write_braindecode(model, tmp_path / "bd")
    assert main(["convert", str(tmp_path / "bd/model.safetensors"), "--quiet",
                 "--out", str(tmp_path / "back")]) == 0  # fmt: skip
    back = MteegModel.from_pretrained(tmp_path / "back")
    one, two = model.state_dict(), back.state_dict()
    gammas = {key for key in two if "gamma" in key and key not in one}  # one: as if there were none
    assert one.keys() == two.keys() - gammas and bool(gammas) == ("layer_scale_init" in options)
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_a_merged_task_computes_what_the_adapter_did(tmp_path):
    model = model_with_tasks("seed-v")
    made = to_braindecode(model, "seed-v")
    merged, report = convert_state_dict(made.state_dict)
    head = made.state_dict["final_layer.weight"], made.state_dict["final_layer.bias"]
    with torch.no_grad():
        expected = model(**inputs_of("seed-v"), task="seed-v").logits
        found = torch.nn.functional.linear(merged(**inputs_of("seed-v")).pooler_output, *head)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert {r.key for r in report.with_status("dropped")} == {
        "final_layer.weight", "final_layer.bias",
    }  # fmt: skip


def test_every_weight_is_in_the_report_and_the_model_stays(tmp_path):
    model = model_with_tasks("tuab", "seed-v")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = write_braindecode(model, tmp_path / "bd", "tuab")
    assert {r.reason for r in report.keys} == set(load_file(tmp_path / "bd/model.safetensors"))
    assert set(model.tasks) == {"tuab", "seed-v"}
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_the_folder_says_what_it_is(tmp_path):
    model = model_with_tasks("tuab")
    write_braindecode(model, tmp_path / "bd", "tuab")
    folder = tmp_path / "bd"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "conversion.json", "model.safetensors", "pytorch_model.bin")
    ]
    config = json.loads((folder / "config.json").read_text())
    assert [c["ch_name"] for c in config["chs_info"]] == list(CARDS["tuab"].channels)
    assert (config["n_times"], config["n_outputs"], config["n_chans"]) == (400, 1, 4)
    facts = json.loads((folder / "conversion.json").read_text())
    assert facts["source"]["fingerprint"] == model.fingerprint()
    assert facts["task"]["labels"] == ["normal", "abnormal"]
    text = (folder / "README.md").read_text()
    assert "of 'abnormal', through a sigmoid" in text and "(windows, channels, 400)" in text
    bin_file = torch.load(folder / "pytorch_model.bin", weights_only=True)
    safe = load_file(folder / "model.safetensors")
    assert bin_file.keys() == safe.keys()
    assert all(torch.equal(bin_file[key], safe[key]) for key in safe)


def test_a_threshold_of_the_task_is_named(tmp_path):
    model = model_with_tasks("tuab")
    model.tasks["tuab"] = model.tasks["tuab"].replace(threshold=0.3)
    report = write_braindecode(model, tmp_path / "bd", "tuab")
    words = "the task decides for 'abnormal' from a probability of 0.3 on"
    assert words in "".join(report.notes)
    for name in ("README.md", "conversion.json"):
        assert words in (tmp_path / "bd" / name).read_text()


def test_derivations_take_the_mean_of_their_rows_under_their_own_name():
    model = model_with_tasks("chb-mit")
    card = CARDS["chb-mit"]
    with pytest.raises(ConversionError, match=r"C3-P3 is none of the 128.*--stand-ins"):
        to_braindecode(model, "chb-mit")
    made = to_braindecode(model, "chb-mit", stand_ins=True)
    assert list(made.channels) == list(card.channels)
    assert made.channels["FP1-F7"] == "FP1-F7" and made.channels["C3-P3"] not in card.channels
    assert any("C3-P3 as" in note for note in made.report.notes)
    table, plain = made.state_dict["position_embedding"][0], model.spatial_embedding
    rows = channel_ids(card.channels)
    for (name, given), pair in zip(made.channels.items(), rows, strict=True):
        row = table[1 + CHANNEL_NAMES.index(given)]
        assert torch.equal(row, plain[pair.tolist()].mean(0)), name
    changed = {CHANNEL_NAMES.index(name) + 1 for name in made.channels.values()}
    kept = [row for row in range(129) if row not in changed]
    assert torch.equal(table[kept], plain[kept])


def test_stand_ins_leave_electrodes_alone_that_the_task_uses():
    names = ["TPP10h", "TPP8h", "F3-C3", "C3-P3", "FTT10h"]
    model = tiny_model()
    model.add_adapter("mix", labels=["a", "b", "c"], channels=names, window_s=1)
    made = to_braindecode(model, "mix", stand_ins=True)
    assert [made.channels[name] for name in ("TPP10h", "TPP8h", "FTT10h")] == [
        *("TPP10h", "TPP8h", "FTT10h")
    ]
    assert len(set(made.channels.values())) == len(names)


@pytest.mark.parametrize("head", [h for h in HEADS if h != {"kind": "mean"}])
def test_heads_that_braindecode_does_not_have_are_refused(head, tmp_path):
    model = model_with_tasks("tuab", heads={"tuab": head})
    with pytest.raises(ConversionError, match=r"linear head on the mean.*mteeg export"):
        write_braindecode(model, tmp_path / "bd", "tuab")
    assert not (tmp_path / "bd").exists()


@pytest.mark.parametrize("seconds", [1, 15, 16, 17, 30])
def test_the_temporal_table_fits_the_window(seconds):
    model = tiny_model()
    made = to_braindecode(model, window_s=seconds)
    table = made.state_dict["temporal_embedding"][0]
    assert len(table) == seconds + 1 and made.config["n_times"] == 200 * seconds
    assert torch.equal(table[0], model.temporal_embedding[0])
    if seconds <= 16:
        assert torch.equal(table[:seconds], model.temporal_embedding[:seconds])
    last = table[seconds], model.temporal_embedding[min(seconds, 15)]
    assert torch.allclose(*last, atol=1e-6) and len(model.temporal_embedding) == 16
    assert bool(made.report.notes) == (seconds > 16)


@pytest.mark.parametrize("seconds", [0, 0.5, -1, 2.5, float("nan"), float("inf")])
def test_a_window_of_no_whole_number_of_seconds_is_refused(seconds):
    with pytest.raises(ConversionError, match="whole number of seconds"):
        to_braindecode(tiny_model(), window_s=seconds)


@pytest.mark.parametrize("inner", [29, 57, 58, 400])
def test_the_width_of_the_feed_forward_layer_survives_braindecodes_rounding(inner):
    model = tiny_model(intermediate_size=inner, num_hidden_layers=1)
    assert int(100 * to_braindecode(model).config["mlp_ratio"]) == inner


def test_another_network_than_labram_is_refused():
    with pytest.raises(ConversionError, match=r"qk_norm False \(expected True\)"):
        to_braindecode(tiny_model(qk_norm=False))


def test_the_command_takes_a_base_and_a_task_beside_it(tmp_path, capsys):
    model = model_with_tasks("tuab")
    model.save_pretrained(tmp_path / "base")
    model.save_adapter("tuab", tmp_path / "base/adapters/tuab")
    words = ["convert", str(tmp_path / "base"), "--to", "braindecode"]
    out = tmp_path / "bd"
    assert main([*words, "--task", "tuab", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "kind: braindecode" in told and f"saved {out}" in told
    assert str(tmp_path) not in (out / "conversion.json").read_text()
    assert torch.equal(load_file(out / "model.safetensors")["final_layer.bias"],
                       model.heads["tuab"].bias)  # fmt: skip
    (out / "README.md").write_text("mine")
    assert main([*words, "--out", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main([*words, "--out", str(out), "--overwrite", "--window", "4"]) == 0
    assert (out / "README.md").read_text() == "mine"
    assert json.loads((out / "config.json").read_text())["n_times"] == 800
    assert "final_layer.bias" not in load_file(out / "model.safetensors")


def test_the_command_takes_a_base_and_its_task_from_the_hub(hub, tmp_path, capsys):
    model = model_with_tasks("tuab")
    model.push_to_hub("me/base", token=WRITE)
    model.push_adapter("tuab", "me/base", path_in_repo="adapters/tuab", token=WRITE)
    out = ["--out", str(tmp_path / "bd"), "--quiet", "--to", "braindecode", "--task", "tuab"]
    assert main(["convert", "me/base", *out]) == 0
    source = json.loads((tmp_path / "bd/conversion.json").read_text())["source"]
    assert source["base"] == "me/base" and source["fingerprint"] == model.fingerprint()
    assert main(["convert", "me/none", *out, "--overwrite"]) == 2
    assert "does not exist, or it is private" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.pth", "--task", "tuab", "--check"], "--task, --check with --to braindecode only"),
        (["base", "--to", "braindecode", "--file", "a", "--drop", "x"],
         "--file, --drop without --to braindecode only"),
    ],
)  # fmt: skip
def test_options_of_the_other_direction_are_refused(words, told, tmp_path, capsys):
    assert main(["convert", *words, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err


def test_a_check_without_braindecode_says_so_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "braindecode.models", None)
    with pytest.raises(MissingBraindecodeError, match="leave --check out"):
        write_braindecode(tiny_model(), tmp_path / "bd", check=True)
    assert not (tmp_path / "bd").exists()


def test_a_check_that_finds_a_difference_writes_nothing(tmp_path, monkeypatch):
    folder = "modeling_mteeg.conversion.braindecode_folder"
    monkeypatch.setattr(f"{folder}.labram_class", lambda: None)
    monkeypatch.setattr(f"{folder}.differences", lambda *_: {"tokens": 2e-5, "features": 0.0})
    with pytest.raises(ConversionError, match=r"tokens 2\.0e-05"):
        write_braindecode(tiny_model(), tmp_path / "bd", check=True)
    assert list(tmp_path.iterdir()) == []


# With braindecode itself, where it is installed.


@pytest.fixture
def labram(monkeypatch) -> type:
    """braindecode's Labram."""
    return braindecode_here.labram_class(monkeypatch)


braindecode = pytest.mark.filterwarnings("ignore")


@braindecode
@pytest.mark.parametrize("task", [None, "tuab", "chb-mit", "sleep-edf"])
@pytest.mark.parametrize("options", [{}, {"qkv_bias": True}, {"layer_scale_init": None}])
def test_stock_from_pretrained_gives_equal_features(labram, tmp_path, task, options):
    model = (
        model_with_tasks(*([task] if task else []), **options) if task else tiny_model(**options)
    )
    report = write_braindecode(model, tmp_path / "bd", task, stand_ins=True, check=True)
    assert "compared" in report.notes[-1]
    network = labram.from_pretrained(tmp_path / "bd", strict=True)
    assert network.n_outputs == (model.tasks[task].num_outputs if task else 0)


@braindecode
@pytest.mark.parametrize("seconds", [1, 16, 17, 30])
def test_windows_of_other_lengths_give_equal_features(labram, tmp_path, seconds):
    write_braindecode(tiny_model(), tmp_path / "bd", window_s=seconds, check=True)


@braindecode
def test_a_wrong_weight_does_not_pass_the_check(labram, tmp_path):
    model = tiny_model()
    write_braindecode(model, tmp_path / "bd")
    with torch.no_grad():
        model.layers[1].mlp.fc2.bias[0] += 0.01
    found = differences(model, tmp_path / "bd", None, {})
    assert min(found.values()) > 1e-5


@braindecode
def test_the_readmes_own_lines_run(labram, tmp_path):
    for task, shape in ((None, (2, 3, 3000)), ("tuab", (2, 4, 400))):
        model, folder = model_with_tasks("tuab"), tmp_path / str(task)
        write_braindecode(model, folder, task)
        code = (folder / "README.md").read_text().split("```python\n")[1].partition("```")[0]
        scope = {"signal": torch.randn(shape)}
        exec(code.replace("OWNER/NAME", str(folder)), scope)
        assert len(scope["logits" if task else "features"]) == 2


@braindecode
def test_a_new_head_and_braindecodes_own_saving_work_on_it(labram, tmp_path):
    write_braindecode(tiny_model(), tmp_path / "bd")
    network = labram.from_pretrained(tmp_path / "bd", n_outputs=3)
    assert network(torch.randn(1, 2, 3000), ch_names=["C3", "C4"]).shape == (1, 3)
    network.save_pretrained(tmp_path / "again")
    assert main(["convert", str(tmp_path / "again/model.safetensors"), "--quiet",
                 "--out", str(tmp_path / "back")]) == 0  # fmt: skip


@braindecode
def test_the_written_keys_are_those_of_the_braindecode_that_is_here(labram):
    network = labram(n_times=3000, n_chans=128, n_outputs=4, use_mean_pooling=True)
    assert shapes(network.state_dict()) == BASE | HEAD
