"""The JSON files of a base, checked key by key: settings of the model, of the input, and the index.

transformers takes what such a file says for what it should be, makes as many labels as it claims,
and loads an attention function that it names from the Hub.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers import PreTrainedConfig
from transformers.utils import (
    CONFIG_NAME,
    FEATURE_EXTRACTOR_NAME,
    PROCESSOR_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
)

from .checked_files import UnsafeFileError, check_place, read_json, shortened
from .json_fields import fits, shown_value, words

_ADAPTER_NAME = "adapter_config.json"
MAX_LABELS = 4096
"""As of a task."""

_Map = dict[str, str]
_COMMON: dict[str, Any] = {
    **{"model_type": str, "_name_or_path": str | None, "name_or_path": str | None},
    **{"transformers_version": str | None, "transformers_weights": str | None},
    **{"architectures": list[str] | None, "auto_map": _Map | None, "_commit_hash": str | None},
    **{"output_hidden_states": bool | None, "output_attentions": bool | None},
    **{"return_dict": bool | None, "is_encoder_decoder": bool, "chunk_size_feed_forward": int},
    **{"id2label": _Map | None, "label2id": dict[str, int] | None, "num_labels": int},
    **{"problem_type": str | None, "custom_pipelines": dict[str, dict] | None},
}
"""Keys that every configuration of transformers may have."""
_EXTRACTOR: dict[str, Any] = {
    **{"feature_extractor_type": str, "processor_class": str | None, "auto_map": _Map | None},
    **{"rate_hz": int | float, "patch_size": int, "scale_uv": int | float, "bipolar": str},
    **{"window_s": int | float | None, "highpass_hz": int | float | None},
    **{"lowpass_hz": int | float | None},
    "notch_hz": int | float | list[int | float] | None,
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("dtype", "torch_dtype"), ("float32", "bfloat16", "float16", "float64", None)),
    "attn_implementation": ("eager", "sdpa", None),
    **dict.fromkeys(("experts_implementation", "quantization_config", "fusion_config"), (None,)),
    **dict.fromkeys(("per_layer_config", "distributed_config", "layer_types"), (None,)),
}
"""Keys of transformers with few values that fit a base; a name of another one may be of code."""
_OTHER_FILES = "configuration_files"


def check_config(fields: Mapping[str, Any], kind: type, where: str) -> None:
    """Check the fields of a ``config.json``.

    Parameters
    ----------
    fields : mapping
    kind : type
        The class of the configuration, a dataclass that tells the types of its fields.
    where : str
        Names the file in errors.

    Raises
    ------
    UnsafeFileError
        A value of another type or, of labels, of too many; a key that would stand in for a part of
        the class.
    """
    _check(fields, _kinds(kind), kind, where)
    labels = fields.get("num_labels", 0)
    names = [name for name in ("id2label", "label2id") if len(fields.get(name) or ()) > MAX_LABELS]
    if names or not 0 <= labels <= MAX_LABELS:
        raise UnsafeFileError(
            f"{where}: {names[0] if names else 'num_labels'}: expected at most {MAX_LABELS} labels."
        )
    wrong = [key for key in fields.get("id2label") or () if not _is_number(key)]
    if wrong:
        raise UnsafeFileError(
            f"{where}: id2label: expected whole numbers for keys, found {shortened(wrong[0])!r}."
        )


def check_extractor(fields: Mapping[str, Any], kind: type, where: str) -> None:
    """Check the fields of a ``preprocessor_config.json``; parameters, errors as above."""
    _check(fields, _EXTRACTOR, kind, where)


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of a base.

    Raises
    ------
    UnsafeFileError
        A link out of the folder, no JSON, of more than the allowed size or depth, or no mapping.
    """
    fields = read_json(check_place(path))
    if not isinstance(fields, dict):
        raise UnsafeFileError(f"{path}: expected a mapping, found {shown_value(fields)}.")
    return fields


