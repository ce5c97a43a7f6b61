"""A folder that stock ``braindecode.models.Labram.from_pretrained`` loads, and its check."""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from .._version import __version__
from ..model.channels import CHANNEL_NAMES, channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.task_card import TaskCard
from .braindecode_card import card_text
from .braindecode_layout import BraindecodeModel, to_braindecode
from .key_report import ConversionError, ConversionReport
from .made_folder import check_free, making

TOLERANCE = 1e-5
"""Largest difference of the two, in parts of the largest value, that ``differences`` allows."""
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Both forms that braindecode itself writes; OpenEEGBench reads a local file as the second."""


def write_braindecode(
    model: MteegModel,
    out: str | Path,
    task: str | None = None,
    *,
    window_s: float | None = None,
    stand_ins: bool = False,
    check: bool = False,
    overwrite: bool = False,
) -> ConversionReport:
    """Write a base, or one task merged into it, as a model of braindecode.

    Parameters
    ----------
    model : MteegModel
        Stays as it is.
    out : str or Path
        Folder to make; gets ``config.json``, the weights in the two forms that braindecode writes,
        ``conversion.json`` and a ``README.md`` that says how to load it. A README that is there
        already stays.
    task, window_s, stand_ins
        See ``modeling_mteeg.conversion.braindecode_layout.to_braindecode``.
    check : bool
        Load the folder with braindecode before it gets its name, and compare; see
        ``differences``.
    overwrite : bool
        Allow ``out`` to hold files; the ones of an older model are replaced.

    Returns
    -------
    ConversionReport
        Also saved in ``conversion.json``; the result of the check is among its notes.

    Raises
    ------
    ConversionError
        The model cannot be said in braindecode's terms, or the check found a difference. Nothing
        is written then.
    MissingBraindecodeError
        There is no braindecode to check with.
    FileExistsError
        ``out`` is a file, or holds files and ``overwrite`` is off.
    """
    out = check_free(out, overwrite)
    if check:
        labram_class()
    made = to_braindecode(model, task, window_s=window_s, stand_ins=stand_ins)
    card = model.tasks[task] if task is not None else None
    base = str(model.config._name_or_path or "")
    made.report.source |= {
        "fingerprint": model.fingerprint(),
        # Of a folder its name alone: paths of this machine are nobody's business.
        "base": (Path(base).name if Path(base).exists() else base) or None,
        "task": task,
        "package_version": __version__,
    }
    with making(out) as scratch:
        _write_files(made, card, scratch, keep_readme=(out / "README.md").exists())
        if check:
            found = differences(model, scratch, task, made.channels)
            words = ", ".join(f"{name} {value:.1e}" for name, value in found.items())
            if not max(found.values()) <= TOLERANCE:  # NaN, too
                raise ConversionError(
                    f"Expected braindecode's Labram to compute the same within {TOLERANCE:g} of "
                    f"the largest value, found {words}. Nothing was written."
                )
            made.report.notes.append(
                f"loaded by braindecode and compared, largest difference by largest value: {words}"
            )
        _write_report(made, card, scratch)
    return made.report


def _write_files(
    made: BraindecodeModel, card: TaskCard | None, folder: Path, keep_readme: bool
) -> None:
    safe, pickled = (folder / name for name in WEIGHTS)
    save_file(made.state_dict, safe, metadata={"format": "pt"})
    torch.save(made.state_dict, pickled)
    (folder / "config.json").write_text(json.dumps(made.config, indent=2) + "\n")
    if not keep_readme:
        text = card_text(made.config, card, made.channels, made.report)
        (folder / "README.md").write_text(text, encoding="utf-8")


def _write_report(made: BraindecodeModel, card: TaskCard | None, folder: Path) -> None:
    content: dict[str, Any] = made.report.to_dict() | {"ch_names": made.channels}
    if card is not None:
        content["task"] = card.to_dict()
    (folder / "conversion.json").write_text(json.dumps(content, indent=2) + "\n")


class MissingBraindecodeError(ImportError, ValueError):
    """braindecode is not installed, or cannot be imported."""


def labram_class() -> Any:
    """braindecode's ``Labram``.

    Raises
    ------
    MissingBraindecodeError
        The package is not there or cannot be imported, with the reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from braindecode.models import Labram
    except (ImportError, OSError) as error:
        raise MissingBraindecodeError(
            f"--check compares with braindecode, which cannot be imported here ({error}). pip "
            "install 'modeling-mteeg[braindecode]' (where torch is a CPU build, torchaudio must "
            "be one, too), or leave --check out: what is written is the same."
        ) from error
    return Labram


@torch.no_grad()
def differences(
    model: MteegModel, folder: str | Path, task: str | None, channels: dict[str, str]
) -> dict[str, float]:
    """How far braindecode's ``Labram`` of a folder is from the model, in single precision.

    Parameters
    ----------
    model : MteegModel
        The base, or what holds the task; its adapter is not merged here.
    folder : str or Path
        Given to ``Labram.from_pretrained``.
    task : str or None
    channels : dict of str to str
        Of a task, see :class:`BraindecodeModel`; of a base 23 of the table are taken.

    Returns
    -------
    dict of str to float
        Largest absolute difference by the largest absolute value, on noise of 30 microvolt in three
        windows: ``tokens`` (every patch token after ``fc_norm``), ``features`` (their normalised
        mean), and of a task ``logits``.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):
        warnings.simplefilter("ignore")
        labram = labram_class().from_pretrained(str(folder)).eval()
    names = dict(channels) or dict(zip(*[CHANNEL_NAMES[::5][:23]] * 2, strict=True))
    rule = model.tasks[task].bipolar if task is not None else "mean"
    ids = torch.from_numpy(channel_ids(list(names), rule))
    noise = torch.randn(3, len(names), labram.n_times, generator=torch.Generator().manual_seed(0))
    signal, given = 0.3 * noise, list(names.values())
    own = copy.deepcopy(model).to(device="cpu", dtype=torch.float32).eval()
    own.set_adapter(task)  # None: the base alone
    out = own(input_values=signal.unflatten(2, (-1, own.config.patch_size)), channel_ids=ids)
    expected = {
        "tokens": own.fc_norm(out.last_hidden_state[:, 1:]),
        "features": out.pooler_output,
        **({} if task is None else {"logits": out.logits}),
    }
    rows = torch.tensor([0, *(1 + CHANNEL_NAMES.index(name) for name in given)])
    found = {
        "tokens": labram(signal, ch_names=given, return_features=True)["features"],
        "features": labram.forward_features(signal, rows),
        "logits": labram(signal, ch_names=given),
    }
    return {name: _difference(value, found[name]) for name, value in expected.items()}


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())
