"""The launches that the documents show are ones that Accelerate and the recipes understand."""

from __future__ import annotations

import re
import shlex

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from places import ROOT
from test_stage_one_recipes import recipes  # noqa: F401 - a fixture

from modeling_mteeg.training.arguments import stage_one_overrides, stage_one_parser
from modeling_mteeg.training.launch import check_sharding, sharding_asked
from modeling_mteeg.training.stage_one import MaskedTrainingConfig

DOCUMENTS = ("docs/joint_training.md", "docs/scaling.md")


def launches() -> list[str]:
    """Every launch on several GPUs in the documents, and each again for the second machine."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text("utf-8")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            for command in block.replace("\\\n", " ").splitlines():
                if "recipes/pretrain.py" in command and re.search(
                    "--multi_gpu|--config_file", command
                ):
                    found.append(command)
    second = [c.replace("--machine_rank 0", "--machine_rank 1") for c in found]
    return list(dict.fromkeys(found + second))


def test_the_documents_show_plain_and_sharded_launches():
    assert len(launches()) == 7  # by flags, by file and FSDP on both machines, and FSDP on one


@pytest.mark.parametrize("command", launches())
def test_a_launch_is_understood(command, recipes, monkeypatch):  # noqa: F811
    monkeypatch.chdir(ROOT)
    words = shlex.split(command)
    assert words[:2] == ["accelerate", "launch"]
    launch = _validate_launch_command(launch_command_parser().parse_args(words[2:]))[0]
    launch.main_process_port = 0 if launch.machine_rank == 0 else launch.main_process_port
    environment = prepare_multi_gpu_env(launch)
    assert int(launch.nproc_per_node) == 8
    assert int(launch.num_processes) == 8 * launch.num_machines
    assert launch.machine_rank == int("--machine_rank 1" in command)
    assert (launch.main_process_ip == "10.0.0.1") == (launch.num_machines == 2)
    assert environment["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert sharding_asked(environment) == ("fsdp" in command) == (not launch.multi_gpu)
    if sharding_asked(environment):
        check_sharding(environment, "bf16")
    assert launch.training_script == "recipes/pretrain.py"
    parser = stage_one_parser("", ROOT / "recipes/configs", "pretrain")
    args = parser.parse_args(launch.training_script_args)
    config = MaskedTrainingConfig.load(args.config, stage_one_overrides(args))
    assert config.num_processes == launch.num_processes
    assert config.optimization.batch_size % (config.num_processes * 4) == 0
    assert (config.model.preset == "huge") == sharding_asked(environment)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes/configs").glob("accelerate_*.yaml")))
def test_accelerate_reads_the_file(path):
    config = load_config_from_file(str(path))
    assert config.num_processes == 8 * config.num_machines
    assert config.distributed_type.value == ("FSDP" if "fsdp" in path.name else "MULTI_GPU")


def test_the_documented_cost_is_that_of_the_documented_rates(recipes):  # noqa: F811
    from modeling_mteeg.recipes.benchmarks import cost
    from modeling_mteeg.recipes.benchmarks import pretraining_step as pretraining
    from modeling_mteeg.recipes.benchmarks import tokenizer_step as tokenizer

    text = (ROOT / "docs/scaling.md").read_text("utf-8")
    rows = re.findall(r"^\| [^|]+, bfloat16 \| ([\d.]+) \| ([\d,]+) h \|$", text, re.MULTILINE)
    for part, (rate, hours) in zip(("pretraining", "tokenizer"), rows, strict=True):
        exact = cost.windows(part, 2000) / float(rate) / 3600
        assert float(hours.replace(",", "")) == pytest.approx(exact, rel=0.01)
        assert f"| a step | {exact:,.0f} |" in cost.cost(part, 2000, {"a step": float(rate)})
    assert cost.windows("pretraining", 2000) == 90e6 and cost.windows("tokenizer", 2000) == 720e6
    estimates = re.findall(r"^\| [^|]+ \| ([\d.,]+) \| ([\d.]+) h \|$", text, re.MULTILINE)
    estimates = [row for row in estimates if row not in rows]
    kinds = [(tokenizer, "base"), *((pretraining, size) for size in ("base", "large", "huge"))]
    for (kind, size), (gflop, hours) in zip(kinds, estimates, strict=True):
        work = kind.operations(size, 16) / 16
        assert float(gflop.replace(",", "")) == pytest.approx(work / 1e9, rel=0.01)
        total = work * cost.windows(kind.__name__.rpartition(".")[2].removesuffix("_step"), 2000)
        assert float(hours) == pytest.approx(total / (16 * 300e12 / 10) / 3600, rel=0.01, abs=0.05)
