"""A configuration as a YAML file: read, overridden by dotted keys, written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from .plain_json import write_text
from .schema import ConfigError, later_at_default, read_section, yaml_loader


class SavedConfig:
    """A frozen dataclass that is read from YAML, checked as a whole, and written as YAML."""

    OUTSIDE: ClassVar[tuple[str, ...]] = ()
    """Beginnings of dotted keys that do not decide what comes out."""

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> Self:
        """Read a YAML file, put ``overrides`` over it, and check everything at once.

        Parameters
        ----------
        path : str or Path
        overrides : mapping of str to value
            Dotted keys, such as ``{"data.tasks": ["tuab"]}``; they win over the file.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ConfigError
            Not YAML, unknown keys, wrong types, wrong values, or values that contradict each other:
            all of them in one error.
        """
        tree, duplicates = read_tree(path)
        source = f"{path} and the command line" if overrides else str(path)
        return cls.build(tree, overrides, source, duplicates)

    @classmethod
    def build(
        cls,
        tree: Any,
        overrides: Mapping[str, Any] | None = None,
        source: str = "configuration",
        faults: Sequence[str] = (),
    ) -> Self:
        """Check a nested mapping and make the configuration of it; see :meth:`load`."""
        faults = list(faults)
        tree = put_over(tree, overrides, source)
        config = read_section(cls, tree, "", faults)
        config.check_names(tree, faults)
        if not faults:
            config.check_together(faults)
        if faults:
            raise ConfigError(source, faults)
        return config

    def check_names(self, tree: Mapping[str, Any], faults: list[str]) -> None:
        """Note names that are unknown, as they stand in the file's ``tree``."""

    def check_together(self, faults: list[str]) -> None:
        """Note values that are right alone and wrong together."""

    def identity(self) -> dict[str, Any]:
        """The keys that decide the trained numbers, flat: a checkpoint belongs to these.

        Fields that earlier versions did not have are left out where they have their default.
        """
        flat, new = flatten(self.to_dict()), set(later_at_default(self))
        return {k: v for k, v in flat.items() if not k.startswith(self.OUTSIDE) and k not in new}

    def to_dict(self) -> dict[str, Any]:
        """Plain types only, as in the YAML file."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_yaml(self) -> str:
        """Every key with its value, as a file that :meth:`load` reads."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    def save(self, path: str | Path) -> None:
        """Write the configuration as YAML, whole or not at all."""
        write_text(path, self.to_yaml())


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; empty mappings stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and value
        flat |= flatten(value, f"{name}.") if nested else {name: value}
    return flat


def read_overrides(words: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words of a command line as dotted keys and the values that YAML makes of them.

    Raises
    ------
    ConfigError
        A word without an equals sign.
    """
    overrides: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError("--set", [f"{word!r}: expected KEY=VALUE"])
        overrides[key] = yaml.load(value, Loader=yaml_loader([]))
    return overrides


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
        beside = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise FileNotFoundError(f"No configuration {path}; in that folder: {beside or 'none'}.")
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
    for name, value in (overrides or {}).items():
        *sections, key = name.split(".")
        place = tree
        for section in sections:
            if not isinstance(place.get(section), dict):
                place[section] = {}
            place = place[section]
        place[key] = value
    return tree