def check_index(path: Path) -> None:
    """Check the index of weights that lie in several files of one folder.

    Raises
    ------
    UnsafeFileError
        As of :func:`read_settings`; or it does not name files of its folder, by their tensors.
    """
    index = read_settings(path)
    kinds = {"weight_map": _Map, "metadata": dict}
    for key, kind in kinds.items():
        if not fits(index.get(key), kind):
            raise UnsafeFileError(
                f"{path}: {key}: expected {words(kind)}, found {shown_value(index.get(key))}."
            )
    names = sorted(set(index["weight_map"].values()))
    if not names:
        raise UnsafeFileError(f"{path}: weight_map: expected the files of all tensors, found none.")
    for name in names:
        what = f"{path}: weight_map names {shortened(name)!r}, which"
        if not name.endswith(".safetensors"):
            raise UnsafeFileError(
                f"{what} cannot be: expected a .safetensors file; other kinds can run code and are "
                "never loaded."
            )
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise UnsafeFileError(f"{what} lies outside the folder; it is not read.")
        if not (path.parent / name).is_file():
            raise UnsafeFileError(f"{what} is not there. Save or download the base again.")


def check_files(place: Any, options: Mapping[str, Any], *names: str) -> None:
    """Check JSON files of a base where they lie on this machine.

    Parameters
    ----------
    place : str, Path or None
        Folder or Hub repository; of the latter, what the cache has.
    options : mapping
        Keywords of ``from_pretrained``.
    *names : str
        Of the files.
    """
    for name in names:
        path = _local(place, options, name)
        if path is None:
            continue
        if name == SAFE_WEIGHTS_INDEX_NAME:
            check_index(path)
        else:  # of any model; its own class checks its own keys
            fields = read_settings(path)
            common = {k: v for k, v in fields.items() if k in _COMMON or k == _OTHER_FILES}
            _check(common, _COMMON, object, str(path))


def check_base_files(place: Any, options: Mapping[str, Any]) -> None:
    """The same for what a model is loaded by; of a task's folder, transformers follows its base."""
    whole = _local(place, options, SAFE_WEIGHTS_NAME)
    check_files(place, options, CONFIG_NAME, *([] if whole else [SAFE_WEIGHTS_INDEX_NAME]))
    path = _local(place, options, _ADAPTER_NAME)
    named = read_settings(path).get("base_model_name_or_path", "") if path else ""
    if not isinstance(named, str):
        raise UnsafeFileError(
            f"{path}: base_model_name_or_path: expected text, found {shown_value(named)}."
        )


def check_extractor_files(place: Any, options: Mapping[str, Any]) -> None:
    """The same for what a feature extractor is loaded by."""
    check_files(place, options, PROCESSOR_NAME, FEATURE_EXTRACTOR_NAME)


@functools.cache
def _kinds(config: type) -> dict[str, Any]:
    """What the keys of a configuration's class are, those of all configurations among them."""
    common = {field.name for field in dataclasses.fields(PreTrainedConfig)}
    own = {field.name: field.type for field in dataclasses.fields(config)}
    return {key: kind for key, kind in own.items() if key not in common} | _COMMON


def _local(place: Any, options: Mapping[str, Any], name: str) -> Path | None:
    """A file of a base on this machine; a broken link counts, since it may lead anywhere."""
    if place is None:
        return None
    folder = Path(place) / (options.get("subfolder") or "")
    if folder.exists():
        path = folder / name
        return path if path.is_file() or path.is_symlink() else None
    revision = options.get("revision")
    where = {"cache_dir": options.get("cache_dir"),
             "revision": getattr(revision, "resolved", revision)}  # fmt: skip
    prefix = f"{options['subfolder']}/" if options.get("subfolder") else ""
    try:
        found = try_to_load_from_cache(str(place), prefix + name, **where)
    except ValueError:  # no name of a repository
        return None
    return Path(found) if isinstance(found, str) else None


def _check(fields: Mapping[str, Any], kinds: Mapping[str, Any], of: type, where: str) -> None:
    for key, value in fields.items():
        if key in _CHOICES:
            if not any(value is choice or value == choice for choice in _CHOICES[key]):
                names = [choice or "null" for choice in _CHOICES[key]]
                raise UnsafeFileError(
                    f"{where}: {key}: expected {' or '.join(names)}, found {shown_value(value)}."
                )
        elif key in kinds:
            if not fits(value, kinds[key]):
                raise UnsafeFileError(
                    f"{where}: {key}: expected {words(kinds[key])}, found {shown_value(value)}."
                )
        elif key == _OTHER_FILES or key.startswith("_") or hasattr(of, key):
            raise UnsafeFileError(
                f"{where}: expected settings, found {shortened(key)!r}, a name that the class has "
                "for itself."
            )


def _is_number(key: Any) -> bool:
    return isinstance(key, int) or (key.isascii() and key.isdigit() and len(key) <= 9)
