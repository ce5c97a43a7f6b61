"""Saving a base with the tasks that a model holds, and fingerprints of bases."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import FEATURE_EXTRACTOR_NAME

from .adapter_files import ADAPTERS, AdapterError, read_card
from .adapter_places import split_repo, tasks_beside
from .checked_files import UnsafeFileError
from .feature_extraction_mteeg import MteegFeatureExtractor
from .peft_guard import foreign_layers
from .tasks_in_weights import as_in, claims_of, refuse_unnamed, task_names
from .weight_names import owner_of, plain_name, task_of

logger = logging.getLogger(__name__)
_CHECKPOINT = re.compile(r"checkpoint-\d+")
"""Folders that transformers' Trainer goes on from."""


def digest(state: dict[str, torch.Tensor], rounded: torch.dtype = torch.float32) -> str:
    """SHA-256 of names, shapes and values, the values rounded to a dtype and taken in float32."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu", torch.float32).to(rounded).float().contiguous()
        found.update(f"{name}{tuple(tensor.shape)}".encode())
        found.update(memoryview(tensor.numpy()).cast("B"))
    return found.hexdigest()


class BaseSavingMixin:
    """Files and fingerprint of the base in a :class:`modeling_mteeg.MteegModel`.

    Attributes
    ----------
    weight_files : tuple of Path
        Files that the base was read from, where they hold tensors of tasks, too.
    """

    weight_files: tuple[Path, ...] = ()
    _timestamps: dict[str, float] | None = None  # while a folder is saved that is then pushed
    _written_tasks: Sequence[str] | None = None
    # A checkpoint of transformers' Trainer holds tasks too, a folder of masked pre-training the
    # layers that predict codes; the base in either is loaded without them.
    _keys_to_ignore_on_load_unexpected = (
        *(r"\.lora_(?:[AB]|mix)\.", r"^heads\."),
        *(r"^mask_token$", r"^norm\.", r"^lm_head\."),
    )

    @classmethod
    def _load_pretrained_model(cls, model, state_dict, checkpoint_files, load_config, *args, **kw):
        """Refuse tensors of tasks that nothing names; keep the files that hold any."""
        files = tuple(map(Path, checkpoint_files or ()))
        try:
            found = task_names(files) if state_dict is None else set(map(task_of, state_dict))
        except (UnsafeFileError, OSError):  # checked below, with words for every fault
            found = set()
        found.discard(None)
        if found:
            place = load_config.pretrained_model_name_or_path
            where = str(place or "state_dict")
            named = set(model.config.tasks_in_weights or ()) if state_dict is None else set()
            if found - named and place is not None:
                options = load_config.download_kwargs or {}
                revision = options.get("revision")
                revision = getattr(revision, "resolved", revision)
                named |= set(tasks_beside(place, revision, options.get("token")))
            refuse_unnamed(found, named, where)
        loaded = super()._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, *args, **kw
        )
        if found:
            model.weight_files = files
        return loaded

    def base_state_dict(self) -> dict[str, torch.Tensor]:
        """Weights of the base alone, under their plain names (no adapters, no heads)."""
        return {
            plain_name(name): tensor
            for name, tensor in self.state_dict().items()
            if owner_of(name) is None
        }

    def _load_from_state_dict(self, state_dict, prefix, *args: Any) -> None:
        """Take weights under their plain names too, where layers carry adapters or are compiled."""
        given = {plain_name(key): key for key in state_dict}
        for name, _ in self.named_parameters():
            full, key = prefix + name, given.get(plain_name(prefix + name))
            if full not in state_dict and key is not None:
                state_dict[full] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fingerprint(self) -> str:
        """SHA-256 of the base's weights, the shared temporal encoder included.

        Adapters carry it and refuse any other base. It is taken from the weights in float32. The
        saved base rounded to bf16 or fp16 counts as that base: it answers with the same value.
        """
        found = digest(self.base_state_dict())
        if found in (self.config.rounded_fingerprints or ()) and self.config.fingerprint:
            return self.config.fingerprint
        return found

    def note_fingerprint(self) -> None:
        """Write the fingerprint, and those of the rounded weights, into the configuration."""
        state, fingerprint = self.base_state_dict(), self.fingerprint()
        if fingerprint != self.config.fingerprint or not self.config.rounded_fingerprints:
            halves = (torch.bfloat16, torch.float16)
            self.config.rounded_fingerprints = [digest(state, dtype) for dtype in halves]
        self.config.fingerprint = fingerprint

    def save_pretrained(
        self, save_directory: str | Path, *, tasks: Iterable[str] | None = None, **kwargs: Any
    ) -> None:
        """Save the base, shared temporal encoder included, and the tasks that the model holds.

        Every task goes to ``<save_directory>/adapters/<task>``, as :meth:`save_adapter` writes it.
        Where the folder has no ``preprocessor_config.json``, the feature extractor's settings are
        written, too. Loading the folder gives the base; :meth:`load_adapter` and
        :meth:`load_adapters` then find the tasks.

        Parameters
        ----------
        save_directory : str or Path
            Made if needed. A base and tasks of these names that are there are replaced.
        tasks : iterable of str, optional
            Tasks to save, of those the model holds; default: all. ``()``: the base alone.
        **kwargs
            Those of ``transformers.PreTrainedModel.save_pretrained``. Of a ``state_dict``, base and
            tasks are what it says, not what the model says; it must hold all of the weights.

        Raises
        ------
        ValueError
            An unknown task, a file in the folder's place, a ``state_dict`` that is not of this
            model, or layers that peft itself has put into the model.

        Notes
        -----
        ``transformers.Trainer`` gives a ``state_dict``, be it None. In a folder ``checkpoint-N`` it
        needs all that it trains in one file to go on from there: the tasks' tensors then stay among
        the weights, and ``config.json`` says what they are. Such a folder is loaded like any other.
        """
        folder = Path(save_directory)
        if folder.is_file():
            raise ValueError(f"{folder}: expected a folder, found a file. Nothing was saved.")
        if strange := foreign_layers(self):
            raise ValueError(
                f"Expected a base and tasks, found adapters of peft itself ({', '.join(strange)}): "
                "a saved base would lose them. Save them as peft does "
                "(PeftModel.save_pretrained), merge them (PeftModel.merge_and_unload gives a new "
                "base), or have a task instead: add_adapter(name, labels=[...], "
                "options=LoraConfig(...))."
            )
        names = self._tasks_to_save(tasks)
        given = kwargs.get("state_dict")
        if not self.should_save_on_this_rank(kwargs.get("is_main_process", True)):
            super().save_pretrained(folder, **kwargs)
            return
        source = self if given is None else self._as_in(given)
        kept = self.config.tasks_in_weights
        self._timestamps = self._get_files_timestamps(folder) if folder.is_dir() else {}
        try:
            self._save_all(folder, source, names, given, kwargs)
        finally:
            self._timestamps = self._written_tasks = None
            self.config.tasks_in_weights = kept

    def _save_all(self, folder: Path, source: Any, names: list[str], given, kwargs: dict) -> None:
        """Write a base and tasks as ``source`` has them: the tasks first, what is pushed last."""
        resumable = "state_dict" in kwargs and _CHECKPOINT.fullmatch(folder.name) is not None
        state = {plain_name(key): value for key, value in (given or self.state_dict()).items()}
        if not resumable:
            state = {key: value for key, value in state.items() if owner_of(key) is None}
        fingerprint, before = source.fingerprint(), self.config.fingerprint
        name = str(self.config._name_or_path or "")
        on_hub = split_repo(name) == (name, "") and not Path(name).exists()
        # Beside its base a task needs no name of it, and a path means nothing elsewhere.
        name = name if on_hub and fingerprint == before else ""
        base = {
            "fingerprint": fingerprint,
            "hidden_size": self.config.hidden_size,
            "name_or_path": name,
        }
        for task in () if resumable else names:
            source.write_adapter(task, folder / ADAPTERS / task, base)
        self._written_tasks = () if resumable else names
        self._save_extractor(folder)
        source.note_fingerprint()
        for field in ("fingerprint", "rounded_fingerprints"):
            setattr(self.config, field, getattr(source.config, field))
        self.config.tasks_in_weights = claims_of(source, base) or None if resumable else None
        if getattr(self.config, "auto_map", None):  # as loaded from a folder of pre-training
            self.config.auto_map.pop("AutoModelForPreTraining", None)
        super().save_pretrained(folder, **{**kwargs, "state_dict": state})
        if not resumable:
            self._say_what_stays(folder, fingerprint, before)

    def _as_in(self, state: dict[str, torch.Tensor]) -> Any:
        """This model with the weights of a state, for its files."""
        held = {**self.adapter_options, **self.adapter_sharing}
        claims = [(card, held[name]) for name, card in self.tasks.items()]
        try:
            twin = as_in(self, claims, state)
        except ValueError as error:
            raise ValueError(
                f"state_dict: expected all weights of the model and of its tasks: {error}. Leave "
                "it out to take the model as it is."
            ) from error
        twin._loaded_digests = dict(self._loaded_digests)
        return twin

    def _tasks_to_save(self, tasks: Iterable[str] | None) -> list[str]:
        if tasks is None:
            return list(self.tasks) if self._pushed_tasks is None else self._pushed_tasks
        if isinstance(tasks, str):
            raise ValueError(f"tasks: expected a list of names, found {tasks!r}: give [{tasks!r}].")
        return [self._known_task(name) for name in tasks]

    def _say_what_stays(self, folder: Path, fingerprint: str, before: str | None) -> None:
        """Name tasks that lie beside the base and are not saved, or do not fit it any more."""
        others = [name for name in tasks_beside(folder) if name not in self._written_tasks]
        stale = [name for name in others if not _is_for(folder / ADAPTERS / name, fingerprint)]
        if stale:
            logger.warning(
                "%s: the tasks %s that lie there belong to another base than the one saved now, "
                "and will not load on it.", folder, ", ".join(stale),
            )  # fmt: skip
        origin = Path(str(self.config._name_or_path or ""))
        if origin.name and origin.is_dir() and fingerprint == before:
            held = set(others) | set(self.tasks)
            left = [name for name in tasks_beside(origin) if name not in held]
            if left:
                logger.warning(
                    "%s: saved without the tasks %s that lie beside the base in %s, since this "
                    "model does not hold them: model.load_adapters() first, or copy %s.",
                    folder, ", ".join(left), origin, origin / ADAPTERS,
                )  # fmt: skip

    def _save_extractor(self, folder: Path) -> None:
        """Write the feature extractor's settings, those of the base that this model came from."""
        if (folder / FEATURE_EXTRACTOR_NAME).exists():
            return
        extractor, origin = MteegFeatureExtractor(), self.config._name_or_path
        if origin:
            try:
                extractor = MteegFeatureExtractor.from_pretrained(
                    origin, revision=self.base_commit, local_files_only=True
                )
            except (OSError, ValueError):
                logger.warning(
                    "%s: no %s written, since that of %s is not on this machine; save the feature "
                    "extractor there, too.", folder, FEATURE_EXTRACTOR_NAME, origin,
                )  # fmt: skip
                return
        type(extractor).register_for_auto_class("AutoFeatureExtractor")
        extractor.save_pretrained(folder)


def _is_for(folder: Path, fingerprint: str) -> bool:
    """Whether a task's card names this base."""
    try:
        return (read_card(folder).base or {}).get("fingerprint") == fingerprint
    except AdapterError:
        return False
