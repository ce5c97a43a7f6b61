"""The search for the largest score is ``argmax``, whatever the scores."""

from __future__ import annotations

import pytest
import torch

from modeling_mteeg.model.code_search import largest


@pytest.mark.parametrize("codes", [16, 128, 256, 1000, 8192])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_argmax(codes, dtype):
    generator = torch.Generator().manual_seed(codes)
    scores = torch.randn(50, codes, generator=generator).to(dtype)
    ties = torch.randint(0, 3, (50, codes), generator=generator).to(dtype)
    odd = scores.clone()
    odd[0], odd[1, 5], odd[2, -1] = float("-inf"), float("nan"), float("inf")
    for values in (scores, ties, odd, scores[:0]):
        assert torch.equal(largest(values), values.argmax(1))
