"""Weights are finite numbers: NaN and infinity would answer everything with themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from .checked_files import UnsafeFileError, shortened


def check_finite(tensors: Mapping[str, torch.Tensor], where: object) -> None:
    """Check tensors for NaN and infinity.

    Parameters
    ----------
    tensors : mapping of str to torch.Tensor
        Those without memory (of the meta device) and without fractions are left alone.
    where : object
        Names the file or folder in the error.

    Raises
    ------
    UnsafeFileError
        Names the first tensors that have such numbers.

    Notes
    -----
    A sum is finite only of finite numbers, and takes no memory; where it is not, and may have
    grown too large for its type, the numbers are looked at one by one.
    """
    wrong = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
        and not tensor.is_meta
        and not math.isfinite(tensor.detach().sum().item())
        and not tensor.detach().isfinite().all()
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UnsafeFileError(
            f"{where}: expected finite weights, found NaN or infinity in "
            f"{', '.join(shortened(name) for name in wrong[:3])}{more}. The training that wrote "
            "them went wrong, or the file is damaged."
        )
