"""What a pickle says, as plain values: nothing that it names is called, imported or made.

A pickle is a program for a machine with a stack. This is such a machine for the few instructions by
which ``torch.save`` writes plain values and tensors. A call of a function stays what it is in the
file, a name and its arguments (:class:`Inert`); a tensor stays a claim (:class:`TensorClaim`), to
be compared with the numbers that the file has. So memory and time are bounded by the file's length.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_PICKLE_BYTES = 64 * 2**20
"""A checkpoint of LaBraM-Huge with its optimizer has about 1 MB beside the numbers."""
MAX_INSTRUCTIONS = 1_000_000
"""The same has about 100,000."""

_PUSHED = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_KEYS = (str, int, float, bool, bytes, type(None))  # of a dict; hashing others may take for ever
_NOTHING = ("PROTO", "FRAME")


@dataclass(slots=True)
class Inert:
    """An object of another library: what the file says of it; it does nothing."""

    name: str
    args: Any = ()
    state: Any = None


@dataclass(frozen=True, slots=True)
class Named:
    """A function or class that the file names."""

    name: str


@dataclass(frozen=True, slots=True)
class StorageClaim:
    """A run of numbers, as the pickle describes it; nothing is checked yet.

    Parameters
    ----------
    kind : str
        Such as ``torch.FloatStorage``.
    key : object
        By which the file has it.
    numel : object
        Numbers in it.
    view : tuple or None
        Key, first number and number of numbers of the part that is meant; None: all.
    """

    kind: str
    key: Any
    numel: Any
    view: Any = None


@dataclass(frozen=True, slots=True)
class TensorClaim:
    """A tensor, as the pickle describes it; nothing is checked yet.

    Parameters
    ----------
    storage : StorageClaim
    offset, shape, strides : object
        In numbers of the storage.
    dtype : str or None
        Such as ``torch.float8_e5m2``, where the storage does not tell.
    """

    storage: StorageClaim
    offset: Any
    shape: Any
    strides: Any
    dtype: str | None = None


class PickleReader:
    """Reads pickles, one after another.

    Attributes
    ----------
    names : set of str
        ``module.name`` of all that they name.
    storages : dict
        The first claim on every storage, by key.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.storages: dict[str, StorageClaim] = {}
        self._done = 0

    def read(self, file: BinaryIO) -> Any:
        """What the next pickle says.

        Parameters
        ----------
        file : binary file
            In memory, so that a length in it cannot ask for more than there is; read up to the
            pickle's end.

        Raises
        ------
        ValueError
            Damaged, longer than :data:`MAX_INSTRUCTIONS`, or of instructions that neither plain
            values nor tensors need.
        """
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        try:
            for opcode, argument, _ in pickletools.genops(file):
                self._count(1)
                self._step(opcode.name, argument)
            return self._stack.pop()
        except (IndexError, KeyError) as error:  # of the stack and the memo
            raise ValueError("an instruction refers to something that is not there") from error

    def _count(self, done: int) -> None:
        self._done += done
        if self._done > MAX_INSTRUCTIONS:
            raise ValueError(f"expected at most {MAX_INSTRUCTIONS:,} instructions, found more")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name != "STOP" and name not in _NOTHING:
            raise ValueError(f"an instruction that neither values nor tensors need, {name}")

    def _to_mark(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _tuple(self, _: Any) -> None:
        items = self._to_mark()
        self._stack.append(tuple(items))

    def _last(self, number: int) -> None:
        if len(self._stack) < number:
            raise IndexError
        self._stack[-number:] = [tuple(self._stack[-number:])]

    def _append(self, items: list[Any]) -> None:
        into = self._stack[-1]
        if type(into) is not list:
            raise ValueError(f"appends to a {type(into).__name__}")
        into.extend(items)

    def _set(self, items: list[Any]) -> None:
        _fill(self._stack[-1], items)

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[place])

    def _put(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self._stack[-1]

    def _global(self, name: str) -> None:
        self.names.add(name)
        self._stack.append(Named(name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a name that is no text")
        self._global(f"{module}.{name}")

    def _call(self, _: Any) -> None:
        args, called = self._stack.pop(), self._stack.pop()
        if type(called) is not Named or type(args) is not tuple:
            raise ValueError("calls something that is no function")
        if called.name == "collections.OrderedDict":
            self._stack.append(self._ordered(*args[:1]))
        else:
            self._stack.append(_described(called.name, args))

    def _ordered(self, pairs: Any = None) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        if type(pairs) is list:
            self._count(len(pairs))  # one list may be given to many calls
            for pair in pairs:
                if type(pair) not in (list, tuple) or len(pair) != 2:
                    raise ValueError("an ordered dict of what are no pairs")
                _fill(mapping, list(pair))
        return mapping

    def _build(self, _: Any) -> None:
        state, built = self._stack.pop(), self._stack[-1]
        if type(built) is Inert:
            built.state = state
        elif type(built) not in (dict, TensorClaim):  # of an OrderedDict, say: its metadata
            raise ValueError(f"sets the state of a {type(built).__name__}")

    def _persistent(self, _: Any) -> None:
        said = self._stack.pop()
        if type(said) is not tuple or not 5 <= len(said) <= 6 or said[0] != "storage":
            raise ValueError("an object that lies outside of the pickle and is no storage")
        _, kind, key, _device, numel, *view = said
        if type(kind) is not Named or type(key) is not str:
            raise ValueError("a storage without a type or a key")
        claim = StorageClaim(kind.name, key, numel, *view)
        self.storages.setdefault(key, claim)
        self._stack.append(claim)

    def _unordered(self, items: list[Any]) -> None:
        """A set; its members are not hashed."""
        self._stack.append(Inert("builtins.set", tuple(items)))


def _fill(mapping: Any, items: list[Any]) -> None:
    """Put keys and values, alternating, into a dict."""
    if type(mapping) is not dict or len(items) % 2:
        raise ValueError("sets items of what is no dict, or a key without a value")
    for key in items[::2]:
        if type(key) not in _KEYS:
            raise ValueError(f"a dict with a {type(key).__name__} for a key")
    mapping.update(zip(items[::2], items[1::2], strict=True))


def _described(name: str, args: tuple[Any, ...]) -> Any:
    """What a call with these arguments stands for."""
    if name == "torch._utils._rebuild_parameter" and args and type(args[0]) is TensorClaim:
        return args[0]
    if name.startswith("torch._utils._rebuild_tensor"):
        if len(args) < 4 or type(args[0]) is not StorageClaim:
            raise ValueError("a tensor without a storage")
        kind = args[6].name if name.endswith("_v3") and type(args[6]) is Named else None
        return TensorClaim(*args[:4], kind)
    return Inert(name, args)


_STEPS: dict[str, Callable[[PickleReader, Any], None]] = {
    "MARK": PickleReader._mark,
    "TUPLE": PickleReader._tuple,
    "TUPLE1": lambda reader, _: reader._last(1),
    "TUPLE2": lambda reader, _: reader._last(2),
    "TUPLE3": lambda reader, _: reader._last(3),
    "EMPTY_LIST": lambda reader, _: reader._stack.append([]),
    "EMPTY_DICT": lambda reader, _: reader._stack.append({}),
    "EMPTY_SET": lambda reader, _: reader._unordered([]),
    "APPEND": lambda reader, _: reader._append([reader._stack.pop()]),
    "APPENDS": lambda reader, _: reader._append(reader._to_mark()),
    "SETITEM": lambda reader, _: reader._set([reader._stack.pop(), reader._stack.pop()][::-1]),
    "SETITEMS": lambda reader, _: reader._set(reader._to_mark()),
    "ADDITEMS": lambda reader, _: reader._to_mark() and None,
    "FROZENSET": lambda reader, _: reader._unordered(reader._to_mark()),
    "BINGET": PickleReader._get,
    "LONG_BINGET": PickleReader._get,
    "BINPUT": PickleReader._put,
    "LONG_BINPUT": PickleReader._put,
    "MEMOIZE": PickleReader._put,
    "GLOBAL": lambda reader, name: reader._global(name.replace(" ", ".", 1)),
    "STACK_GLOBAL": PickleReader._stack_global,
    "REDUCE": PickleReader._call,
    "NEWOBJ": PickleReader._call,
    "BUILD": PickleReader._build,
    "BINPERSID": PickleReader._persistent,
}
