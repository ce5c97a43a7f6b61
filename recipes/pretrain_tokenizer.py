"""Stage one, first half: train the neural tokenizer, which writes EEG as codes (LaBraM).

    accelerate launch recipes/pretrain_tokenizer.py                      # demo, simulated data
    accelerate launch recipes/pretrain_tokenizer.py \\
        --config base --data UNLABELLED
    torchrun --nproc_per_node 2 recipes/pretrain_tokenizer.py            # several processes on CPU

A run that was killed goes on where it was when it is started again in the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
from modeling_mteeg._clone import as_typed
from modeling_mteeg.recipes.stage_one import CONFIGS, ERRORS, KEPT, open_data, train
from modeling_mteeg.settings.command_line import CommandParser
from modeling_mteeg.training.arguments import stage_one_overrides, stage_one_parser
from modeling_mteeg.training.console import describe_stage_one, say
from modeling_mteeg.training.launch import start_accelerator
from modeling_mteeg.training.output_folder import check_output, note_output, one_training
from modeling_mteeg.training.stage_one import (
    TokenizerTrainer,
    TokenizerTrainingConfig,
    bits_in_words,
    build_tokenizer,
    save_stage_one,
    simulated_folders,
    stage_one_record,
)


def build_parser() -> CommandParser:
    """The command line."""
    return stage_one_parser(__doc__, CONFIGS, "tokenizer")


@_ending.command(KEPT)
def main(argv: Sequence[str] | None = None, last: bool = True) -> int:
    """Train and save; ``last``: the processes end with it, no other training follows in them."""
    args = build_parser().parse_args(argv)
    _ending.hush(args.quiet, printed=args.show_config)
    try:
        config = TokenizerTrainingConfig.load(args.config, stage_one_overrides(args))
        if args.show_config:
            print(config.to_yaml(), end="")
            return 0
        if args.resume != "never":
            check_output(config)
        accelerator = start_accelerator(config)
        _ending.until_end(one_training(config.output, accelerator))
        data = open_data(config, accelerator)
        model = build_tokenizer(config.model, config.seed)
        folder = Path(config.output)
        trainer = TokenizerTrainer(config, data, model, accelerator, folder)
    except ERRORS as error:
        return _ending.told(error, 2)
    simulated = any(simulated_folders(config))
    describe_stage_one(config, data, accelerator, "neural tokenizer", model, simulated)
    if not config.data.validation:
        text = "nothing is held out (data.validation: 0): a collapse of the codes goes unseen here"
        say(accelerator, text)
    if accelerator.is_main_process:
        note_output(config)
    try:
        train(trainer, args.resume, show)
    except ERRORS as error:
        return _ending.told(error, 1, kept=KEPT)
    if accelerator.is_main_process:
        record = stage_one_record(__file__, argv, trainer)
        saved = save_stage_one(trainer.model, folder / "model", record)
        say(accelerator, f"saved {saved}")
        next_one = as_typed("accelerate launch recipes/pretrain.py")
        say(accelerator, f"next: {next_one} --tokenizer {saved}")
    accelerator.wait_for_everyone()  # the folder is there for all
    if last:
        accelerator.end_training()
    return 0


def show(entry: dict) -> str:
    """An epoch's entry of the history in a line."""
    values = entry.get("validation", entry["train"])
    losses = (
        f"loss {values['loss']:.4f} (amplitude {values['amplitude_loss']:.4f}, phase "
        f"{values['phase_loss']:.4f}, commitment {values['commitment_loss']:.4f})"
    )
    if "validation" in entry and "codes_used" not in values:
        return f"{losses}; the codebook has not started"
    if "codes_used" not in values:  # nothing is held out: the training steps' moving count
        return (
            f"{losses}, dead codes {entry['model']['dead_codes']}, perplexity "
            f"{entry['model']['perplexity']:.1f}"
        )
    return (
        f"{losses}; held out: {values['codes_used']} codes used, perplexity "
        f"{values['code_perplexity']:.1f}, the commonest {values['commonest_code']:.1%}; bits of "
        f"band power and electrode: {bits_in_words(values)}"
    )


if __name__ == "__main__":
    sys.exit(main())
