"""How held-out patches spread over the codes: what tells a working tokenizer from a collapsed one.

The codebook's own count of its use is a moving average over training steps: it remembers the start,
and codes that were revived count as used. Only patches of people that were held out tell what a
tokenizer does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator

from ...data import StepPart, UnlabelledWindows
from ...methods.band_power import BANDS_HZ
from ...methods.method import TrainingError

MOST_COMMON = 0.9
"""Above this share of one code the codes say next to nothing."""
LEAST_PERPLEXITY = 1.5
_ABOVE_CHANCE = 1.1
BINS = 8
"""Equally filled classes of a band's log power: 3 bits, were a code to tell them all."""
_WINDOWS = 2000
"""So many windows give the limits of the classes."""
_LEAST_POWER = 1e-12


class CollapseError(TrainingError):
    """A tokenizer whose codes say next to nothing."""


def code_use(counts: torch.Tensor) -> dict[str, float]:
    """Figures of how often every code was taken.

    Parameters
    ----------
    counts : torch.Tensor, (codes,)
        Patches by code, over all processes.

    Returns
    -------
    dict of str to float
        ``codes_used``; ``code_perplexity``, which is the number of codes where all are taken
        equally often and 1 where one takes all; ``commonest_code``, its share, which is the
        accuracy of always guessing it.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    return {
        "codes_used": int((counts > 0).sum()),
        "code_perplexity": float(torch.special.entr(share).sum().exp()),
        "commonest_code": float(share.max()),
    }


def collapse(figures: Mapping[str, float]) -> str:
    """A sentence where one code takes nearly all held-out patches, else nothing.

    Parameters
    ----------
    figures : mapping
        Of :func:`code_use`; empty where nothing was held out.
    """
    common = figures.get("commonest_code", 0.0)
    perplexity = figures.get("code_perplexity", LEAST_PERPLEXITY)
    if common <= MOST_COMMON and perplexity >= LEAST_PERPLEXITY:
        return ""
    return (
        f"COLLAPSED: one code takes {common:.1%} of the held-out patches (perplexity "
        f"{perplexity:.2f}), so the codes say next to nothing."
    )


def no_better_than_the_commonest(figures: Mapping[str, float]) -> str:
    """A sentence where masked pre-training finds no more codes than a constant guess, else nothing.

    Parameters
    ----------
    figures : mapping
        ``accuracy``, ``accuracy_complement`` and those of :func:`code_use`; or empty.
    """
    if "accuracy" not in figures:
        return ""
    found = (figures["accuracy"] + figures["accuracy_complement"]) / 2
    if "commonest_code" not in figures or found > _ABOVE_CHANCE * figures["commonest_code"]:
        return ""
    return (
        f"ON THE PLATEAU: {found:.3f} of the hidden patches' codes are found, and always guessing "
        f"the commonest finds {figures['commonest_code']:.3f}: nothing was learned of them yet."
    )


def mutual_information(table: np.ndarray) -> float:
    """Bits that one of two discrete values tells of the other, less what chance gives.

    Parameters
    ----------
    table : numpy.ndarray
        (values of one, values of the other), whole numbers: how often each pair came.

    Returns
    -------
    float
        0 or above: the mutual information of the table, less that of a random table with the same
        sums of rows and columns. With few patches a code many pairs come once, which looks like
        knowledge.
    """
    from scipy.stats import random_table
    from sklearn.metrics import mutual_info_score

    table = table[table.any(1)][:, table.any(0)]
    if min(table.shape) < 2:
        return 0.0
    chance = random_table(table.sum(1), table.sum(0), seed=0).rvs()
    found, by_chance = (
        mutual_info_score(None, None, contingency=counts) for counts in (table, chance)
    )
    return max(0.0, float(found - by_chance) / np.log(2))


def log_band_powers(values: torch.Tensor) -> torch.Tensor:
    """Log power of every patch in the five bands: (..., 200) at 200 Hz to (..., 5)."""
    power = torch.fft.rfft(values.float()).abs().square()  # (..., 101): one bin a Hz
    means = [power[..., low:high].mean(-1) for low, high in BANDS_HZ.values()]
    return torch.stack(means, -1).clamp(min=_LEAST_POWER).log()


def band_limits(groups: Sequence[UnlabelledWindows]) -> torch.Tensor:
    """Limits of :data:`BINS` equally filled classes of every band's log power, (5, BINS - 1).

    From windows spread evenly over all: the same in every process and after every restart.
    """
    found = [log_band_powers(part).flatten(0, 2) for part in sampled_windows(groups, _WINDOWS)]
    powers = torch.cat(found).numpy()  # (patches, 5)
    limits = np.quantile(powers, np.arange(1, BINS) / BINS, axis=0).T  # (5, BINS - 1)
    return torch.from_numpy(limits.astype(np.float32, order="C"))


def sampled_windows(groups: Sequence[UnlabelledWindows], most: int) -> Iterator[torch.Tensor]:
    """About ``most`` windows spread evenly over all, in parts (n, channels, patches, 200)."""
    total = sum(len(group) for group in groups)
    for group in groups:
        share = max(1, min(len(group), len(group) * most // total))
        rows = np.linspace(0, len(group) - 1, share).astype(np.int64)
        for part in np.array_split(rows, -(-len(rows) // 64)):
            yield torch.from_numpy(group.read(part))


class HeldOutCodes:
    """Counts of the codes of held-out patches, alone and with band power and electrode.

    Parameters
    ----------
    num_codes : int
    limits : torch.Tensor
        Of :func:`band_limits`.
    electrodes : int
        Rows of the table of electrodes.
    device : torch.device
    """

    def __init__(
        self, num_codes: int, limits: torch.Tensor, electrodes: int, device: torch.device
    ) -> None:
        self.limits = limits.to(device)
        self.sizes = {**dict.fromkeys(BANDS_HZ, BINS), "electrode": electrodes}
        width = sum(self.sizes.values())
        # A patch adds one to a column of every band, and to one of the electrodes.
        self.counts = torch.zeros(num_codes, width, dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, part: StepPart, codes: Sequence[torch.Tensor]) -> None:
        """Count a part's patches; ``codes`` (windows, channels * patches) of each of its shapes."""
        for batch, numbers in zip(part.groups, codes, strict=True):
            values = batch.input_values
            columns, first = list(self._classes(values)), len(BANDS_HZ) * BINS
            electrodes = batch.channel_ids[..., 0].view(-1, values.shape[1], 1)
            columns.append(first + electrodes.expand(values.shape[:3]).flatten())
            rows = numbers.flatten() * self.counts.shape[1]
            for column in columns:
                self.counts.view(-1).index_add_(0, rows + column, torch.ones_like(rows))

    def _classes(self, values: torch.Tensor) -> Iterator[torch.Tensor]:
        """For every band the columns of all patches (patches,), channel by channel."""
        powers = log_band_powers(values).flatten(0, 2).T.contiguous()  # (5, patches)
        for number, limits in enumerate(self.limits):
            yield number * BINS + torch.bucketize(powers[number], limits)

    def figures(self, accelerator: Accelerator) -> dict[str, float]:
        """:func:`code_use` and the bits that a code tells of each thing, over all processes.

        ``bits_delta`` to ``bits_gamma`` (of 3), ``bits_electrode`` (a derivation's first).
        """
        counts = accelerator.reduce(self.counts, reduction="sum").cpu()
        parts = dict(zip(self.sizes, counts.split(list(self.sizes.values()), 1), strict=True))
        use = code_use(parts["electrode"].sum(1))
        bits = {f"bits_{name}": mutual_information(part.numpy()) for name, part in parts.items()}
        return {**use, **bits}


def bits_in_words(figures: Mapping[str, float]) -> str:
    """``delta 1.02, ..., electrode 0.31``, the figures of ``HeldOutCodes`` in a line."""
    return ", ".join(
        f"{name.removeprefix('bits_')} {value:.2f}"
        for name, value in figures.items()
        if name.startswith("bits_")
    )
