"""Files of an earlier version, which later ones must read: ``tests/support/earlier``.

The folder in the repository was made once, by the code of commit fff4e6e (package version 0.1.0,
the last one before the package got its rooms), with this script::

    git worktree add ../before fff4e6e
    PYTHONPATH=../before python tests/support/make_earlier.py tests/support/earlier

It is never made again: a version that cannot read it has broken the files of users. The script
imports public names alone, so that a later version can leave a folder of its own in the same way.
``tests/test_earlier.py`` computes what :func:`outputs`, :func:`digests` and :func:`stored_windows`
say with the code of today and compares.

What is there
-------------
``base``
    A base of one layer, with three tasks saved beside it.
``tokenizer``, ``student``
    A neural tokenizer, and a base with the layers of masked pre-training.
``corpora``, ``unlabelled``
    Prepared data: windows of three tasks, and recordings without labels.
``joint``, ``masked``
    Output folders of the two recipes that were killed in the middle of an epoch.
``expected.json``, ``outputs.safetensors``
    What the earlier version read, computed, and finished the two trainings with.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from safetensors.torch import save_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForPreTraining

import modeling_mteeg
from modeling_mteeg import (
    MteegConfig,
    MteegForPreTraining,
    MteegModel,
    MteegTokenizerConfig,
    MteegTokenizerModel,
    TaskCard,
)
from modeling_mteeg.data import (
    MANIFEST_FILE,
    MANIFEST_VERSION,
    cut_stretches,
    encode_stretch,
    encode_window,
    load_corpora,
    load_unlabelled,
    model_inputs,
    stretch_features,
    window_features,
    window_patches,
    write_index,
)

SIZES = {"num_hidden_layers": 1, "intermediate_size": 8, "num_attention_heads": 4, "num_codes": 16}
CARDS = {
    card.name: card
    for card in (
        TaskCard("tuab", ("normal", "abnormal"), ("FP1", "FP2", "C3"), window_s=1, simulated=True),
        TaskCard("seed-v", ("disgust", "fear", "sad"), ("C3", "C4"), window_s=1, simulated=True),
        TaskCard("sleep-edf", ("W", "N1", "N2"), ("FPZ-CZ", "PZ-OZ"), window_s=2, simulated=True),
    )
}
ADAPTERS: dict[str, dict[str, Any]] = {
    "tuab": {},
    "seed-v": {"rank": 3, "scaling": 0.5, "location": "attention", "separate_qkv": True},
    "sleep-edf": {"location": "none"},
}
WINDOWS = {"tuab": (20, 6, 5), "seed-v": (12, 6, 5), "sleep-edf": (6, 6, 5)}
RECORDINGS = {  # name: subject, channels, samples at 200 Hz
    "a1": ("a", ("C3", "CZ"), 1700),
    "b1": ("b", ("FP1",), 1000),
    "c1": ("c", ("C3", "CZ"), 1250),
    "d1": ("", ("FP1",), 999),
}
JOINT = """\
model: {base: base, drop_path: 0.2}
data: {folder: corpora, tasks: [tuab, seed-v, sleep-edf]}
adapter: {rank: 2, dropout: 0.1, scaling: 2.0}
optimization: {epochs: 3, batch_size: 8, eval_batch_size: 4, lr: 1.0e-2, warmup_epochs: 1,
               layer_decay: 0.9, task_weights: {tuab: 0.5}}
sampling: {tuab: {fraction: 0.5}}
checkpoint: {every_steps: 2, keep: 1}
train_temporal_encoder: true
output: joint
"""
MASKED = """\
model: {init: student, drop_path: 0.2}
data: {folders: [unlabelled], stride_s: 0.5, max_patches: 4, max_seconds: 2, validation: 0.3,
       bundle: 2}
