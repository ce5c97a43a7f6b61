"""Windows as the models take them, checked: one batch, or several of different shapes in a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from .configuration_mteeg import MteegConfig


def batches_of_step(
    groups: Sequence[Mapping[str, torch.Tensor]] | None,
    single: Mapping[str, torch.Tensor | None],
    config: MteegConfig,
) -> list[dict[str, torch.Tensor | None]]:
    """Either way of giving inputs, one batch or ``groups`` of batches, as a list of batches.

    Parameters
    ----------
    groups : sequence of mapping, optional
        Batches of different shapes, each with ``input_values``, ``channel_ids`` and maybe more of
        the names in ``single``.
    single : mapping
        The arguments of a single batch by name, None where not given.
    config : MteegConfig
        Sizes to check against.

    Returns
    -------
    list of dict
        Every name of ``single`` in each; ``input_values`` of four axes.

    Raises
    ------
    ValueError
        Both ways at once, no group, an unknown name, or inputs that do not fit.
    """
    if groups is None:
        batches = [dict(single)]
    else:
        if not groups or any(value is not None for value in single.values()):
            raise ValueError(
                f"Give either {', '.join(single)}, or a non-empty sequence of groups that "
                "hold them."
            )
        for number, group in enumerate(groups):
            unknown = sorted(set(group) - set(single))
            if unknown:
                raise ValueError(
                    f"Group {number}: expected {', '.join(single)}, found {unknown} too."
                )
        batches = [{name: group.get(name) for name in single} for group in groups]
    for batch in batches:
        batch["input_values"] = check_inputs(batch["input_values"], batch["channel_ids"], config)
    return batches


def check_inputs(values, channel_ids, config: MteegConfig) -> torch.Tensor:
    """``input_values`` as (batch, channels, patches, patch_size), or an error.

    Raises
    ------
    ValueError
        Anything but two tensors that fit each other and the configuration.
    """
    size = config.patch_size
    if values is None or channel_ids is None:
        raise ValueError("Expected input_values and channel_ids; the feature extractor makes both.")
    for key, tensor in (("input_values", values), ("channel_ids", channel_ids)):
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{key}: expected a tensor, found {type(tensor).__name__}; the feature "
                'extractor makes tensors with return_tensors="pt".'
            )
    if values.ndim == 3 and values.shape[-1] % size == 0:
        values = values.unflatten(-1, (-1, size))
    if values.ndim != 4 or values.shape[-1] != size or 0 in values.shape:
        raise ValueError(
            f"input_values: expected (batch, channels, patches, {size}) or (batch, channels, "
            f"samples) with samples a multiple of {size}, found {tuple(values.shape)}."
        )
    batch, channels = values.shape[:2]
    if tuple(channel_ids.shape) not in ((channels, 2), (batch, channels, 2)):
        raise ValueError(
            f"channel_ids: expected ({channels}, 2) for {channels} channels, or ({batch}, "
            f"{channels}, 2) for {batch} samples, found {tuple(channel_ids.shape)}."
        )
    _check_rows(channel_ids, config.num_spatial)
    return values


def _check_rows(channel_ids: torch.Tensor, last: int) -> None:
    """Refuse numbers that are no rows of the spatial table (negative ones would count back)."""
    if channel_ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"channel_ids: expected int64, found {channel_ids.dtype}.")
    # Reading values back from an accelerator would make every step wait for it.
    if channel_ids.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = channel_ids.min().item(), channel_ids.max().item()
        if low < 0 or high > last:
            raise ValueError(
                f"channel_ids: expected rows of the spatial table, 0 to {last}, found {low} "
                f"to {high}; channels.channel_ids() makes them from names."
            )
