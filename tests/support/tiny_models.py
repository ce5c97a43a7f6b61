"""Tiny models with tasks in the shapes of the six corpora, and batches of noise for them."""

from __future__ import annotations

import torch
from torch import nn

from modeling_mteeg import MteegConfig, MteegModel, TaskCard, channel_ids
from modeling_mteeg.model.lora import adapter_layers

torch.set_num_threads(1)

CARDS = {
    card.name: card
    for card in (
        TaskCard("tuab", ("normal", "abnormal"), ("FP1", "FP2", "C3", "T3"), window_s=2),
        TaskCard("tuev", tuple("abcdef"), ("FP1", "FP2", "A1"), window_s=1),
        TaskCard("seed-v", tuple("abcde"), ("C3", "C4", "CB1", "FCZ", "PO7", "OZ"), window_s=1),
        TaskCard("chb-mit", ("background", "seizure"), ("FP1-F7", "F7-T7", "C3-P3"), window_s=2),
        TaskCard("sleep-edf", ("W", "N1", "N2", "N3", "REM"), ("FPZ-CZ", "PZ-OZ"), window_s=3),
        TaskCard("physionet-mi", tuple("abcde"), ("FC5", "C1", "T9", "IZ", "O1"), window_s=2),
    )
}
"""The tasks' labels with fewer channels and shorter windows; no two shapes alike."""

OPTIONS = [
    {},
    {"rank": 3, "scaling": 0.5},
    {"rank": 4, "scaling": 2.0, "separate_qkv": True},
    {"location": "attention"},
    {"location": "attention", "separate_qkv": True},
    {"location": "feed-forward", "dropout": 0.3},
    {"rank": {"attention": 4, "feed-forward": 16}},
    {"rank": {"qkv": 2, "proj": 3, "feed-forward": 5}, "separate_qkv": True, "kind": "rslora"},
]
"""Options of ``add_adapter`` that matter to files and products."""

HEADS = [
    {"kind": "mean"},
    {"kind": "mean", "hidden": 7},
    {"kind": "channels"},
    {"kind": "channels", "hidden": 9, "dropout": 0.2, "band_power": True},
    {"kind": "attention"},
    {"kind": "attention", "queries": 3, "hidden": 5},
]
"""Options of a task's head."""


def tiny_model(seed: int = 0, **config) -> MteegModel:
    """Two layers of width 100 with random weights, in evaluation mode."""
    sizes = {"num_hidden_layers": 2, "intermediate_size": 200} | config
    torch.manual_seed(seed)
    model = MteegModel(MteegConfig.from_preset("tiny", **sizes))
    with torch.no_grad():  # biases and norms too: a path that skips one must show
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def randomize(model: MteegModel, *tasks: str, seed: int = 1) -> None:
    """As after training: B and the heads' biases are no longer zero."""
    torch.manual_seed(seed)
    for task in tasks or model.tasks:
        for layer in adapter_layers(model, task).values():
            for pair in layer.pairs_of(task):
                nn.init.normal_(layer.lora_B[pair].weight, std=0.1)
            if task in layer.lora_mix:
                nn.init.normal_(layer.lora_mix[task].weight)
        nn.init.normal_(model.heads[task].weight, std=0.2)
        nn.init.normal_(model.heads[task].bias, std=0.2)


def model_with_tasks(
    *tasks: str, seed: int = 0, options: dict | None = None, heads: dict | None = None, **config
):
    """A tiny model with adapters (all six by default) whose B is not zero.

    ``heads`` has options of a task's head, by task.
    """
    model = tiny_model(seed, **config)
    for task in tasks or CARDS:
        card = CARDS[task].replace(head=(heads or {}).get(task, "mean"))
        model.add_adapter(task, card=card, **(options or {}))
    randomize(model, seed=seed + 1)
    return model


def batch_of(task: str, samples: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """Inputs and labels in the task's own shape."""
    card = CARDS[task]
    random = torch.Generator().manual_seed(seed)
    shape = (samples, len(card.channels), card.patches, 200)
    return {
        "input_values": torch.randn(shape, generator=random),
        "channel_ids": torch.from_numpy(channel_ids(card.channels)),
        "labels": torch.arange(samples) % len(card.labels),
    }


def inputs_of(task: str, samples: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    """:func:`batch_of` without the labels."""
    batch = batch_of(task, samples, seed)
    return {key: batch[key] for key in ("input_values", "channel_ids")}


def batches(*tasks: str, samples: int = 3) -> dict[str, dict[str, torch.Tensor]]:
    """A joint batch of several tasks (all six by default)."""
    return {
        task: batch_of(task, samples, seed) for seed, task in enumerate(tasks or CARDS, start=10)
    }


@torch.no_grad()
def logits_of(model: MteegModel, *tasks: str) -> dict[str, torch.Tensor]:
    """Logits of several tasks (all of the model's by default) on their batches."""
    wanted = tasks or tuple(model.tasks)
    return {task: model(**inputs_of(task), task=task).logits for task in wanted}


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all parameters by name."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters that are not bit for bit as they were."""
    now = dict(model.named_parameters())
    assert now.keys() == before.keys()
    return {name for name, value in before.items() if not torch.equal(value, now[name])}


def belongs_to(name: str, task: str) -> bool:
    """Whether a parameter is the task's own: its head, its A and B, its weights of a pool."""
    parts = name.split(".")
    if parts[0] == "heads":  # heads.TASK.weight, heads.TASK.hidden.weight
        return parts[1] == task
    return not {"lora_A", "lora_B", "lora_mix"}.isdisjoint(parts) and parts[-2] == task


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    """Gradients of all parameters that have one, taken away from the model."""
    found = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad()
    return found


def assert_same_gradients(found: dict, expected: dict, tolerance: float = 1e-5) -> None:
    """Equal to ``tolerance`` of the whole gradient's norm.

    Per tensor would be wrong: with one channel per group a GroupNorm takes away what a
    convolution's bias adds, so the gradient of that bias is zero but for rounding.
    """
    assert found.keys() == expected.keys()
    whole = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
    assert whole > 0
    for name, gradient in expected.items():
        error = (found[name] - gradient).norm() / whole
        assert error < tolerance, f"{name}: {error:.2e}"


def trainable(model: nn.Module) -> set[str]:
    """Names of the parameters that are trained."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}
