"""How every command ends: by its work, by a signal or by a full disk, in a sentence and a code.

``0`` done; ``1`` and ``2`` an error, which is said; ``130`` Ctrl-C, ``143`` SIGTERM, ``129`` a
terminal that was closed. All main functions run inside :func:`ended`, or are a :func:`command`. The
package imports this module before everything else, so that Ctrl-C while torch is imported ends a
command in a sentence, too; in any other program nothing happens here until a main function is
called.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from ._clone import CLONE, PACKAGE
from ._shown_text import aloud, hushed, show_streams
from ._waiting import choose_waiting
from .settings.disk_faults import disk_fault, of_the_disk

T = TypeVar("T")
_WORDS = {
    "SIGINT": "interrupted",
    "SIGTERM": "ended by SIGTERM",
    "SIGHUP": "ended by SIGHUP (its terminal was closed)",
}
_SIGNALS = tuple(getattr(signal, name) for name in _WORDS if hasattr(signal, name))
_PLACES = {
    *(PACKAGE / place for place in ("", "app/space")),
    *((CLONE or PACKAGE) / place for place in ("recipes", "recipes/benchmarks", "dataset_scripts",
                                               "dataset_scripts/unlabelled")),
}  # fmt: skip
"""Folders whose files are commands."""
_PACKAGES = ("modeling_mteeg.", "dataset_scripts.")
_TRAININGS = ("joint", "pretrain", "pretrain_tokenizer")
"""Recipes of which ``_waiting.py`` chooses how threads wait."""
_LAUNCHERS = {"accelerate", "accelerate-launch", "torchrun",
              "accelerate.commands.launch", "torch.distributed.run"}  # fmt: skip
TRAIN_PACKAGES = frozenset(
    ("accelerate", "aiohttp", "datasets", "edfio", "evaluate", "fsspec", "psutil", "sklearn")
)
"""What the extra ``train`` brings, as it is imported."""
_PATIENCE_S = 5.0
"""How long threads may hold up the end of a command that was interrupted."""
_MOMENT_S = 0.02
"""Until a signal that was lost is sent again: a destructor has ended by then."""
_received: list[int] = []
"""Signals that came."""
_stacks: list[contextlib.ExitStack] = []
"""Of the main functions at work (one may call another): what ends with them."""


class Ended(KeyboardInterrupt):
    """A signal came; ``number`` says which. What catches Ctrl-C catches this."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def command(
    kept: str = "", errors: tuple[type[Exception], ...] = (), code: int = 1
) -> Callable[[Callable[..., Any]], Callable[..., int]]:
    """Make a main function end as :func:`ended` says."""

    def decorate(main: Callable[..., Any]) -> Callable[..., int]:
        @functools.wraps(main)
        def run(*arguments: Any, **options: Any) -> int:
            return ended(lambda: main(*arguments, **options), kept, errors=errors, code=code)

        return run

    return decorate


def ended(
    run: Callable[[], int | None],
    kept: str = "",
    name: str = "",
    errors: tuple[type[Exception], ...] = (),
    code: int = 1,
) -> int:
    """Run a command; signals, disks and known errors end it in a sentence on stderr.

    Parameters
    ----------
    run : callable
        Gives the exit code, or None for 0.
    kept : str
        What an interrupted run leaves and how to go on, as the end of a sentence.
    name : str
        Of the command, said before an error.
    errors : tuple of exception types
        Whose message is for the user, and ``code`` theirs; others are faults of the program and
        propagate.

    Returns
    -------
    int
        The exit code.
    """
    with _watched():
        try:
            status = run() or 0
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            return status
        except SystemExit:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or _received:
                return _interrupted(error, kept, name)
            if isinstance(error, errors):
                return told(error, code, name, kept)
            if missing := missing_package(error):
                return told(ImportError(missing), code, name)
            if isinstance(error, Exception) and disk_fault(error):
                return told(error, 1, name, kept)
            raise


def told(error: BaseException, code: int, name: str = "", kept: str = "") -> int:
    """Say an error on stderr; returns the exit code: 1 where a disk is at fault, else ``code``."""
    text = disk_fault(error)
    if text is None:
        text = str(error)
    elif of_the_disk(error):
        text, code = f"{text} {kept[:1].upper()}{kept[1:]}{'.' if kept else ''}".rstrip(), 1
    say_error(f"{name}: error: {text}" if name else f"error: {text}")
    return code


