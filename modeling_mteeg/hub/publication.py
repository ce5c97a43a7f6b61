"""What a folder holds that may go to the Hub, looked through and loaded before anything is sent."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_import_files

from .. import model as model_room
from .._clone import as_typed
from ..model.adapter_files import (
    ADAPTERS,
    HEAD_FILE,
    LORA_FILE,
    AdapterError,
    read_adapter_config,
    read_tensors,
)
from ..model.checked_files import COUNTS, FLOATS, read_json, tensor_shapes
from ..model.hub_push import PushRefusedError, is_of_a_task
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import CARD_FILE, TaskCard
from ..model.tokenizer_mteeg import MteegTokenizerModel

_MODEL = Path(model_room.__file__).parent
"""The room whose files are copied beside a base."""
_EARLIER_CODE = frozenset({"hub.py"})
"""Files of that room in earlier versions, which lie beside bases that they saved."""
_CODE = frozenset(path.name for path in _MODEL.glob("*.py")) - {"__init__.py"} | _EARLIER_CODE
WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?")
KINDS = {kind.config_class.model_type: kind for kind in (MteegModel, MteegTokenizerModel)}
_OTHERS = frozenset(("config.json", "preprocessor_config.json", "training.json", "README.md"))


@dataclasses.dataclass(frozen=True)
class Publication:
    """What a folder holds that may go to the Hub.

    Attributes
    ----------
    folder : Path
    base : dict of str to Path
        Files of the base, or of a neural tokenizer, by name; empty where the folder is one task.
    tasks : dict of str to Path
        Folders of the tasks by name.
    fingerprint : str
        Of the base, be it here or where the task was trained; empty for a neural tokenizer.
    left_out : tuple of str
        What lies in the folder and does not go.
    notes : tuple of str
        Odd things that do not stop a push.
    """

    folder: Path
    base: dict[str, Path]
    tasks: dict[str, Path]
    fingerprint: str
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Title of the commit."""
        names = ", ".join(self.tasks)
        if not self.base:
            return f"Upload the adapter and head of task {names}"
        if not self.fingerprint:
            return "Upload the neural tokenizer"
        return "Upload the base" + (f" and the tasks {names}" if names else "")

    def files(self) -> dict[str, Path]:
        """Path in the repository to every file that goes; lacking model cards are made besides."""
        sources = dict(self.base)
        for name, place in self.tasks.items():
            prefix = f"{ADAPTERS}/{name}/" if self.base else ""
            sources |= {f"{prefix}{path.name}": path for path in _files_of_task(place)}
        return sources


def read_publication(folder: str | Path, tasks: Sequence[str] = ()) -> Publication:
    """Look through a folder and load what would go to the Hub.

    Parameters
    ----------
    folder : str or Path
        A base as ``save_pretrained`` writes it, with tasks in ``adapters/``, a neural tokenizer, or
        one task as ``save_adapter`` writes it.
    tasks : sequence of str
        Tasks beside the base that go with it; empty: all.

    Raises
    ------
    PushRefusedError
        Neither of both, or the folder contradicts itself.
    AdapterError
        A task is damaged or belongs to another base.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return _read_base(folder, tasks)
    if (folder / CARD_FILE).is_file() and (folder / HEAD_FILE).is_file():
        return _read_task(folder, tasks)
    raise PushRefusedError(f"{folder}: {_what_it_is(folder)}")


def _what_it_is(folder: Path) -> str:
    """Why a folder is nothing that can be pushed, and what to do."""
    if not folder.is_dir():
        return "no such folder."
    if (folder / "splits.json").is_file() or (folder / "dataset_dict.json").is_file():
        return (
            "a prepared corpus, and recordings do not go to a model's repository. Where its "
            f"licence allows it: {as_typed('python -m dataset_scripts.push')}."
        )
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    return (
        "expected a base (config.json) or one task (task.json, head.safetensors), found neither."
        + (f" Did you mean {folder / inner[0]}?" if inner else "")
    )


def _read_base(folder: Path, wanted: Sequence[str]) -> Publication:
    config = read_settings(folder / "config.json")
    kind = KINDS.get(config.get("model_type"))
    if kind is None:
        raise PushRefusedError(
            f"{folder}: expected a model of type {' or '.join(map(repr, KINDS))}, found "
            f"{config.get('model_type')!r}."
        )
    files = {path.name: path for path in sorted(folder.iterdir()) if _is_of_a_base(path)}
    _check_weights(folder, files, FLOATS if kind is MteegModel else (*FLOATS, *COUNTS))
    _check_code(folder, config, files)
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    wrong = [f"{key}: {sorted(map(str, info[key]))[:3]}" for key in info if info[key]]
    if wrong:
        raise PushRefusedError(f"{folder}: the weights do not fit config.json ({'; '.join(wrong)})")
    if kind is MteegTokenizerModel:
        if wanted:
            raise PushRefusedError(f"{folder}: is a neural tokenizer; leave --task out.")
        return Publication(folder, files, {}, "", _left_out(folder, set(files)))
    fingerprint = model.fingerprint()
    if model.config.fingerprint != fingerprint:
        raise PushRefusedError(
            f"{folder}: config.json names the fingerprint {str(model.config.fingerprint)[:12]}, "
            f"the weights have {fingerprint[:12]}. Save the base again with save_pretrained()."
        )
    tasks = _chosen(folder, wanted)
    for name, place in tasks.items():
        card = model.load_adapter(str(place.resolve()))
        if card.name != name:
            raise PushRefusedError(f"{place}: holds the task {card.name!r}; rename the folder.")
    going = {
        f"{ADAPTERS}/{name}/{path.name}"
        for name, place in tasks.items()
        for path in _files_of_task(place)
    }
    older = [name for name in sorted(_CODE & set(files)) if not _is_this_code(files[name])]
    notes = []
    if older:
        notes = [f"the code in it differs from this version's: {', '.join(older)}; a base that is "
                 "saved again has the new one"]  # fmt: skip
    left = _left_out(folder, set(files) | going)
    return Publication(folder, files, tasks, fingerprint, left, tuple(notes))


def read_settings(path: Path) -> dict[str, Any]:
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise PushRefusedError(f"{path}: expected a mapping, found {type(settings).__name__}.")
    return settings


def _is_of_a_base(path: Path) -> bool:
    name = path.name
    if not path.is_file() or name.startswith("."):
        return False
    return name in _OTHERS | _CODE or name.endswith(".png") or bool(WEIGHTS.fullmatch(name))


def _is_this_code(path: Path) -> bool:
    here = _MODEL / path.name
    return here.is_file() and path.read_bytes() == here.read_bytes()


def _check_weights(folder: Path, files: dict[str, Path], kinds: Sequence[str]) -> None:
    """The base's own tensors and nothing else, and an extractor to go with them."""
    weights = [path for name, path in files.items() if name.endswith(".safetensors")]
    if not weights:
        raise PushRefusedError(f"{folder}: no model.safetensors; only safetensors are pushed.")
    for path in weights:
        strange = [
            key for key in tensor_shapes(path, kinds) if ".lora_" in key or key.startswith("heads.")
        ]
        if strange:
            raise PushRefusedError(
                f"{path}: a checkpoint of a training, with a task's tensors in it ({strange[0]}). "
                "Make it a base with tasks: model = AutoModel.from_pretrained(folder), "
                "model.load_adapters(), model.save_pretrained(a new folder)."
            )
    if "preprocessor_config.json" not in files:
        raise PushRefusedError(
            f"{folder}: no preprocessor_config.json, so that no feature extractor could be loaded. "
            "Write it with MteegFeatureExtractor().save_pretrained(folder)."
        )


