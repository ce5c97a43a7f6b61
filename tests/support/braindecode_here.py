"""braindecode where it is installed, without the torchaudio that its Labram never uses."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types
import warnings
from typing import Any, NoReturn

import pytest
import torch


class _Placeholder(types.ModuleType):
    """Gives an empty module class for every name that is asked for."""

    __path__ = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (torch.nn.Module,), {})


def _absent(reason: str) -> NoReturn:
    if "braindecode" in os.environ.get("MTEEG_REQUIRED", "").split(","):
        pytest.fail(reason)
    pytest.skip(reason)


def labram_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    """braindecode's Labram; where there is none the test is skipped.

    With ``braindecode`` in the environment's ``MTEEG_REQUIRED`` it fails instead. torchaudio's
    binary fails to load beside another build of torch; placeholders stand in then.
    """
    if importlib.util.find_spec("braindecode") is None:
        _absent("braindecode is not installed")
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms"):
            module = _Placeholder(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            monkeypatch.setitem(sys.modules, name, module)
            if "." in name:
                setattr(sys.modules["torchaudio"], name.partition(".")[2], module)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("braindecode.models").Labram
    except ImportError as error:
        _absent(f"braindecode does not import here: {error}")