def missing_package(error: BaseException) -> str:
    """The sentence for a package of the extra ``train`` that is not installed; or none."""
    package = (getattr(error, "name", "") or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in TRAIN_PACKAGES:
        return ""
    return f"this needs {package}, which is not installed: pip install 'modeling-mteeg[train]'."


def _interrupted(error: BaseException, kept: str, name: str) -> int:
    """Say which signal it was, and what is kept; returns the exit code."""
    number = getattr(error, "number", _received[-1] if _received else signal.SIGINT)
    text = _WORDS[signal.Signals(number).name]
    text = f"{name}: {text}" if name else text
    if not _is_inner():
        say_error(f"{text}: {kept}." if kept else f"{text}.")
    return 128 + number


def say_error(text: str) -> None:
    """A line of its own on stderr, also behind an unfinished bar, and after ``--quiet``."""
    begin = "" if getattr(sys.stderr, "fresh", True) else "\n"
    with contextlib.suppress(OSError), aloud(sys.stderr):  # of stderr itself: nobody can be told
        print(begin + text, file=sys.stderr, flush=True)


def hush(quiet: bool, printed: bool = False) -> None:
    """Let the running main function write nothing but errors from here on, if ``quiet``.

    Lines, bars and warnings go nowhere; what makes an answer doubtful stands in the files beside
    it. Tracebacks and :func:`say_error` are heard.

    Parameters
    ----------
    quiet : bool
        As ``--quiet`` says.
    printed : bool
        Whether standard output is the command's product, which is left.
    """
    if quiet:
        until_end(hushed([sys.stderr] if printed else [sys.stdout, sys.stderr]))


def _is_inner() -> bool:
    """Whether another process speaks for this one: the first of a launch, or a benchmark."""
    return os.environ.get("RANK", "0") != "0" or Path(sys.argv[0]).parent.name == "benchmarks"


def until_end(manager: contextlib.AbstractContextManager[T]) -> T:
    """Enter what is to be held, such as a lock, until the running main function ends."""
    return _stacks[-1].enter_context(manager)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """Signals raise :class:`Ended`, and streams are shown."""
    handlers: dict[int, Any] = {}
    hook = sys.unraisablehook
    if not _stacks:
        _received.clear()
        handlers = _catch()
        sys.unraisablehook = _unraisable
    streams = show_streams()
    try:
        with contextlib.ExitStack() as stack:
            _stacks.append(stack)
            yield
    finally:
        _stacks.pop()
        if _received and not _stacks and is_command():
            _leave_soon(128 + _received[-1])
        else:
            sys.stdout, sys.stderr = streams
            sys.unraisablehook = hook
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _catch() -> dict[int, Any]:
    """Let signals raise, but those that are ignored (nohup) or another's; returns who had them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    had = {number: signal.getsignal(number) for number in _SIGNALS}
    plain = (signal.SIG_DFL, signal.default_int_handler)
    return {number: signal.signal(number, _raise) for number in had if had[number] in plain}


def _raise(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise Ended(number)


def _leave_soon(code: int) -> None:
    """End the process at the next signal or in some seconds, whatever its threads do."""

    def leave() -> None:
        time.sleep(_PATIENCE_S)
        os._exit(code)

    for number in _SIGNALS:
        signal.signal(number, lambda *_: os._exit(code))
    threading.Thread(target=leave, daemon=True).start()


def is_command() -> bool:
    """Whether this process was started as one of the package's commands; not a child of one."""
    if parent_process() is not None or not sys.argv:
        return False
    if sys.argv[0] == "-m":
        return _module().startswith(_PACKAGES)
    program = Path(sys.argv[0])
    if program.name == "mteeg_command.py":
        return True
    if program.suffix != ".py":
        return program.stem == "mteeg"
    return program.resolve().parent in _PLACES


def _module() -> str:
    """What ``python -m`` is about to run, while the package that it is in is imported; or none."""
    words = sys.orig_argv
    return words[words.index("-m") + 1] if sys.argv and sys.argv[0] == "-m" else ""


def _trains() -> bool:
    """Whether this command, of which :func:`is_command` is true, is a training."""
    package, _, module = _module().rpartition(".")
    if module:
        return package == "modeling_mteeg.recipes" and module in _TRAININGS
    program = Path(sys.argv[0]).resolve()
    return program.parent.name == "recipes" and program.stem in _TRAININGS


def watch() -> None:
    """In a command: let signals end it in a sentence before its main function runs, too."""
    if not is_command():
        return
    if _trains():  # before torch is imported
        choose_waiting()
    # Colours of Python's own help and tracebacks are control characters like any others.
    os.environ.setdefault("PYTHON_COLORS", "0")
    show_streams()
    sys.excepthook, sys.unraisablehook = _uncaught, _unraisable
    _catch()
    _end_with_launcher()


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """At the top of a command: a signal or a lacking package while modules were imported, or a
    fault of the program.
    """
    if isinstance(error, KeyboardInterrupt):
        os._exit(_interrupted(error, "nothing was begun", ""))
    if missing := missing_package(error):
        say_error(f"error: {missing}")
    else:
        sys.__excepthook__(kind, error, trace)


def _unraisable(fault: Any) -> None:
    """A signal that came where Python cannot raise (in ``__del__``) is delivered once more."""
    if isinstance(fault.exc_value, KeyboardInterrupt):
        deliver_again(getattr(fault.exc_value, "number", signal.SIGINT))
    else:
        sys.__unraisablehook__(fault)


def deliver_again(number: int) -> None:
    """Send a signal to the main thread in a moment: what a hook itself raises would be lost, too.

    Parameters
    ----------
    number : int
        Of the signal.
    """
    send: Callable[..., None] = signal.raise_signal
    if hasattr(signal, "pthread_kill"):  # wakes the thread where it waits for the system
        send = functools.partial(signal.pthread_kill, threading.main_thread().ident)
    again = threading.Timer(_MOMENT_S, send, (number,))
    again.daemon = True
    again.start()


def _end_with_launcher() -> None:
    """Let the system send SIGTERM when the launcher ends: ``accelerate launch`` passes none on."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    try:
        words = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")[:4]
    except OSError:
        return
    if _LAUNCHERS & {Path(os.fsdecode(word)).name for word in words}:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended in this very moment
            os.kill(os.getpid(), signal.SIGTERM)


watch()
