"""Prepared corpora from disk, and the batches of joint training."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._clone import as_typed
from ..model.channels import channel_ids, clean_name
from ..model.task_card import CARD_FILE, PATCH_S, TaskCard
from .ahead import computed_ahead
from .mixing import PAPER_TASKS, EpochPlan, SamplingRule, TaskMix, sampling_rules
from .remote import is_url
from .saved_folders import open_saved
from .source import WindowFormatError, WindowSource, naming
from .split_manifest import SplitManifest
from .streaming import SPLITS, open_streams
from .windows import WindowReader

Batch = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A task's data as prepared by ``dataset_scripts``.

    Parameters
    ----------
    card : TaskCard
        The task.
    splits : dict of str to WindowSource
        By name: train, validation, test.
    split : SplitManifest, optional
        How these came about, where :func:`~modeling_mteeg.data.view_corpora` chose them.

    Raises
    ------
    WindowFormatError
        A split's windows contradict the card: other labels, channels or length.
    """

    card: TaskCard
    splits: dict[str, WindowSource]
    split: SplitManifest | None = None

    def __post_init__(self) -> None:
        for split, reader in self.splits.items():
            with naming(f"Split {split!r}"):
                check_windows(self.card, reader)


def check_windows(card: TaskCard, reader: WindowSource) -> None:
    """Raise ``WindowFormatError`` where windows contradict the task card."""
    samples = round(card.window_s * card.rate_hz)
    compared: dict[str, tuple[Any, Any]] = {
        "labels": (card.labels, reader.label_names),
        "samples per window": (samples, reader.shape[1]),
    }
    if card.channels:
        compared["channels"] = (card.channels, tuple(clean_name(name) for name in reader.channels))
    wrong = [
        f"{what}: expected {expected} from the task card, found {stored}"
        for what, (expected, stored) in compared.items()
        if expected != stored
    ]
    if wrong:
        raise WindowFormatError(
            f"Task {card.name!r}: {'; '.join(wrong)}. Prepare the corpus again with this version."
        )


def load_corpus(folder: str | Path) -> Corpus:
    """Open a prepared corpus; the signals stay on disk.

    Parameters
    ----------
    folder : str or Path
        Holds ``task.json`` and a saved ``DatasetDict`` with train, validation and test.

    Raises
    ------
    FileNotFoundError
        The folder or a part of it is missing.
    WindowFormatError
        The rows are damaged or contradict the task card.
    """
    from datasets import DatasetDict

    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"No prepared corpus: expected the folder {folder}.")
    card = TaskCard.load(folder)
    missing = [part for part in ("dataset_dict.json", *SPLITS) if not (folder / part).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: expected a saved DatasetDict with {list(SPLITS)}, missing: {missing}; "
            "prepare the corpus again."
        )
    data = open_saved(folder)
    if not isinstance(data, DatasetDict) or not set(SPLITS) <= set(data):
        raise WindowFormatError(f"{folder}: expected the splits {list(SPLITS)}, found {data}.")
    readers = {}
    for split in SPLITS:
        with naming(folder / split):
            readers[split] = WindowReader(data[split])
    with naming(folder):
        return Corpus(card, readers)


def stream_corpus(url: str | Path, **options: Any) -> Corpus:
    """Open a prepared corpus that lies in a bucket, on the Hub, on a web server, or on disk.

    Parameters
    ----------
    url : str or Path
        Its folder as ``fsspec`` names it, such as ``hf://datasets/me/tuev`` or
        ``s3://bucket/tuev``.
    **options
        For :class:`~modeling_mteeg.data.remote.RemoteFolder`.

    Returns
    -------
    Corpus
        Its splits fetch what is read, when it is read; see
        :class:`~modeling_mteeg.data.streaming.StreamedReader`.

    Raises
    ------
    FileNotFoundError
        There is no corpus, or it has no indexes.
    StreamError, WindowFormatError, TaskCardError
        It cannot be fetched, is damaged, or contradicts its task card.
    """
    card, readers = open_streams(url, **options)
    with naming(url):
        return Corpus(card, dict(readers))


