"""What a frozen base knows of tasks: logistic regression on its features, people held out.

    python recipes/frozen_features.py --data DATA --tasks mine,other --bases BASE1 BASE2

For every task and base: AUROC in folds over people, of the pooled output and of the mean token of
every channel; beside them log band power, and a base of random weights of each size. Nothing of a
base is trained here. A base must not have seen the people of these tasks in stage one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling_mteeg import _ending  # first: Ctrl-C while the rest is imported

# isort: split
import numpy as np
import torch
from tqdm.auto import tqdm

from modeling_mteeg import MteegConfig, MteegModel
from modeling_mteeg.data import Corpus, load_corpora, model_inputs
from modeling_mteeg.data.loading import prepared_tasks
from modeling_mteeg.methods.band_power import BandPower, BandPowerOptions
from modeling_mteeg.settings.command_line import ALL, CommandParser, Place, text_and_examples
from modeling_mteeg.settings.plain_json import write_text
from modeling_mteeg.settings.vocabulary import OF_THE_DATA, add_option

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_WINDOWS = 32
_INNER_FOLDS = 3


@_ending.command(errors=(OSError, ValueError), code=2)
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    args = parse_arguments(argv)
    _ending.hush(args.quiet, printed=True)
    tasks = prepared_tasks(args.data) if args.task == [ALL] else args.task
    corpora = load_corpora(args.data, tasks)
    models = dict(bases(args.bases, args.random, args.seed))
    results = {
        task: measure(corpus, models, args.folds, args.seed) for task, corpus in corpora.items()
    }
    print(table(results))
    if args.output is not None:
        write_text(args.output, json.dumps(results, indent=1) + "\n")
    return 0


def build_parser() -> CommandParser:
    """The command line."""
    description, examples = text_and_examples(__doc__)
    parser = CommandParser(description=description, examples=examples)
    add_option(parser, "--data", "corpora, <data>/<task>/", required=True)
    add_option(parser, "--task", f"which to look at; {OF_THE_DATA}", nargs="+", required=True)
    add_option(parser, "--base", "several with spaces or again", dest="bases", nargs="*",
        action="extend", default=[])  # fmt: skip
    parser.add_argument("--random", nargs="*", default=[], metavar="PRESET",
        help="random weights of these sizes, beside those of the bases' own sizes")  # fmt: skip
    parser.add_argument("--folds", type=int, default=6, help="over people (default: 6)")
    add_option(parser, "--seeds", "one, of folds and random weights (default: 0)", default=[0])
    add_option(parser, "--out", "every value, in a file (.json)", dest="output",
        type=Place(".json", kind=Path))  # fmt: skip
    add_option(parser, "--overwrite")
    add_option(parser, "--quiet", "and the table")
    return parser


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.output and Path(args.output).exists() and not args.overwrite:
        parser.error(f"--out: {args.output} is there already: another name, or --overwrite")
    if len(args.seeds) != 1 or isinstance(args.seeds[0], str):
        parser.error(f"--seeds: expected one whole number, found {args.seeds}")
    args.seed = args.seeds[0]
    return args


def bases(
    places: Sequence[str], presets: Sequence[str], seed: int
) -> Iterator[tuple[str, MteegModel]]:
    """Bases by name, and one of random weights for each size among them and each preset."""
    sizes: list[MteegConfig] = [MteegConfig.from_preset(preset) for preset in presets]
    found = {place: MteegModel.from_pretrained(place) for place in places}
    sizes += [model.config for model in found.values()]
    seen: list[tuple[int, ...]] = []
    for config in sizes:
        size = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
        if size not in seen:
            seen.append(size)
            torch.manual_seed(seed)
            plain = {"hidden_size", "num_hidden_layers", "num_attention_heads",
                     "intermediate_size", "temporal_channels"}  # fmt: skip
            settings = {name: getattr(config, name) for name in plain}
            yield f"random {size[1]} layers of {size[0]}", MteegModel(MteegConfig(**settings))
    yield from found.items()


def measure(corpus: Corpus, models: dict[str, MteegModel], folds: int, seed: int) -> dict[str, Any]:
    """AUROC of every fold by features, and how many windows and people there are."""
    readers = list(corpus.splits.values())
    labels = np.concatenate([reader.labels for reader in readers])
    people = np.concatenate([reader.subjects for reader in readers])
    features = {"log band power": band_powers(corpus)}
    for name, model in models.items():
        tokens = channel_means(corpus, model.eval(), name)  # (windows, channels, width)
        features[f"{name}, pooled"] = tokens.mean(1)
        features[f"{name}, by channel"] = tokens.reshape(len(tokens), -1)
    aurocs = {
        name: held_out_auroc(values, labels, people, folds, seed)
        for name, values in tqdm(features.items(), corpus.card.name, disable=None)
    }
    return {"windows": len(labels), "people": len(np.unique(people)), "auroc": aurocs}


def band_powers(corpus: Corpus) -> np.ndarray:
    """Log band power of every channel, (windows, channels * 5)."""
    card = corpus.card.replace(results=None)
    method = BandPower({card.name: card}, BandPowerOptions())
    return np.concatenate([method.features(card.name, batch) for batch in batches(corpus)])


@torch.inference_mode()
def channel_means(corpus: Corpus, model: MteegModel, name: str) -> np.ndarray:
    """The mean token of every channel, (windows, channels, width); their mean is the pooled one."""
    found = []
    for batch in tqdm(batches(corpus), name, unit="batch", leave=False, disable=None):
        inputs = {key: batch[key] for key in ("input_values", "channel_ids")}
        tokens = model(**inputs).last_hidden_state[:, 1:]  # (n, channels * patches, width)
        channels = batch["input_values"].shape[1]
        found.append(tokens.unflatten(1, (channels, -1)).mean(2).float().numpy())
    return np.concatenate(found)


def batches(corpus: Corpus) -> Iterator[dict[str, torch.Tensor]]:
    """All windows of all splits."""
    for reader in corpus.splits.values():
        rows = np.arange(len(reader))
        for part in np.array_split(rows, -(-len(rows) // _WINDOWS)):
            yield model_inputs(reader, corpus.card, part)


def held_out_auroc(
    features: np.ndarray, labels: np.ndarray, people: np.ndarray, folds: int, seed: int
) -> list[float]:
    """AUROC of every fold (several classes: one against the rest, mean).

    Balanced logistic regression on standardised features; its strength is chosen by folds over the
    training people alone.

    Raises
    ------
    ValueError
        Fewer people than folds.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(people)) < folds:
        raise ValueError(f"--folds: expected at most {len(np.unique(people))} people, not {folds}.")
    # With all components a rotation, which changes no answer, and as many columns as windows.
    rotation = PCA() if features.shape[1] > len(features) else "passthrough"
    found, outer = [], StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, test in outer.split(features, labels, people):
        search = GridSearchCV(
            make_pipeline(
                StandardScaler(),
                rotation,
                LogisticRegression(class_weight="balanced", max_iter=300),
            ),
            {"logisticregression__C": STRENGTHS},
            scoring="roc_auc_ovr",
            cv=StratifiedGroupKFold(_INNER_FOLDS, shuffle=True, random_state=seed + 1),
        )
        search.fit(features[train], labels[train], groups=people[train])
        scores = search.predict_proba(features[test])
        if scores.shape[1] == 2:
            scores = scores[:, 1]
        found.append(float(roc_auc_score(labels[test], scores, multi_class="ovr")))
    return found


def table(results: dict[str, Any]) -> str:
    """Rows are features, columns tasks: mean and deviation over the folds."""
    heads = [
        f"{task} ({part['people']} people, {part['windows']} windows)"
        for task, part in results.items()
    ]
    lines = ["| features | " + " | ".join(heads) + " |", "|---" * (1 + len(heads)) + "|"]
    names = next(iter(results.values()))["auroc"]
    for name in names:
        cells = [part["auroc"][name] for part in results.values()]
        shown = [f"{np.mean(cell):.3f} ± {np.std(cell):.3f}" for cell in cells]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
