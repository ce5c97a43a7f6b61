"""A process that holds one variant and runs a step of it whenever it is told to.

Every variant lives in a process of its own, so that its peak memory is its own, while the main
process asks them in turn, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

import torch

from modeling_mteeg.recipes.benchmarks import joint_step as steps
from modeling_mteeg.recipes.benchmarks import own_process
from modeling_mteeg.recipes.benchmarks import pretraining_step as pretraining
from modeling_mteeg.recipes.benchmarks import sharing_step as sharing
from modeling_mteeg.recipes.benchmarks import task_step as tasks
from modeling_mteeg.recipes.benchmarks import tokenizer_step as tokenizer
from modeling_mteeg.recipes.benchmarks.joint_step import num_processes

BUILDERS = {
    "steps": steps.build,
    "sharing": sharing.build,
    "tasks": tasks.build,
    "pretraining": pretraining.build,
    "tokenizer": tokenizer.build,
}


def peak_mb(device: torch.device) -> float:
    """Peak memory of this process so far: the GPU's where there is one, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return own_process.peak_mb()


def serve(options: dict) -> None:
    """Build the variant, then answer each line on standard input with a step's figures."""
    from modeling_mteeg.training.launch import keep_freed_memory

    device = torch.device(options["device"])
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    if device.type == "cpu" and not options["variant"].startswith("plain"):
        keep_freed_memory()
    build = BUILDERS[options["part"]]
    step = build(options["variant"], options["preset"], options["samples"], device)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        try:
            start = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        except torch.OutOfMemoryError:
            print(json.dumps({"out_of_memory": True}), flush=True)
            return
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(device)}), flush=True)


class Worker:
    """Handle of the process, or processes, that run :func:`serve` for one variant."""

    def __init__(self, **options):
        self.variant = options["variant"]
        self.world = num_processes(self.variant)
        environment = dict(os.environ)
        if self.world > 1:
            threads = options["threads"] or torch.get_num_threads()
            options = {**options, "threads": max(1, threads // self.world)}
            environment |= {
                "OMP_NUM_THREADS": str(options["threads"]),
                "WORLD_SIZE": str(self.world),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(_free_port()),
            }
        self.processes = [self._start(rank, options, environment) for rank in range(self.world)]
        self._answers()

    def _start(self, rank: int, options: dict, environment: dict[str, str]) -> subprocess.Popen:
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if self.world > 1 else {}
        pipe, environment = subprocess.PIPE, {**environment, **ranks}
        return own_process.start("worker", json.dumps(options), stdin=pipe, env=environment)

    def _answers(self) -> list[dict]:
        answers = []
        for process in self.processes:
            line = process.stdout.readline()
            if not line:
                self._died(process)
            answers.append(json.loads(line))
        return answers

    def _died(self, process: subprocess.Popen) -> NoReturn:
        code = process.wait()
        why = ""
        if code == -signal.SIGKILL:
            why = ", which is how a system short of memory ends one: measure fewer rows (--only)"
        raise SystemExit(f"The process of {self.variant!r} ended with {code}{why}.")

    def step(self) -> dict:
        """Run one step; seconds until the last process is done, and peak memory of all so far.

        Raises
        ------
        torch.OutOfMemoryError
            It does not fit the GPU.
        """
        for process in self.processes:
            try:
                process.stdin.write("step\n")
                process.stdin.flush()
            except BrokenPipeError:
                self._died(process)
        answers = self._answers()
        if any("out_of_memory" in answer for answer in answers):
            raise torch.OutOfMemoryError
        return {
            "seconds": max(answer["seconds"] for answer in answers),
            "peak_mb": sum(answer["peak_mb"] for answer in answers),
        }

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.stdout.close()
            process.wait()


def ask_in_turn(
    workers: Mapping[str, Worker], rounds: Iterable[int], warmup: int, between: Callable[[], None]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of every counted round and peak memory, by variant; ``between`` ends each round."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    peak: dict[str, float] = {}
    for turn in rounds:
        for name, worker in workers.items():
            worker.step()  # not counted: a process that waited for its turn has cold memory
            answer = worker.step()
            peak[name] = answer["peak_mb"]
            if turn >= warmup:
                seconds[name].append(answer["seconds"])
        between()
    for worker in workers.values():
        worker.close()
    return seconds, peak


def ask_one_by_one(
    options: Mapping[str, dict], rounds: range, warmup: int
) -> tuple[dict[str, list[float]], dict[str, float], list[str]]:
    """As :func:`ask_in_turn`, one variant after the other: a GPU's memory is for one at a time.

    ``options`` are those of every variant's :class:`Worker`. Comes with the variants that did not
    fit, which have no figures.
    """
    seconds: dict[str, list[float]] = {}
    peak: dict[str, float] = {}
    too_large = []
    for name, given in options.items():
        worker = Worker(**given)
        try:
            answers = [worker.step() for _ in rounds]
            seconds[name] = [answer["seconds"] for answer in answers[warmup:]]
            peak[name] = answers[-1]["peak_mb"]
        except torch.OutOfMemoryError:
            too_large.append(name)
        worker.close()
    return seconds, peak, too_large


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