def prepared_tasks(data: str | Path | None) -> list[str]:
    """The tasks that a folder of prepared corpora has, in alphabetical order.

    Raises
    ------
    ValueError
        It is an address or a pattern, which cannot be listed, or there are none.
    """
    if data is None or is_url(data) or "{task}" in str(data):
        raise ValueError(
            f"all tasks: expected a folder of prepared corpora, found {data or 'none'}: name the "
            "tasks, with commas between them."
        )
    found = _prepared(data)
    if not found:
        raise ValueError(f"all tasks: expected prepared corpora in {data}, found none.")
    return found


def _prepared(data: str | Path) -> list[str]:
    return sorted(path.parent.name for path in Path(data).glob(f"*/{CARD_FILE}"))


def load_corpora(
    data: str | Path, tasks: Sequence[str], streaming: bool = False
) -> dict[str, Corpus]:
    """Open the prepared corpora of several tasks.

    Parameters
    ----------
    data : str or Path
        ``<data>/<task>/`` each; or, with ``{task}`` in it, that with every task's name put in,
        such as ``hf://datasets/me/eeg-{task}``. A URL is streamed.
    tasks : sequence of str
    streaming : bool
        Fetch windows by byte range as they are needed, also from a folder.

    Returns
    -------
    dict of str to Corpus
        In the order of ``tasks``.

    Raises
    ------
    FileNotFoundError
        Tasks are missing; the message lists all of them and what is there.
    ValueError
        No task, a task twice, or a folder that holds another task than its name says.
    StreamError
        Data cannot be fetched.
    """
    if isinstance(tasks, str) or not tasks or len(set(tasks)) != len(tasks):
        raise ValueError(f"tasks: expected one or more different names, found {tasks!r}.")
    where = {task: task_location(data, task) for task in tasks}
    if streaming or is_url(data):
        corpora = _stream_all(where)
    else:
        missing = [task for task in tasks if not (Path(where[task]) / CARD_FILE).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{data}: no prepared corpus for {missing}, there are {_prepared(data)}. Prepare "
                f"them with `{as_typed('python -m dataset_scripts.<corpus>')} --raw ... --out ...`."
            )
        corpora = {task: load_corpus(folder) for task, folder in where.items()}
    for task, corpus in corpora.items():
        if corpus.card.name != task:
            raise ValueError(
                f"{where[task]}: expected the task {task!r}, found {corpus.card.name!r}."
            )
    return corpora


def task_location(data: str | Path, task: str) -> str:
    """Where a task's corpus lies: ``{task}`` replaced in ``data``, or ``<data>/<task>``."""
    data = str(data)
    return data.replace("{task}", task) if "{task}" in data else f"{data.rstrip('/')}/{task}"


def _stream_all(where: Mapping[str, str]) -> dict[str, Corpus]:
    corpora, missing = {}, []
    for task, url in where.items():
        try:
            corpora[task] = stream_corpus(url)
        except FileNotFoundError as error:
            missing.append(f"{task}: {error}")
    if missing:
        lines = "".join(f"\n  - {line}" for line in missing)
        raise FileNotFoundError(f"No prepared corpus to stream for {len(missing)} tasks:{lines}")
    return corpora


def training_mixes(
    corpora: Mapping[str, Corpus],
    sampling: Mapping[str, SamplingRule | Mapping[str, Any]] | None = None,
) -> list[TaskMix]:
    """The training splits as :class:`EpochPlan` takes them.

    Parameters
    ----------
    corpora : mapping of str to Corpus
    sampling : mapping, optional
        See :func:`modeling_mteeg.data.mixing.sampling_rules`; tasks without a rule are drawn
        whole, and rules of the paper's tasks that are not in ``corpora`` wait for a run with them.

    Raises
    ------
    ValueError
        ``sampling`` names a task that is neither in ``corpora`` nor one of the paper's, or is
        wrong in itself.
    """
    rules = sampling_rules(sampling or {}, known=tuple({**corpora, **dict.fromkeys(PAPER_TASKS)}))
    mixes = []
    for task, corpus in corpora.items():
        reader, rule = corpus.splits["train"], rules.get(task, SamplingRule())
        mixes.append(TaskMix(task, len(reader), labels=reader.labels, **vars(rule)))
    return mixes


_channel_ids = functools.lru_cache(maxsize=64)(channel_ids)