optimization: {epochs: 2, batch_size: 7, lr: 1.0e-3, warmup_epochs: 1, clip_norm: 1.0}
checkpoint: {every_steps: 2, keep: 1}
tokenizer: tokenizer
output: masked
"""
TRAININGS = {"joint": ("joint", JOINT, 7), "masked": ("pretrain", MASKED, 7)}
"""Output folder: recipe, configuration, and the optimiser step in which the training was killed."""


# What both versions compute ------------------------------------------------------------------


def arithmetic() -> dict[str, str]:
    """What decides the last bits of a result."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ] if Path("/proc/cpuinfo").is_file() else []  # fmt: skip
    return {
        "processor": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def digest(tensor: torch.Tensor) -> str:
    """Hash of shape, type and values."""
    values = tensor.detach().cpu().contiguous().numpy()
    return hashlib.sha256(f"{values.shape}{values.dtype}".encode() + values.tobytes()).hexdigest()


def digests(model: torch.nn.Module) -> dict[str, str]:
    """:func:`digest` of all weights and buffers of a model, of its base and its tasks."""
    if isinstance(model, MteegModel):
        state = dict(model.base_state_dict())
        for task in model.tasks:
            own = model.adapter_state_dict(task)
            state |= {f"{task}: {name}": tensor for name, tensor in own.items()}
    else:
        state = model.state_dict()
    return {name: digest(tensor) for name, tensor in sorted(state.items())}


def stored_windows() -> dict[str, list[str]]:
    """Hashes of the signals, and the labels, as the data of this folder are read."""
    read = {}
    for task, corpus in load_corpora("corpora", CARDS).items():
        for split, reader in corpus.splits.items():
            inputs = model_inputs(reader, corpus.card, np.arange(len(reader)))
            read[f"{task} {split}"] = [digest(inputs[key]) for key in sorted(inputs)]
    for split, groups in load_unlabelled(["unlabelled"], 0.5, 4, 2, 0.3).items():
        for group in groups:
            signals = torch.from_numpy(group.read(range(len(group))))
            read[f"unlabelled {split} {' '.join(group.channels)}"] = [digest(signals)]
    return read


def task_inputs(task: str) -> dict[str, torch.Tensor]:
    """The windows of a task's test split as the model takes them, without labels."""
    corpus = load_corpora("corpora", [task])[task]
    reader = corpus.splits["test"]
    inputs = model_inputs(reader, corpus.card, np.arange(len(reader)))
    return {key: inputs[key] for key in ("input_values", "channel_ids")}


@torch.no_grad()
def base_outputs(folder: str | Path) -> dict[str, torch.Tensor]:
    """Features of a base, logits of the tasks beside it, and a recording through its extractor."""
    model = AutoModel.from_pretrained(folder).eval()
    inputs = task_inputs("tuab")
    output = model(**inputs)
    tensors = {"hidden": output.last_hidden_state, "pooled": output.pooler_output}
    for place in sorted(Path(folder).glob("adapters/*")):
        card = model.load_adapter(place.name)
        tensors[f"{card.name} logits"] = model(**task_inputs(card.name)).logits
    if model.tasks:
        batches = {task: task_inputs(task) for task in model.tasks}
        for task, output in model(tasks=batches).items():
            tensors[f"{task} logits of one forward"] = output.logits
        card = model.tasks["tuab"]
        time = np.arange(40 * 256) / 256
        signal = 30 * np.stack([np.sin(2 * np.pi * rate * time) for rate in (3, 10, 21)])
        extractor = AutoFeatureExtractor.from_pretrained(folder)
        windows = extractor((signal, card.channels, 256), task=card)["input_values"]
        tensors["recording"] = windows[::10]
    return tensors


@torch.no_grad()
def pretraining_outputs(folder: str | Path) -> dict[str, torch.Tensor]:
    """Logits of all codes, half of the patches hidden."""
    model = AutoModelForPreTraining.from_pretrained(folder).eval()
    inputs = task_inputs("sleep-edf")
    samples, channels, patches, _ = inputs["input_values"].shape
    mask = (torch.arange(samples * channels * patches) % 2 == 0).view(samples, -1)
    labels = torch.zeros(mask.shape, dtype=torch.int64)
    output = model(**inputs, mask=mask, labels=labels)
    return {"masked logits": output.logits, "other logits": output.logits_complement}


@torch.no_grad()
def tokenizer_outputs(folder: str | Path) -> dict[str, torch.Tensor]:
    """Codes, and the spectra decoded from them."""
    model = AutoModel.from_pretrained(folder).eval()
    output = model(**task_inputs("tuab"))
    return {"codes": output.token_ids, "amplitude": output.amplitude, "phase": output.phase}


def outputs() -> dict[str, torch.Tensor]:
    """All outputs of the stored models."""
    by_model = {
        "base": base_outputs("base"),
        "student": base_outputs("student") | pretraining_outputs("student"),
        "tokenizer": tokenizer_outputs("tokenizer"),
    }
    return {
        f"{model}: {name}": tensor.contiguous()
        for model, tensors in by_model.items()
        for name, tensor in tensors.items()
    }


def run_recipe(name: str, *words: str) -> int:
    """A recipe in this process, as from the command line."""
    return importlib.import_module(f"modeling_mteeg.recipes.{name}").main(list(words))


def trained(folder: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What a recipe has left: history, results, hashes of the weights; and outputs."""
    folder = Path(folder)
    left = {"history": json.loads((folder / "history.json").read_text("utf-8"))}
    tensors = base_outputs(folder / "model")
    model = AutoModel.from_pretrained(folder / "model")
    if (folder / "results.json").is_file():
        left["test"] = json.loads((folder / "results.json").read_text("utf-8"))["test"]
        for task in CARDS:
            model.load_adapter(task)
    else:
        model = AutoModelForPreTraining.from_pretrained(folder / "model")
        tensors |= pretraining_outputs(folder / "model")
    left["digests"] = digests(model)
    return left, {f"{folder}: {name}": tensor.contiguous() for name, tensor in tensors.items()}


# What the earlier version wrote --------------------------------------------------------------


@torch.no_grad()
def randomize(*modules: torch.nn.Module) -> None:
    """No value as it was made, all on a coarse grid: git packs such files to a tenth."""
    for module in modules:
        for parameter in module.parameters():
            parameter.add_(0.06 * torch.randn_like(parameter))
            parameter.mul_(16).round_().div_(16)


def write_models() -> None:
    """Base with its tasks, tokenizer, student."""
    torch.manual_seed(1)
    model = MteegModel(MteegConfig.from_preset("tiny", **SIZES))
    randomize(model)
    model.save_pretrained("base")
    model = AutoModel.from_pretrained("base")
    for task, options in ADAPTERS.items():
        model.add_adapter(task, card=CARDS[task], **options)
    tasks = [module for name, module in model.named_modules()
             if name.split(".")[-1] in ADAPTERS]  # fmt: skip
    randomize(*tasks)
    for task in ADAPTERS:
        model.save_adapter(task, f"base/adapters/{task}", results={"test": {"kappa": 0.25}})
    student = MteegForPreTraining(MteegConfig.from_preset("tiny", **SIZES))
    randomize(student)
    student.save_pretrained("student")
    sizes = {**SIZES, "num_decoder_layers": 1, "code_size": 8, "kmeans_start": False}
    tokenizer = MteegTokenizerModel(MteegTokenizerConfig.from_preset("tiny", **sizes))
    randomize(tokenizer)
    tokenizer.save_pretrained("tokenizer")
    for code in Path().glob("*/*.py"):  # the copy of its own code beside a base, 300 KB each
        code.unlink()


def write_corpora() -> None:
    """Noise with a rhythm that depends on the label, in the dtypes that are stored."""
    random = np.random.default_rng(3)
    for task, dtype in zip(CARDS, ("int16", "float32", "int16"), strict=True):
        card, splits = CARDS[task], {}
        for split, number in zip(("train", "validation", "test"), WINDOWS[task], strict=True):
            rows = []
            for index in range(number):
                label = index % len(card.labels)
                time = np.arange(round(card.window_s * card.rate_hz)) / card.rate_hz
                noise = random.normal(0, 20, (len(card.channels), len(time)))
                window = (noise + 4 * np.sin(2 * np.pi * (4 + 6 * label) * time)).round()
                rows.append(encode_window(
                    window.astype(np.float32), card.channels, label, f"r{index // 4}",
                    f"s{index // 8}", index * card.window_s, dtype,
                ))  # fmt: skip
            splits[split] = Dataset.from_list(rows, features=window_features(card.labels))
        folder = Path("corpora") / task
        DatasetDict(splits).save_to_disk(str(folder))
        for split in splits:
            write_index(folder / split)
        card.save(folder)


def write_unlabelled() -> None:
    """Noise, in stretches that own two seconds."""
    random, rows = np.random.default_rng(4), []
    for name, (subject, channels, samples) in RECORDINGS.items():
        signal = random.normal(0, 20, (len(channels), samples)).round().astype(np.float32)
        window = window_patches(len(channels), 4, 2)
        for start, stop, own in cut_stretches(samples, window, 2):
            part = signal[:, start:stop]
            rows.append(encode_stretch(part, channels, name, subject, start // 200, own, "int16"))
    Dataset.from_list(rows, features=stretch_features()).save_to_disk("unlabelled")
    manifest = {"version": MANIFEST_VERSION, "max_patches": 4, "max_seconds": 2, "simulated": True}
    (Path("unlabelled") / MANIFEST_FILE).write_text(json.dumps(manifest), "utf-8")


@contextmanager
def killed_in_step(count: int):
    """As ``kill -9`` in the ``count``-th optimiser step: gradients there, weights not yet moved."""
    real, calls = torch.optim.AdamW.step, []

    def step(self, *arguments, **options):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    torch.optim.AdamW.step = step
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        torch.optim.AdamW.step = real


def train() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Run both recipes to the end, then again until they are killed; what the first ones left."""
    left, tensors = {}, {}
    for name, (recipe, config, step) in TRAININGS.items():
        path = Path(f"{name}.yaml")
        path.write_text(config, "utf-8")
        if run_recipe(recipe, "--config", str(path)):
            raise SystemExit(f"{name} failed")
        left[name], after = trained(name)
        tensors |= after
        shutil.rmtree(name)
        with killed_in_step(step):
            run_recipe(recipe, "--config", str(path))
        if not list(Path(name).glob("checkpoints/epoch-*")) or Path(name, "model").exists():
            raise SystemExit(f"{name} was not killed between two checkpoints")
        path.unlink()
    return left, tensors


def main(folder: str) -> None:
    """Write everything; the folder must not exist."""
    torch.set_num_threads(1)
    Path(folder).mkdir(parents=True)
    os.chdir(folder)  # relative paths stand in the files
    write_models()
    write_corpora()
    write_unlabelled()
    left, tensors = train()
    save_file(outputs() | tensors, "outputs.safetensors")
    expected = {"version": modeling_mteeg.__version__, "arithmetic": arithmetic(),
                "windows": stored_windows(), "trained": left}  # fmt: skip
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
