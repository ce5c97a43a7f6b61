"""One new task on a base as a plain network, for the training loops of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..model.channels import channel_ids
from ..model.modeling_mteeg import MteegModel
from ..model.signal_checks import amplitude_uv, check_unit, unit_factor
from ..prediction.task_loading import load_tasks


class EEGTaskModule(nn.Module):
    """Windows (batch, channels, samples) to logits (batch, classes), by a new task on a base.

    For loops that take a module and a loss of its logits, such as skorch,
    ``braindecode.EEGClassifier`` or one of your own. What is trained is as of ``add_adapter``: the
    new adapter and head, and the temporal encoder. The module takes the signal as it is: filter
    and resample recordings before (``docs/embeddings.md``).

    Parameters
    ----------
    base : str, pathlib.Path or MteegModel
        Folder or Hub id of a base; or a model, which gets the task.
    channels : sequence of str, optional
        Names of the rows. Default: those of ``chs_info``.
    n_outputs : int, optional
        Number of classes. Default: that of ``labels``.
    n_times : int
        Samples of a window: whole seconds; one more, as of MNE's epochs, is left out.
    sfreq : float
        Rate of the windows, which must be given and be the model's.
    n_chans : int, optional
        Checked against ``channels``.
    chs_info : sequence of mapping, optional
        Channels as of ``mne.Info["chs"]``.
    labels : sequence of str, optional
        Class names, for the task's card. Default: ``0``, ``1`` ...
    unit : {"uV", "mV", "V"}
        Unit of the numbers. MNE's objects give volt; braindecode makes microvolt of its Epochs.
    name : str
        Of the task.
    everything : bool
        Train all parameters of the backbone, too.
    adapter : mapping, optional
        More keywords of :meth:`~modeling_mteeg.MteegModel.add_adapter`, such as
        ``{"rank": 4, "head": "channels"}``.

    Attributes
    ----------
    model : MteegModel
        ``model.save_adapter(name, folder)`` saves what was trained, and where the temporal encoder
        was, ``model.save_pretrained(folder)`` the base that it then belongs to.

    Raises
    ------
    UnknownChannelError, ValueError
        Another rate, a window of no whole seconds, unknown channels, or numbers that contradict
        each other. The first windows raise ``SignalError`` where they cannot be EEG in ``unit``.

    Notes
    -----
    The names of the parameters that describe the signal are braindecode's, which passes them.
    Two classes have two logits here, for cross-entropy.
    """

    def __init__(
        self,
        base: str | Path | MteegModel,
        channels: Sequence[str] | None = None,
        n_outputs: int | None = None,
        n_times: int | None = None,
        sfreq: float | None = None,
        n_chans: int | None = None,
        chs_info: Sequence[Mapping[str, Any]] | None = None,
        *,
        labels: Sequence[str] | None = None,
        unit: str = "uV",
        name: str = "task",
        everything: bool = False,
        adapter: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if channels is None and chs_info is not None:
            channels = [channel["ch_name"] for channel in chs_info]
        labels = _labels(labels, n_outputs)
        self.model = base if isinstance(base, MteegModel) else load_tasks(base, [])[0]
        patches = self._patches(n_times, sfreq)
        card = self.model.add_adapter(
            name, labels, channels=_names(channels, n_chans), window_s=float(patches),
            rate_hz=float(self.model.config.patch_size), loss="cross_entropy", **(adapter or {}),
        )  # fmt: skip
        if everything:
            self.model.set_trainable(everything=True)
        self.name, self.samples = name, patches * self.model.config.patch_size
        self.scale, self.unit = card.scale_uv / unit_factor(unit), unit
        self._unit_checked = False
        ids = torch.from_numpy(channel_ids(card.channels, card.bipolar))
        self.register_buffer("channel_ids", ids, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) of windows (batch, channels, samples)."""
        longer = x.shape[-1] - self.samples
        if x.ndim != 3 or longer not in (0, 1):
            raise ValueError(
                f"Expected windows (batch, {len(self.channel_ids)} channels, {self.samples} "
                f"samples), found {tuple(x.shape)}."
            )
        if not self._unit_checked and not torch.compiler.is_compiling():
            self._check_unit(x)
        values = x[..., : self.samples].to(self.model.dtype) / self.scale
        inputs = {"input_values": values, "channel_ids": self.channel_ids}
        return self.model(**inputs, task=self.name).logits

    def _check_unit(self, x: torch.Tensor) -> None:
        """Once, by the first windows that are not all at rest: a look costs a GPU a pause."""
        signal_uv = x.detach().double().cpu().numpy() * unit_factor(self.unit)
        if amplitude_uv(signal_uv):
            check_unit(signal_uv, self.unit)
            self._unit_checked = True

    def _patches(self, n_times: int | None, sfreq: float | None) -> int:
        """One-second patches of a window."""
        size = self.model.config.patch_size
        if sfreq != size:
            raise ValueError(
                f"sfreq: expected {size} Hz, the model's rate, found {sfreq!r}. Resample the "
                "recordings before they are cut (raw.resample)."
            )
        if not isinstance(n_times, int) or n_times < size or n_times % size not in (0, 1):
            raise ValueError(
                f"n_times: expected whole seconds, a multiple of {size} samples, found {n_times}."
            )
        return n_times // size


def _labels(labels: Sequence[str] | None, n_outputs: int | None) -> list[str]:
    if labels is None:
        if n_outputs is None:
            raise ValueError("n_outputs: expected the number of classes, or labels, found neither.")
        return [str(number) for number in range(n_outputs)]
    if n_outputs not in (None, len(labels)):
        raise ValueError(f"labels: expected {n_outputs} (n_outputs), found {list(labels)}.")
    return list(labels)


def _names(channels: Sequence[str] | None, n_chans: int | None) -> list[str]:
    if channels is None or isinstance(channels, str):
        raise ValueError(f"channels: expected the names of the rows, found {channels!r}.")
    if n_chans not in (None, len(channels)):
        raise ValueError(f"channels: expected {n_chans} names (n_chans), found {list(channels)}.")
    return list(channels)
