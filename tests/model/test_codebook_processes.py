"""Real processes: several have the codebook that one process has on the same samples."""

from __future__ import annotations

import codebook_program
import pytest
import torch
from codebook_program import OPTIONS, SAMPLES
from launching import succeed
from places import SUPPORT

PROGRAM = SUPPORT / "codebook_program.py"

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_have_the_codebook_of_one(tmp_path, processes):
    """k-means start, updates and revival, with parts of unequal size."""
    succeed([tmp_path], processes, program=PROGRAM)
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(processes)]
    single = codebook_program.outcome()
    sizes = {len(rank["plain"]["indices"][0]) for rank in ranks}
    assert len(sizes) > 1, "the parts should differ in size"
    for kind, one in single.items():
        for name, value in one["state"].items():
            for rank in ranks:
                found = rank[kind]["state"][name]
                assert torch.equal(found, ranks[0][kind]["state"][name]), (kind, name)
                # Same tokens, same codes to the bit; a transformer's tokens may differ a little.
                close = 0 if kind in ("plain", "revived") else 1e-6
                assert torch.allclose(found, value, rtol=0, atol=close), (kind, name)
        assert one["state"]["started"] and one["state"]["updates"] == codebook_program.STEPS
        together = torch.cat([rank[kind]["indices"] for rank in ranks], dim=1)
        assert torch.equal(together, one["indices"]), kind
    assert not len(ranks[1]["sliced"]["indices"][0]), "the second process should have no part"
    for name, value in single["tokenizer"]["state"].items():
        assert torch.allclose(single["sliced"]["state"][name], value, rtol=0, atol=1e-6), name
    assert single["plain"]["dead"][-1] > 0 and single["revived"]["dead"] == [0] * 4
    assert not torch.equal(single["plain"]["state"]["codes"], single["revived"]["state"]["codes"])
    usage = single["sliced, revived"]["state"]["usage"]
    assert len(usage) > SAMPLES * 24 and usage.min() > OPTIONS["dead_below"], "none was revived"