def model_inputs(
    reader: WindowSource, card: TaskCard, rows: np.ndarray, pin_memory: bool = False
) -> Batch:
    """Windows as the model takes them, read straight into the tensor's memory.

    Returns
    -------
    dict of str to torch.Tensor
        ``input_values`` (n, channels, patches, samples per patch) float32 in ``card.scale_uv``
        microvolt, ``channel_ids`` (channels, 2) int64, ``labels`` (n,) int64.
    """
    values = torch.empty((len(rows), *reader.shape), pin_memory=pin_memory)
    reader.read(rows, out=values.numpy(), unit_uv=card.scale_uv)
    size = round(PATCH_S * card.rate_hz)
    small = {
        "channel_ids": torch.tensor(_channel_ids(reader.channels, card.bipolar)),
        "labels": torch.from_numpy(reader.labels[rows]),
    }
    if pin_memory:  # a copy from other memory would hold up the steps
        small = {name: tensor.pin_memory() for name, tensor in small.items()}
    return {"input_values": values.unflatten(-1, (-1, size)), **small}


class JointBatches:
    """The batches of an epoch for one process.

    Iterating gives, for every step from ``start_step`` on and every slice of the step in turn, a
    dict from task to ``input_values``, ``channel_ids`` and ``labels`` (see :func:`model_inputs`).
    A task of which the process has no sample in a slice is left out; a slice may be empty.

    Parameters
    ----------
    corpora : mapping of str to Corpus
        All tasks of ``plan``; their training split is read.
    plan : EpochPlan
    rank : int
        This process, below ``plan.world_size``.
    start_step : int
        First step, for a resumed run; ``plan.num_steps`` gives nothing.
    prefetch : int, optional
        Batches read ahead by a background thread; 0 reads when asked. The batches and their order
        are the same. Default: 2, or 4 at once where a corpus is streamed.
    pin_memory : bool
        Page-locked tensors for asynchronous copies to a GPU.

    Raises
    ------
    ValueError
        Corpora and plan do not fit, or a number is out of range.

    Notes
    -----
    One thread and no DataLoader workers: reading is a conversion of mapped memory, and handing
    tensors between processes costs more than that. Streamed batches are fetched several at once,
    each in a thread that mostly waits; at most ``prefetch`` of them are in memory.
    """

    def __init__(
        self,
        corpora: Mapping[str, Corpus],
        plan: EpochPlan,
        rank: int = 0,
        start_step: int = 0,
        prefetch: int | None = None,
        pin_memory: bool = False,
    ) -> None:
        for mix in plan.mixes:
            size = len(corpora[mix.name].splits["train"]) if mix.name in corpora else None
            if size != mix.size:
                raise ValueError(
                    f"Task {mix.name!r}: expected a training split of {mix.size} windows as in "
                    f"the plan, found {'no corpus' if size is None else size}."
                )
        if not (0 <= rank < plan.world_size and 0 <= start_step <= plan.num_steps):
            raise ValueError(
                f"expected rank below {plan.world_size} and start_step up to {plan.num_steps}, "
                f"found rank {rank}, start_step {start_step}."
            )
        self._remote = any(corpora[task].splits["train"].remote for task in plan.tasks)
        if prefetch is not None and prefetch < 0:
            raise ValueError(f"prefetch: expected 0 or above, found {prefetch}.")
        self._corpora, self.plan, self.rank = corpora, plan, rank
        self.start_step, self._prefetch, self._pin_memory = start_step, prefetch, pin_memory

    def __len__(self) -> int:
        return (self.plan.num_steps - self.start_step) * self.plan.slices

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        calls = (
            functools.partial(self.batch, step, part)
            for step in range(self.start_step, self.plan.num_steps)
            for part in range(self.plan.slices)
        )
        return computed_ahead(calls, self._remote, self._prefetch)

    def batch(self, step: int, slice: int = 0) -> dict[str, Batch]:
        """This process's part of a step, by number."""
        batch = {}
        for task, rows in self.plan.indices(step, self.rank, slice).items():
            if len(rows):
                corpus = self._corpora[task]
                reader = corpus.splits["train"]
                batch[task] = model_inputs(reader, corpus.card, rows, self._pin_memory)
        return batch
