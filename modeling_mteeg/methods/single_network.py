"""What methods of one network a task share: scaling, batches, files.

Nothing is shared by the tasks, so each keeps its own best epoch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from ..model.checked_files import read_json
from ..model.modeling_mteeg import MteegOutput, task_loss
from ..model.task_card import TaskCard
from ..settings.plain_json import write_json
from ..settings.schema import nearest, read_section
from .method import Batch, GradientMethod, Method, TrainingError
from .published_network import SingleTaskNetwork, WindowError
from .task_files import WEIGHTS_FILE, read_weights, save_tasks

NETWORK_FILE = "network.json"
"""Options of a task's network, beside its weights."""
_QUANTILE, _LEAST = 0.95, 1e-8
_CUTTING = {"max_tokens": None, "gradient_accumulation": 1}
"""Keys of ``optimization`` that cut a batch, and the values at which they do not."""
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def scaled_by_quantile(signal: torch.Tensor) -> torch.Tensor:
    """Every channel of every window over the 95 % quantile of its absolute values over time.

    Parameters
    ----------
    signal : torch.Tensor
        (batch, channels, samples), any unit, which drops out.

    Returns
    -------
    torch.Tensor
        As large. A flat channel stays 0.

    Notes
    -----
    As BIOT's data loaders have it, for all six networks: linear interpolation, and 1e-8 on top.
    ``torch.quantile`` refuses more than 16 million values, which a batch of 512 windows exceeds.
    """
    samples = signal.shape[-1]
    place = _QUANTILE * (samples - 1)
    below = int(place)  # the quantile lies between the sorted values `below` and `below + 1`
    largest = signal.abs().topk(samples - below, -1).values  # (batch, channels, samples - below)
    low = largest[..., -1:]  # (batch, channels, 1)
    high = largest[..., -2:-1] if samples - below > 1 else low
    return signal / (torch.lerp(low, high, place - below) + _LEAST)


class SingleNetworkMethod(GradientMethod):
    """A network a task.

    A subclass has ``names``, ``title``, and ``Network`` or :meth:`network_of`; ``Options`` are the
    network's unless it says others.

    Attributes
    ----------
    options : dataclass
        One of ``Options``: the same for all tasks.
    """

    selection = "task"
    needs_model = False
    Network: ClassVar[type[SingleTaskNetwork]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "Network" in cls.__dict__ and "Options" not in cls.__dict__:
            cls.Options = cls.Network.Options

    def __init__(
        self, cards: Mapping[str, TaskCard], networks: Mapping[str, nn.Module], options: Any
    ) -> None:
        super().__init__(cards)
        self.options = options
        self.module = nn.ModuleDict(networks)

    @classmethod
    def network_of(cls, card: TaskCard, options: Any) -> nn.Module:
        """A task's network, its random values from torch's generator.

        Raises
        ------
        WindowError
            The network cannot take the task's windows.
        """
        return cls.Network(len(card.channels), samples_of(card), card.num_outputs, options)

    @classmethod
    def refusal(cls, config: Any, card: TaskCard) -> str:
        try:
            with torch.random.fork_rng(devices=()):
                options = options_from(cls.Options, config.method_options, config.method)
                cls._checked_network(card, options, config.method)
        except TrainingError as error:
            return str(error)
        return ""

    @classmethod
    def _checked_network(cls, card: TaskCard, options: Any, name: str) -> nn.Module:
        if not card.channels:
            raise TrainingError(
                f"Task {card.name!r}: {name} needs the channels in the task card, found none; "
                "prepare the corpus with them."
            )
        try:
            return cls.network_of(card, options)
        except WindowError as error:
            raise WindowError(f"Task {card.name!r}: {error}") from error

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        """Random weights from ``seed``, each task's the same whatever tasks are beside it.

        Raises
        ------
        TrainingError
            A card without channels, windows that the network cannot take (:class:`WindowError`), or
            settings that cut the batches of a network with batch normalisation.
        """
        chosen = {task: cards[task].replace(results=None) for task in config.data.tasks}
        options = options_from(cls.Options, config.method_options, config.method)
        networks = {}
        for task, card in chosen.items():
            torch.manual_seed(seed)
            networks[task] = cls._checked_network(card, options, config.method)
        method = cls(chosen, networks, options)
        cut = [key for key, whole in _CUTTING.items()
               if getattr(config.optimization, key) != whole]  # fmt: skip
        if cut and any(map(_has_batch_norm, networks.values())):
            raise TrainingError(
                f"optimization: {' and '.join(cut)} would cut the batches by whose statistics "
                f"{config.method} normalises; leave it out, or lower batch_size."
            )
        return method

    def scaled(self, task: str, signal: torch.Tensor) -> torch.Tensor:
        """A task's windows (n, channels, samples) in the card's unit, as the network gets them."""
        return scaled_by_quantile(signal)

    def forward(self, batches: Mapping[str, Batch], smoothing: float) -> dict[str, MteegOutput]:
        outputs = {}
        for task, batch in batches.items():
            signal = self.scaled(task, batch["input_values"].flatten(2))  # (n, channels, samples)
            network, labels, loss = self.module[task], batch.get("labels"), None
            with _running_statistics_alone(network, len(signal)):
                logits = network(signal)  # (n, outputs)
            if labels is not None:
                loss = task_loss(self.cards[task], logits, labels, smoothing)
            outputs[task] = MteegOutput(loss=loss, logits=logits)
        return outputs

    def tokens(self, batch: Batch) -> int:
        """Seconds of all channels, as of a LaBraM."""
        return batch["input_values"].shape[1] * batch["input_values"].shape[2]

    def decays(self, name: str, parameter: torch.Tensor) -> bool:
        """Everything decays, as where Adam is given a module's parameters."""
        return True

    def task_of(self, name: str) -> str:
        return name.partition(".")[0]

    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """``tasks/<task>`` in the folder holds the task card, the network and its options."""
        states = {task: self.module[task].state_dict() for task in self.cards}
        save_tasks(folder, self.cards, states, results, record)
        for task in self.cards:
            write_json(self.task_folder(folder, task) / NETWORK_FILE, self.saved_options())

    def saved_options(self) -> dict[str, Any]:
        """What :func:`options_from` makes the options of."""
        return dataclasses.asdict(self.options)

    @classmethod
    def load(cls, folder: Path, task: str) -> Self:
        place = cls.task_folder(folder, task)
        weights = read_weights(place / WEIGHTS_FILE)
        card, options = TaskCard.load(place), cls.load_options(place, weights)
        method = cls({task: card}, {task: cls.network_of(card, options)}, options)
        method.module[task].load_state_dict(weights)
        return method

    @classmethod
    def load_options(cls, place: Path, weights: Mapping[str, torch.Tensor]) -> Any:
        """The options that :meth:`save` has left in a task's folder."""
        given = read_json(place / NETWORK_FILE)
        return options_from(cls.Options, given, str(place / NETWORK_FILE))


def samples_of(card: TaskCard) -> int:
    """Samples of a task's windows."""
    return round(card.window_s * card.rate_hz)


def _has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(module, _BATCH_NORM) for module in network.modules())


