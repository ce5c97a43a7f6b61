"""Recordings that share no electrode with the others, where the channels are those of all."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from modeling_mteeg.model.channels import ELECTRODES
from modeling_mteeg.model.visible_text import MOST_NAMES, listed

if TYPE_CHECKING:
    from modeling_mteeg.dataset_scripts.survey import Found


def blame_unlike(found: list[Found]) -> list[Found]:
    """A recording without any electrode that most of the used ones have is at fault.

    The channels of a task are those that all recordings have: it would leave none to any of them.

    Parameters
    ----------
    found : list of Found

    Returns
    -------
    list of Found
        The same, in their order. Where no electrode is in most recordings, nobody is to blame.
    """
    used = [set(ELECTRODES) & set(one.channels) for one in found if one.used]
    counts = Counter(name for names in used for name in names)
    usual = {name for name, count in counts.items() if 2 * count > len(used)}
    if not usual:
        return found
    return [one if not one.used or usual & set(one.channels) else _at_fault(one) for one in found]


def _at_fault(one: Found) -> Found:
    fault = (
        f"{one.recording.path.name}: expected electrodes that most recordings have, found "
        f"{listed([repr(name) for name in one.channels], MOST_NAMES)}. Rename them (--rename "
        "OLD=NEW)."
    )
    return dataclasses.replace(one, recording=dataclasses.replace(one.recording, fault=fault))
