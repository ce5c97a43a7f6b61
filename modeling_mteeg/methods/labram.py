"""What methods on one LaBraM share: the backbone, its parameters' depths, its files."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch

from ..cards import RECORD_FILE, write_cards
from ..model.adapter_files import ADAPTERS
from ..model.adapter_options import HEAD_ALONE, AdapterOptions
from ..model.configuration_mteeg import MteegConfig
from ..model.feature_extraction_mteeg import MteegFeatureExtractor
from ..model.head_options import PLAIN_HEAD
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard, TaskCardError
from ..model.weight_names import task_of
from ..settings.plain_json import plain, write_json
from .kept_base import copy_kept_base
from .method import Batch, GradientMethod, TaskOutput, TrainingError

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_EMBEDDINGS = ("cls_token", "spatial_embedding", "temporal_embedding")


class LabramMethod(GradientMethod):
    """One LaBraM that all tasks pass through, each with a head of its own."""

    module: MteegModel
    has_heads = True

    def __init__(self, model: MteegModel) -> None:
        super().__init__(model.tasks)
        self.module = model
        self.depths = model.config.num_hidden_layers + 1

    @classmethod
    def build(cls, config: Any, cards: Mapping[str, TaskCard], seed: int) -> Self:
        """The backbone that the configuration names, with the method's adapters and heads."""
        torch.manual_seed(seed)
        model = start_model(config.model)
        torch.manual_seed(seed)  # adapters and heads do not depend on how the base came about
        for task, card in cards_with_heads(config, cards).items():
            model.add_adapter(task, card=card, options=cls.adapter_options(config))
        cls.choose_trained(model, config)
        return cls(model)

    def set_threshold(self, task: str, threshold: float) -> None:
        super().set_threshold(task, threshold)
        self.module.tasks[task] = self.cards[task]  # what is saved

    @classmethod
    def adapter_options(cls, config: Any) -> AdapterOptions:
        """Every task's adapter; by default a task is a head alone."""
        return HEAD_ALONE

    @classmethod
    @abstractmethod
    def choose_trained(cls, model: MteegModel, config: Any) -> None:
        """Unfreeze exactly what is trained."""

    def forward(self, batches: Mapping[str, Batch], smoothing: float) -> Mapping[str, TaskOutput]:
        return self.module(tasks=batches, smoothing=smoothing)

    def output_layer(self, task: str) -> torch.nn.Linear:
        return self.module.heads[task]

    def output_blocks(self, task: str) -> tuple[int, ...]:
        return self.module.heads[task].blocks

    @torch.no_grad()
    def output_features(self, task: str, batch: Batch) -> torch.Tensor:
        device = self.module.device
        names = ("input_values", "channel_ids")
        batch = {name: batch[name].to(device, non_blocking=True) for name in names}
        self.module.eval()  # a training step puts it back
        return self.module.head_features(**batch, task=task)

    def tokens(self, batch: Batch) -> int:
        samples = batch["input_values"].shape[1:].numel()  # channels x patches x 200, or x time
        return 1 + samples // self.module.config.patch_size  # the class token, too

    def depth(self, name: str) -> int:
        """Depth of a parameter: 0 the input side, ``i + 1`` transformer layer i, last the heads.

        An adapter's parameters lie in the layer they adapt.

        Notes
        -----
        LaBraM's fine-tuning counts the same way: temporal encoder, class token and embedding tables
        are 0, the final normalisation and the head ``num_layers + 1``.
        """
        return depth_in_labram(name, self.depths)

    def decays(self, name: str, parameter: torch.Tensor) -> bool:
        return decays_in_labram(name, parameter)

    def identity(self) -> dict[str, Any]:
        return chosen_heads(self.cards)

    def facts(self) -> dict[str, Any]:
        trained = {p.requires_grad for p in self.module.temporal_encoder.parameters()}
        encoder = "partly trained" if len(trained) > 1 else trained.pop()
        return {**super().facts(), "train_temporal_encoder": encoder}

    def task_of(self, name: str) -> str | None:
        return task_of(name)

    def save(
        self,
        folder: Path,
        results: Mapping[str, Mapping[str, Any]],
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """``folder`` is a base with feature extractor, ``adapters/<task>`` in it a task.

        A base that keeps its tasks (``beside`` in the record) is copied with them, its own record
        too; then cards are written for the new tasks and the base alone.
        """
        kept = record is not None and "beside" in record
        if kept:
            base = record["config"]["model"]["base"]
            copy_kept_base(base, folder, self.module.base_commit, without=self.cards)
        else:
            self.module.save_pretrained(folder, tasks=())  # with their results, below
            MteegFeatureExtractor().save_pretrained(folder)
        for task in self.cards:
            place = self.task_folder(folder, task)
            self.module.save_adapter(task, place, model_card=False, results=plain(results[task]))
        if record is not None and not kept:
            write_json(folder / RECORD_FILE, record)
        write_cards(folder, tasks=self.cards)

    @staticmethod
    def task_folder(folder: Path, task: str) -> Path:
        return folder / ADAPTERS / task

    @classmethod
    def load(cls, folder: Path, task: str) -> Self:
        model = MteegModel.from_pretrained(folder)
        model.load_adapter(task)
        return cls(model)


def depth_in_labram(name: str, depths: int) -> int:
    """Depth of a parameter of a :class:`MteegModel`; ``depths`` is that of the heads."""
    if name.startswith(("temporal_encoder.", *_EMBEDDINGS)):
        return 0
    match = _LAYER.search(name)
    if match:
        return int(match[1]) + 1
    if name.startswith(("fc_norm.", "heads.")):
        return depths
    raise ValueError(
        f"Parameter {name!r}: expected one of the temporal encoder, the embeddings, the layers, "
        "fc_norm or the heads; say in depth_in_labram which depth it has."
    )


def decays_in_labram(name: str, parameter: torch.Tensor) -> bool:
    """Matrices and kernels decay, embedding tables do not, as in LaBraM's fine-tuning."""
    table = name.startswith(_EMBEDDINGS) or name.endswith(".query")  # of an attention head
    return parameter.ndim > 1 and not table


def chosen_heads(cards: Mapping[str, TaskCard]) -> dict[str, Any]:
    """Heads other than the paper's: a configuration may leave the choice to the package."""
    return {
        f"head of {task}": card.head.to_dict()
        for task, card in cards.items()
        if card.head != PLAIN_HEAD
    }


def cards_with_heads(config: Any, cards: Mapping[str, TaskCard]) -> dict[str, TaskCard]:
    """The tasks of a configuration (``JointConfig``), with the heads that it chooses.

    Raises
    ------
    TrainingError
        A head that the data's channels do not allow.
    """
    chosen = {}
    for task in config.data.tasks:
        try:
            head = config.head_of(task, cards[task])
            chosen[task] = cards[task].replace(results=None, head=head)
        except TaskCardError as error:
            raise TrainingError(f"head: {error}") from error
    return chosen


def start_model(options: Any) -> MteegModel:
    """The backbone of a configuration's ``model``: random weights of a preset, or a base.

    Raises
    ------
    TrainingError
        There is no base of that name.
    """
    if options.base is None:
        settings = MteegConfig.from_preset(options.preset, drop_path_rate=options.drop_path)
        return MteegModel(settings)
    try:
        model = MteegModel.from_pretrained(options.base, drop_path_rate=options.drop_path)
        if model.config.tasks_in_weights:
            raise TrainingError(
                f"model.base: {options.base} is a checkpoint of a Trainer, with tasks among its "
                "weights. Make it a base first: model = AutoModel.from_pretrained(it), "
                "model.load_adapters(), model.save_pretrained(a new folder)."
            )
        return model
    except OSError as error:
        raise TrainingError(
            f"model.base: expected a folder or Hub id of a base, found {options.base!r}: "
            f"{error} Make one from published weights with mteeg convert."
        ) from error