@contextlib.contextmanager
def _running_statistics_alone(network: nn.Module, number: int) -> Iterator[None]:
    """While a batch of one sample is trained on, batch normalisation takes the running statistics.

    One sample has none of its own: PyTorch refuses it where a map is a single value.
    """
    alone = network.training and number == 1
    norms = [module for module in network.modules() if alone and isinstance(module, _BATCH_NORM)]
    for module in norms:
        module.eval()
    try:
        yield
    finally:
        for module in norms:
            module.train()


def options_from(kind: type, given: Mapping[str, Any], where: str) -> Any:
    """A dataclass of plain values, as a configuration or a file has them.

    Raises
    ------
    ValueError
        Unknown keys, or wrong values.
    """
    faults: list[str] = []
    read = read_section(kind, given, where, faults)
    if faults:
        raise ValueError("; ".join(faults))
    return read


def build_single_task(
    name: str, channels: int, samples: int, outputs: int, **sizes: Any
) -> SingleTaskNetwork:
    """The network of a single-task method, with random weights from torch's generator.

    Parameters
    ----------
    name : str
        Of the method, such as ``contrawr``.
    channels, samples : int
        Of the windows.
    outputs : int
        Logits; 1 for two classes.
    **sizes
        Options of the method, such as ``widths`` or ``layers``, in place of the published ones.

    Returns
    -------
    SingleTaskNetwork
        Float windows (batch, channels, samples), scaled (``scaled_by_quantile``), to logits
        (batch, outputs). Its ``load_published(state)`` takes the published weights.

    Raises
    ------
    ValueError
        There is no such network, or it has no such size.
    WindowError
        A ``ValueError``: the network cannot take such windows.
    """
    networks = {key: getattr(method, "Network", None) for key, method in Method.by_name.items()}
    known = {key: network for key, network in networks.items() if network is not None}
    if name not in known:
        raise ValueError(f"name: unknown network {name!r}{nearest(name, known)}.")
    for key, value in {"channels": channels, "samples": samples, "outputs": outputs}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{key}: expected a whole number of 1 or more, found {value!r}.")
    options = options_from(known[name].Options, sizes, name)
    return known[name](channels, samples, outputs, options)
