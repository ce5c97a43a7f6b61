"""The table of methods: by name, and by the prefix of a family."""

from __future__ import annotations

import difflib

from ..settings.schema import nearest
from .method import Method


class MethodTable(dict[str, type[Method]]):
    """Methods by name. ``prefix:member`` is looked up in its family, and not listed."""

    def fault(self, name: str) -> str | None:
        """Why there is no such method, with the nearest names; None: there is."""
        if name in self.keys():
            return None
        prefix, colon, member = name.partition(":")
        family = Method.families.get(prefix)
        if not colon or family is None:
            families = "".join(f", {prefix}:NAME" for prefix in sorted(Method.families))
            near = nearest(name, self) if difflib.get_close_matches(name, self, 1) else ""
            return f"expected one of {', '.join(self)}{families}, found {name!r}{near}"
        try:
            family.member(member)
        except LookupError as error:
            return str(error.args[0])
        return None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.fault(name) is None

    def __missing__(self, name: str) -> type[Method]:
        fault = self.fault(name)
        if fault:
            raise KeyError(fault)
        prefix, _, member = name.partition(":")
        return Method.families[prefix].member(member)