def _check_code(folder: Path, config: dict[str, Any], files: dict[str, Path]) -> None:
    """The code that ``trust_remote_code`` would run is there, with all that it imports."""
    settings = read_settings(files["preprocessor_config.json"])
    named = [*(config.get("auto_map") or {}).values(), *(settings.get("auto_map") or {}).values()]
    pipelines = config.get("custom_pipelines") or {}
    named += [fields["impl"] for fields in pipelines.values() if "impl" in fields]
    for name in named:
        top = folder / f"{str(name).partition('.')[0]}.py"
        try:
            needed = {top.name, *(Path(file).name for file in get_relative_import_files(str(top)))}
        except OSError as error:
            needed = {Path(str(error.filename)).name}
        missing = sorted(needed - set(files))
        if missing:
            raise PushRefusedError(
                f"{folder}: the code {', '.join(missing)} that config.json or its imports name is "
                "missing, or not of this package. Save the base again with save_pretrained()."
            )


def _chosen(folder: Path, wanted: Sequence[str]) -> dict[str, Path]:
    tasks = {path.parent.name: path.parent
             for path in sorted((folder / ADAPTERS).glob(f"*/{CARD_FILE}"))}  # fmt: skip
    unknown = sorted(set(wanted) - set(tasks))
    if unknown:
        raise PushRefusedError(
            f"{folder}: no task {', '.join(unknown)} in {ADAPTERS}/; there are: "
            f"{', '.join(tasks) or 'none'}."
        )
    return {name: path for name, path in tasks.items() if not wanted or name in wanted}


def _files_of_task(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and is_of_a_task(path.name)]


def _left_out(folder: Path, going: set[str]) -> tuple[str, ...]:
    """Files that stay, those of one folder counted together."""
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    rest = [p for p in files if p.as_posix() not in going and p.suffix != ".lock"]
    counts = Counter(path.parent.as_posix() for path in rest if len(path.parts) > 1)
    single = [path.as_posix() for path in rest if len(path.parts) == 1]
    return (*single, *(f"{place}/ ({number})" for place, number in counts.items()))


def _read_task(folder: Path, wanted: Sequence[str]) -> Publication:
    card = TaskCard.load(folder)
    if wanted and list(wanted) != [card.name]:
        raise PushRefusedError(f"{folder}: is one task, {card.name!r}; leave --task out.")
    base = card.base or {}
    fingerprint = base.get("fingerprint")
    if not isinstance(fingerprint, str) or not isinstance(base.get("hidden_size"), int):
        raise PushRefusedError(
            f"{folder}: the task card names no base. Write the task with save_adapter()."
        )
    head = {key: tuple(value.shape) for key, value in read_tensors(folder / HEAD_FILE).items()}
    expected = card.head_shapes(base["hidden_size"])
    if head != expected:
        raise AdapterError(f"{folder / HEAD_FILE}: expected shapes {expected}, found {head}.")
    if card.adapter == "lora":
        read_adapter_config(folder)
        read_tensors(folder / LORA_FILE)
    left = _left_out(folder, {path.name for path in _files_of_task(folder)})
    return Publication(folder, {}, {card.name: folder}, fingerprint, left)
