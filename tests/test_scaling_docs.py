"""The launch that docs/scaling.md shows is one that Accelerate and the recipes understand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from accelerate.commands.launch import launch_command_parser
from test_stage_one_recipes import recipes  # noqa: F401 - a fixture

from modeling_mteeg.pretraining import MaskedTrainingConfig

ROOT = Path(__file__).resolve().parents[1]


def test_the_launch_on_two_machines_is_understood(recipes, monkeypatch):  # noqa: F811
    text = (ROOT / "docs/scaling.md").read_text("utf-8")
    (command,) = re.findall(r"```bash\n(accelerate launch --multi_gpu.*?)```", text, re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[:2] == ["accelerate", "launch"]
    launch = launch_command_parser().parse_args(words[2:])
    assert (launch.num_machines, launch.num_processes, launch.machine_rank) == (2, 16, 0)
    assert launch.multi_gpu and launch.mixed_precision == "bf16"
    monkeypatch.chdir(ROOT)
    import stage_one

    script, own = launch.training_script, launch.training_script_args
    args = stage_one.parse_arguments("", "pretrain", own)
    config = MaskedTrainingConfig.load(args.config, stage_one.read_overrides(args))
    assert script == "recipes/pretrain.py" and config.num_processes == launch.num_processes
    assert config.optimization.batch_size % (config.num_processes * 4) == 0
