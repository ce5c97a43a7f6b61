"""How held-out patches spread over the codes: what tells a working tokenizer from a collapsed one.

The codebook's own count of its use is a moving average over training steps: it remembers the start,
and codes that were revived count as used. Only patches of people that were held out tell what a
tokenizer does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

MOST_COMMON = 0.9
"""Above this share of one code the codes say next to nothing."""
LEAST_PERPLEXITY = 1.5


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
        f"{perplexity:.2f}), so the codes say next to nothing. Train the tokenizer longer "
        "(optimization.epochs) or with another optimization.lr: its phase_loss falls where a "
        "training leaves this plateau."
    )
