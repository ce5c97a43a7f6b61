"""Where a patch lies: rows of the spatial and the temporal table."""

from __future__ import annotations

import torch
from torch import nn


def place_embedding(
    spatial_table: torch.Tensor,
    temporal_table: torch.Tensor,
    channel_ids: torch.Tensor,
    patches: int,
) -> torch.Tensor:
    """Spatial plus temporal embedding of every patch (paper, section 3.2).

    Parameters
    ----------
    spatial_table : torch.Tensor
        (1 + electrodes, width), the cls row first.
    temporal_table : torch.Tensor
        (rows, width).
    channel_ids : torch.Tensor
        int64, (channels, 2) or (batch, channels, 2); see :func:`spatial_rows`.
    patches : int
        Patches of a channel.

    Returns
    -------
    torch.Tensor
        (channels * patches, width), or with a leading batch axis; channel by channel.
    """
    spatial = spatial_rows(spatial_table, channel_ids)  # (..., channels, width)
    temporal = temporal_rows(temporal_table, patches)  # (patches, width)
    place = spatial[..., None, :] + temporal  # (..., channels, patches, width)
    return place.flatten(-3, -2)


def place_tokens(
    tokens: torch.Tensor, transformer: nn.Module, channel_ids: torch.Tensor, patches: int
) -> torch.Tensor:
    """Patch tokens with their place, behind the cls token with its row of the spatial table.

    Parameters
    ----------
    tokens : torch.Tensor
        (batch, channels * patches, width).
    transformer : torch.nn.Module
        Has ``cls_token``, (1, 1, width), and both tables, ``spatial_embedding`` and
        ``temporal_embedding``; with the rest as for :func:`place_embedding`.

    Returns
    -------
    torch.Tensor
        (batch, 1 + channels * patches, width), in the type of ``tokens``.
    """
    spatial, temporal = transformer.spatial_embedding, transformer.temporal_embedding
    place = place_embedding(spatial, temporal, channel_ids, patches)
    tokens = tokens + place.to(tokens.dtype)
    cls = (transformer.cls_token + spatial[0]).expand(tokens.shape[0], 1, -1)  # for every sample
    return torch.cat([cls.to(tokens.dtype), tokens], dim=1)


def spatial_rows(table: torch.Tensor, channel_ids: torch.Tensor) -> torch.Tensor:
    """Mean of the two rows of every channel: (..., channels, width)."""
    return table[channel_ids.to(table.device)].mean(-2)


def temporal_rows(table: torch.Tensor, patches: int) -> torch.Tensor:
    """Rows (patches, width) of the temporal table, interpolated linearly beyond its length.

    Notes
    -----
    The published table ends at 16 patches and the published code fails beyond it; the paper
    tunes on 30 s windows without saying how. Here first and last row stay the ends.
    """
    last = len(table) - 1
    if not torch.compiler.is_exporting() and patches <= last + 1:
        return table[:patches]  # what the rest gives too, in a form without a branch
    place = torch.arange(patches, device=table.device).float()  # (patches,)
    # 0 ... last over all patches; up to last + 1 of them the factor is 1. One patch: no 0 / 0.
    place = place * (last / place[-1].clamp(min=1.0)).clamp(max=1.0)
    low = place.long()  # the row before
    share = (place - low)[:, None]  # (patches, 1), of the row after
    rows = torch.lerp(table[low].float(), table[(low + 1).clamp(max=last)].float(), share)
    return rows.to(table.dtype)
