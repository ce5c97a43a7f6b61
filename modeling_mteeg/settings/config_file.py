"""A configuration as a YAML file: read, overridden by dotted keys, written."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .schema import ConfigError, yaml_loader


class SavedConfig:
    """A frozen dataclass that is written as YAML."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as in the YAML file."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def save(self, path: str | Path) -> None:
        """Write the configuration as YAML, whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), "utf-8")
        os.replace(part, path)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{name}.") if nested else {name: value}
    return flat


def read_tree(path: str | Path) -> tuple[Any, list[str]]:
    """Content of a YAML file, and the faults of its form (keys that stand twice).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ConfigError
        It is not YAML.
    """
    path = Path(path)
    if not path.is_file():
        files = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise FileNotFoundError(f"No configuration {path}; in that folder: {files or 'none'}.")
    duplicates: list[str] = []
    try:
        tree = yaml.load(path.read_text("utf-8"), Loader=yaml_loader(duplicates))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"not readable as YAML: {error}"]) from error
    return ({} if tree is None else tree), duplicates


def put_over(tree: Any, overrides: Mapping[str, Any] | None, source: str) -> dict[str, Any]:
    """A copy of ``tree`` with dotted keys, such as ``data.tasks``, put over it.

    Raises
    ------
    ConfigError
        ``tree`` is no mapping.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(source, [f"expected keys and values, found {type(tree).__name__}"])
    tree = json.loads(json.dumps(tree, default=str))
    for key, value in (overrides or {}).items():
        _put(tree, key.split("."), value)
    return tree


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    tree[keys[-1]] = value
