"""Reading a YAML file into dataclasses: every unknown key and wrong value noted, none forgiven."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

ABSENT = object()


class ConfigError(ValueError):
    """Everything that is wrong with a configuration, one fault a line in ``faults``."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault" + ("s" if len(self.faults) != 1 else "")
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"{source}: {count} in the configuration:{lines}")


def setting(default: Any, check: str | None = None, later: bool = False) -> Any:
    """A field with its default and the rule its value must obey.

    ``check`` is a comparison (``"> 0"``, ``">= 0, < 1"``) that numbers, and every number of a
    list, must pass, or the allowed words separated by ``|``. A field that did not exist in an
    earlier version is a ``later`` one: at its default it is no part of a training's identity, so
    that checkpoints of before go on. A mutable default is copied for every instance.
    """
    metadata = {"check": check, "later": later}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def later_at_default(section: Any, where: str = "") -> Iterator[str]:
    """Dotted names of a section's ``later`` fields that have their default, sections in it too."""
    if isinstance(section, Mapping):
        for key, part in section.items():
            yield from later_at_default(part, _join(where, key))
    elif dataclasses.is_dataclass(section):
        for field in dataclasses.fields(section):
            name, value = _join(where, field.name), getattr(section, field.name)
            empty = field.default_factory is not dataclasses.MISSING and not value
            if field.metadata.get("later") and (empty or value == field.default):
                yield name
            else:
                yield from later_at_default(value, name)


def read_section(cls: type, tree: Any, where: str, faults: list[str]) -> Any:
    """One dataclass from one mapping; a faulty field gets its default and a line in ``faults``."""
    if not isinstance(tree, Mapping):
        faults.append(f"{where}: expected keys and values, found {tree!r}")
        return cls()
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in tree:
        if key not in fields:
            faults.append(f"{_join(where, key)}: unknown key{nearest(key, fields)}")
    hints, values, before = typing.get_type_hints(cls), {}, len(faults)
    for name, field in fields.items():
        if name in tree:
            value = _read_value(
                hints[name], tree[name], field.metadata.get("check"), _join(where, name), faults
            )
            if value is not ABSENT:
                values[name] = value
    try:
        return cls(**values)
    except ValueError as error:  # values that are right alone and wrong together
        if len(faults) == before:  # else perhaps a value and the default of a faulty one
            faults.append(f"{where}: {error}")
        return cls()


def _read_value(hint: Any, value: Any, check: str | None, where: str, faults: list[str]) -> Any:
    """``value`` in the type ``hint``, or ``ABSENT`` after noting what is wrong with it."""
    if hint is Any:  # whose it is checks it
        return value
    if dataclasses.is_dataclass(hint):
        return read_section(hint, value, where, faults)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in inner:
            return None
        kinds = [part for part in inner if part is not types.NoneType]
        by_key = [part for part in kinds if typing.get_origin(part) is dict]
        hint = by_key[0] if by_key and isinstance(value, Mapping) else kinds[0]
        return _read_value(hint, value, check, where, faults)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            faults.append(f"{where}: expected a list, found {value!r}")
            return ABSENT
        parts = [
            _read_value(inner[0], part, check, f"{where}[{i}]", faults)
            for i, part in enumerate(value)
        ]
        return ABSENT if ABSENT in parts else tuple(parts)
    if origin is dict:
        if not isinstance(value, Mapping):
            faults.append(f"{where}: expected keys and values, found {value!r}")
            return ABSENT
        parts = {
            key: _read_value(inner[1], part, check, f"{where}.{key}", faults)
            for key, part in value.items()
        }
        return ABSENT if any(part is ABSENT for part in parts.values()) else parts
    return _read_plain(hint, value, check, where, faults)


def _read_plain(hint: type, value: Any, check: str | None, where: str, faults: list[str]) -> Any:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    right = isinstance(value, (int, float) if hint is float else hint)
    if not right or (isinstance(value, bool) and hint is not bool):
        faults.append(f"{where}: expected {words[hint]}, found {value!r}")
        return ABSENT
    if check is not None and not _passes(value, check):
        if hint is str:
            near = nearest(value, check.split("|"))
            faults.append(f"{where}: expected one of {check.replace('|', ', ')}, "
                          f"found {value!r}{near}")  # fmt: skip
        else:
            faults.append(f"{where}: expected a number {check.replace(',', ' and')}, found {value}")
        return ABSENT
    return float(value) if hint is float else value


def _passes(value: Any, check: str) -> bool:
    if isinstance(value, str):
        return value in check.split("|")
    compare = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
               "<": lambda a, b: a < b, "<=": lambda a, b: a <= b}  # fmt: skip
    parts = (part.split() for part in check.split(","))
    return all(compare[sign](value, float(bound)) for sign, bound in parts) and value < float("inf")


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def nearest(key: object, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


def yaml_loader(duplicates: list[str]) -> type[yaml.SafeLoader]:
    """A safe YAML loader with the plain words of YAML 1.2, which notes keys given twice.

    PyYAML follows YAML 1.1, where ``no`` is false and ``5e-4`` is text: both occur here.
    """

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: typing.ClassVar[dict] = {}

    number = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan"
    for tag, pattern, first in (
        ("bool", "true|True|false|False", "tTfF"),
        ("int", "[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", number, "-+.0123456789"),
        ("null", "null|~|", ["n", "~", ""]),
    ):
        regex = re.compile(f"^(?:{pattern})$")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", regex, list(first))

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        for key in dict.fromkeys(map(str, keys)):
            if [str(other) for other in keys].count(key) > 1:
                line = node.start_mark.line + 1
                duplicates.append(f"{key}: stands twice in the block that begins at line {line}")
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader
