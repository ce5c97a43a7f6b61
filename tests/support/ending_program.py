"""A command without the package's heavy imports: ``python ending_program.py WHAT [FOLDER]``."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
package = types.ModuleType("modeling_mteeg")  # its __init__ imports torch
package.__path__ = [str(ROOT / "modeling_mteeg")]
sys.modules["modeling_mteeg"] = package

from modeling_mteeg import _ending  # noqa: E402
from modeling_mteeg.settings.folder_lock import held, held_each  # noqa: E402
from modeling_mteeg.settings.plain_json import write_text  # noqa: E402

NAME = "a\x1b[31mb\x9b\u202ec\r\udcff\td"
"""What a foreign file may be called."""


def wait() -> None:
    try:
        print("begun", flush=True)
        time.sleep(30)
    finally:
        print("cleaned", flush=True)


def destructor(number: str) -> None:
    """The signal comes where Python cannot raise; nobody sends another one."""

    class Sends:
        def __del__(self) -> None:
            os.kill(os.getpid(), int(number))  # raises in here

    sends = Sends()
    try:
        del sends
        time.sleep(30)
    finally:
        print("cleaned", flush=True)


def lines() -> None:
    for number in range(20_000):
        print("line", number)
    print("all was done", file=sys.stderr)


def threads() -> None:
    threading.Thread(target=time.sleep, args=(60,)).start()
    wait()


def foreign() -> None:
    import warnings

    from tqdm import tqdm

    print(NAME)
    warnings.warn(NAME, stacklevel=1)
    for _ in tqdm(range(2), desc=NAME):
        tqdm.write(NAME)
    raise ValueError(NAME)


def fault() -> None:
    raise RuntimeError(NAME)


def fill(folder: str) -> None:
    write_text(Path(folder) / "results.json", "x" * 2**22)


def hold(lock: str, each: str, *names: str) -> None:
    with held(lock) as mine, held_each(each, names):
        print("mine" if mine else "another's", flush=True)
        time.sleep(30)


@_ending.command("the same command goes on", errors=(ValueError,))
def main(what: str, *arguments: str) -> None:
    globals()[what](*arguments)


if __name__ == "__main__":
    _ending._PATIENCE_S = 0.2
    if os.environ.get("AS_COMMAND"):
        _ending.is_command = lambda: True
        _ending.watch()
    sys.exit(main(*sys.argv[1:]))
