"""Steps of 6, 24 and 96 tasks at equal total batch, and what holding so many tasks costs."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from modeling_mteeg import MteegConfig, MteegModel, TaskCard
from modeling_mteeg.methods.mteeg import Mteeg
from modeling_mteeg.recipes.benchmarks.joint_step import (
    DROP_PATH,
    LABEL_SMOOTHING,
    LR,
    SHAPES,
    WEIGHT_DECAY,
    batches,
    cards,
)
from modeling_mteeg.recipes.benchmarks.own_process import peak_mb, result_of
from modeling_mteeg.recipes.benchmarks.step import Step
from modeling_mteeg.recipes.benchmarks.tables import median_ratio, middle, table
from modeling_mteeg.training.passes import split_passes

COUNTS = (6, 24, 96)
WAYS = {
    "training": "a joint step, passes bounded as in `optimization.max_tokens`",
    "inference": "the forward passes of the same batch, without gradients",
}


def variants(counts: Sequence[int]) -> dict[str, str]:
    """Names of the measured steps, and what they are."""
    return {f"{count} tasks, {way}": text for way, text in WAYS.items() for count in counts}


def check_counts(counts: Sequence[int], samples: int) -> None:
    """Raise ``ValueError`` unless all counts divide the same step with all shapes in it."""
    total = len(SHAPES) * samples
    wrong = [count for count in counts if count % len(SHAPES) or total % count]
    if wrong or not counts:
        raise ValueError(
            f"--num-tasks: expected multiples of {len(SHAPES)} that divide the {total} samples of "
            f"a step (--samples {samples} of each of six tasks), found {wrong}."
        )


def task_cards(count: int) -> dict[str, TaskCard]:
    """Cards of so many tasks, with the six real shapes in turn."""
    six = list(cards().values())
    names = [f"task-{number}" for number in range(count)]
    return {name: six[number % 6].replace(name=name) for number, name in enumerate(names)}


class TaskStep(Step):
    """A step of the joint training, or its forward passes, with the samples dealt to the tasks."""

    def __init__(self, preset: str, samples: int, device: torch.device, variant: str):
        super().__init__(samples, variant, device)
        count = int(variant.split()[0])
        self.trains, self.total = variant.endswith("training"), len(SHAPES) * samples
        torch.manual_seed(0)
        model = MteegModel(MteegConfig.from_preset(preset, drop_path_rate=DROP_PATH))
        chosen = task_cards(count)
        for task, card in chosen.items():
            model.add_adapter(task, card=card)
        self.method = Mteeg(model)
        self.model = model.to(device).train(self.trains)
        six = list(batches(self.total // count, device).values())
        self.batches = {task: six[number % 6] for number, task in enumerate(chosen)}
        if count > len(SHAPES):  # tensors of their own: equal ones would share the encoder
            self.batches = {
                task: {key: value.clone() for key, value in batch.items()}
                for task, batch in self.batches.items()
            }
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, LR, weight_decay=WEIGHT_DECAY, fused=True)
        largest = max(1 + channels * seconds for _, channels, seconds in SHAPES.values())
        self.max_tokens = largest * samples

    def __call__(self) -> None:
        passes = split_passes(self.batches, self.max_tokens, self.method.tokens)
        if not self.trains:
            with torch.inference_mode():
                for part in passes:
                    self.model(tasks=part)
            return
        for part in passes:
            outputs = self.model(tasks=part, smoothing=LABEL_SMOOTHING)
            loss = sum(
                output.loss * (len(part[task]["labels"]) / self.total)
                for task, output in outputs.items()
            )
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def build(variant: str, preset: str, samples: int, device: torch.device) -> TaskStep:
    """The step of a variant, ready to be called."""
    return TaskStep(preset, samples, device, variant)


def task_table(
    counts: Sequence[int], seconds: Mapping[str, Sequence[float]], peak: Mapping[str, float]
) -> str:
    """Time by count of tasks, also as multiples of the first, and memory."""
    rows = []
    for way in WAYS:
        first = seconds[f"{counts[0]} tasks, {way}"]
        for count in counts:
            values = seconds[f"{count} tasks, {way}"]
            rows.append(
                f"{way} | {count} | {middle(values):.3f} | {median_ratio(first, values):.2f} "
                f"| {peak[f'{count} tasks, {way}']:.0f}"
            )
    return table(f"step | tasks | seconds | times {counts[0]} tasks | peak MB", rows)


def cost_table(preset: str, counts: Sequence[int]) -> str:
    """Adding, saving, loading and switching, each count in a process of its own."""
    rows = []
    for count in counts:
        found = result_of("task_step", preset, count)
        rows.append(
            f"{count} | {found['add_s']:.2f} | {found['save_s']:.2f} | {found['load_s']:.2f} "
            f"| {found['load_cpu_s']:.2f} | {found['switch_ms']:.4f} | {found['weights_mb']:.0f} "
            f"| {found['peak_mb']:.0f}"
        )
    head = "tasks | add s | save all s | load all s | of it processor s | switch ms | weights MB"
    return table(f"{head} | peak MB", rows)


def measure(preset: str, count: int) -> dict[str, float]:
    """Seconds and memory of a model that holds so many tasks."""
    torch.set_num_threads(1)
    model, begun = MteegModel(MteegConfig.from_preset(preset)), time.perf_counter()
    for task, card in task_cards(count).items():
        model.add_adapter(task, card=card)
    found = {"add_s": time.perf_counter() - begun}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        model.save_pretrained(folder)
        found["save_s"] = time.perf_counter() - begun
        loads = []
        for _ in range(3):  # the files are in the system's cache
            fresh = MteegModel.from_pretrained(folder)
            begun, processor = time.perf_counter(), time.process_time()
            fresh.load_adapters()
            loads.append((time.perf_counter() - begun, time.process_time() - processor))
            if len(fresh.tasks) != count:
                raise RuntimeError(f"{folder}: expected {count} tasks, found {len(fresh.tasks)}.")
        found["load_s"], found["load_cpu_s"] = min(loads)
        found["files"] = sum(path.is_file() for path in Path(folder).rglob("*"))
    times, names = [], list(model.tasks)
    for turn in range(2000):
        begun = time.perf_counter()
        model.set_adapter(names[turn % count])
        times.append(time.perf_counter() - begun)
    found["switch_ms"] = statistics.median(times) * 1e3
    found["weights_mb"] = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    return found | {"peak_mb": peak_mb()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
