"""Stage one, second half: pre-train the backbone on the codes of hidden patches (LaBraM).

    accelerate launch recipes/pretrain.py                                # demo, simulated data
    accelerate launch recipes/pretrain.py --config base \\
        --tokenizer TOKENIZER --data UNLABELLED
    torchrun --nproc_per_node 2 recipes/pretrain.py                      # several processes on CPU

The saved folder is a base: ``accelerate launch recipes/joint.py --base OUTPUT/model`` takes it.
A run that was killed goes on where it was when it is started again in the same way.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from modeling_mteeg._clone import as_typed
from modeling_mteeg.recipes import pretrain_tokenizer
from modeling_mteeg.recipes.stage_one import CONFIGS, ERRORS, KEPT, open_data, train
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.training.arguments import (
    shipped_config,
    stage_one_overrides,
    stage_one_parser,
)
from modeling_mteeg.training.console import describe_stage_one, say
from modeling_mteeg.training.launch import start_accelerator
from modeling_mteeg.training.output_folder import check_output, note_output, one_training
from modeling_mteeg.training.stage_one import (
    MaskedTrainer,
    MaskedTrainingConfig,
    TokenizerTrainingConfig,
    build_student,
    load_tokenizer,
    save_stage_one,
    simulated_folders,
    stage_one_record,
)


def build_parser() -> CommandParser:
    """The command line."""
    return stage_one_parser(__doc__, CONFIGS, "pretrain")


@_ending.command(KEPT)
def main(argv: Sequence[str] | None = None) -> int:
    """Train and save."""
    args = build_parser().parse_args(argv)
    _ending.hush(args.quiet, printed=args.show_config)
    try:
        config = MaskedTrainingConfig.load(args.config, stage_one_overrides(args))
        if args.show_config:
            print(config.to_yaml(), end="")
            return 0
        if args.resume != "never":
            check_output(config)
        code = make_demo_tokenizer(config)
        if code:
            return code
        accelerator = start_accelerator(config, may_shard=True)
        tokenizer = load_tokenizer(config.tokenizer, "tokenizer")
        _ending.until_end(one_training(config.output, accelerator))
        data = open_data(config, accelerator)
        model = build_student(config.model, tokenizer, config.seed)
        folder = Path(config.output)
        trainer = MaskedTrainer(config, data, model, tokenizer, accelerator, folder)
        told = trainer.check_tokenizer()
    except ERRORS as error:
        return _ending.told(error, 2)
    simulated = any(simulated_folders(config))
    describe_stage_one(config, data, accelerator, "masked pre-training", model, simulated)
    if told:
        say(accelerator, told)
    if accelerator.is_main_process:
        note_output(config)
    try:
        train(trainer, args.resume, show)
    except ERRORS as error:
        return _ending.told(error, 1, kept=KEPT)
    model = trainer.whole_model()
    if accelerator.is_main_process:
        record = stage_one_record(__file__, argv, trainer)
        saved = save_stage_one(model, folder / "model", record)
        say(accelerator, f"saved {saved}")
        say(accelerator, f"next: {as_typed('accelerate launch recipes/joint.py')} --base {saved}")
    accelerator.end_training()
    return 0


def make_demo_tokenizer(config: MaskedTrainingConfig) -> int:
    """Train the demo's tokenizer where the simulated recordings are asked for and it is not there.

    Returns the exit status of its recipe, 0 where there was nothing to do. A tokenizer that is
    not the demo's is never made.
    """
    shipped = shipped_config(CONFIGS, "tokenizer", "demo")
    demo = Path(TokenizerTrainingConfig.load(shipped).output) / "model"
    if not config.data.simulate or Path(config.tokenizer) != demo or demo.is_dir():
        return 0
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"no tokenizer in {demo} yet: training it first (pretrain_tokenizer)")
    words = []
    for key in ("num_processes", "mixed_precision"):
        value = getattr(config, key)
        if value is not None:
            words += ["--set", f"{key}={json.dumps(value)}"]
    return pretrain_tokenizer.main(words, last=False)


def show(entry: dict) -> str:
    """An epoch's entry of the history in a line."""
    values = entry.get("validation", entry["train"])
    guess = values.get("commonest_code")
    always = "" if guess is None else f" (always the commonest: {guess:.3f})"
    return (
        f"loss {values['loss']:.4f}, codes found {values['accuracy']:.3f} of the masked patches, "
        f"{values['accuracy_complement']:.3f} of the others{always}; labels use "
        f"{entry['model']['codes_in_labels']} codes"
    )


if __name__ == "__main__":
    sys.exit(main())
