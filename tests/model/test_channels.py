"""Channel names: cleaned as recording systems write them, looked up in the published table."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from modeling_mteeg import CHANNEL_NAMES, UnknownChannelError, channel_ids, clean_name
from modeling_mteeg.model.channels import (
    BIPOLAR_TABLE,
    ELECTRODES,
    is_known,
    nearest_names,
    numbered_system,
    other_names,
)

TUAB = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 A1 A2 FZ CZ PZ T1 T2".split()
CHB_MIT = (
    "FP1-F7 F7-T7 T7-P7 P7-O1 FP2-F8 F8-T8 T8-P8 P8-O2 "
    "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2"
).split()


def row(name: str) -> int:
    return CHANNEL_NAMES.index(name) + 1


def test_table_has_a_row_for_each_of_128_names():
    assert len(CHANNEL_NAMES) == len(set(CHANNEL_NAMES)) == 128
    assert CHANNEL_NAMES == ELECTRODES + BIPOLAR_TABLE
    ends = ("FP1", "TPP10h", "FP1-F7", "P8-O2")
    assert [row(name) for name in ends] == [1, 120, 121, 128]


def test_order_is_the_published_one(golden_dir):
    published = json.loads((golden_dir / "channels.json").read_text())["standard_1020"]
    assert len(published) == 136
    assert list(CHANNEL_NAMES) == published[:128]
    without_row = published[128:]
    assert channel_ids(without_row, "table").tolist() == channel_ids(without_row).tolist()


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("EEG FP1-REF", "FP1"),
        ("EEG T3-LE", "T3"),
        ("eeg cz-ref", "CZ"),
        ("Fc5.", "FC5"),
        ("Cz..", "CZ"),
        (" Iz ", "IZ"),
        ("EEG Fpz-Cz", "FPZ-CZ"),
        ("EEG:Oz", "OZ"),
        ("T8-P8-0", "T8-P8"),
        ("T8-P8-1", "T8-P8"),
        ("ftt9H", "FTT9h"),
        ("Resp oro-nasal", "RESPORO-NASAL"),
        ("X 9", "X9"),
    ],
)
def test_names_as_systems_write_them(written, clean):
    assert clean_name(written) == clean


@pytest.mark.parametrize("form", ["{}", "EEG {}", "EEG {}-REF", "EEG {}-LE", "{}.", "{}..", " {} "])
@pytest.mark.parametrize("case", [str, str.lower, str.upper])
def test_every_name_is_found_in_every_form(form, case):
    for name in CHANNEL_NAMES:
        assert clean_name(case(form.format(name))) == name
        assert clean_name(clean_name(name)) == name


_BEFORE = ("", "EEG ", "eeg:", "POL ", "EEG POL ", " EEG_")
_BEHIND = ("", "-REF", "-LE", "-AVG", "-AR", "_LE", " - Ref", " -avg", "-REF-0", "-0-REF", "-1")
_ENDS = ("", ".", "..", " ", "-0", ".-2")


@pytest.mark.parametrize("name", ["FP1", "CZ", "A1", "T8-P8", "FTT9h", "C3-A2"])
def test_cleaning_takes_away_whatever_systems_add_in_any_order(name):
    for before, behind, end in itertools.product(_BEFORE, _BEHIND, _ENDS):
        for case in (str, str.lower, str.upper):
            written = case(f"{before}{name}{behind}{end}")
            assert clean_name(written) == name, written


def test_cleaning_twice_is_cleaning_once():
    """For names of any pieces, also such as nobody writes."""
    pieces = "FP1 EEG POL REF LE AVG AR ftt9h 001 7 E1 - _ . : -0 -REF _LE".split() + [" "]
    rng = np.random.default_rng(0)
    for _ in range(3000):
        written = "".join(rng.choice(pieces, rng.integers(1, 7)))
        once = clean_name(written)
        assert clean_name(once) == once, written
    assert [clean_name(name) for name in ("REF", "EEG", "-REF", "EEG-REF")] != ["", "", "", ""]


_REFERENCES = ("REF", "LE", "AVG", "AR")


def _as_systems_write(name: str, rng: np.random.Generator) -> str:
    """A name with what systems add to it: any of it, in any order behind the name."""
    pick = lambda *choices: choices[rng.integers(len(choices))]  # noqa: E731
    dash = lambda: pick("-", " -", "- ", " - ", "  -  ")  # noqa: E731
    name = dash().join(name.split("-"))
    behind = [
        pick("", ".", "..", "..."),
        pick("", *(dash() + one for one in _REFERENCES), *(f"_{one}" for one in _REFERENCES)),
        pick("", "-0", "-1", "-12", "-0-1"),
    ]
    rng.shuffle(behind)
    before = pick("", "EEG ", "POL ", "EEG-", "EEG_", "EEG.", "EEG: ", "POL  ", "EEG POL ")
    text = pick("", " ") + before + name + "".join(behind) + pick("", " ", "  ", ".")
    return "".join(pick(letter.lower(), letter.upper()) for letter in text)


def test_every_electrode_and_derivation_is_found_in_whatever_is_added():
    """And cleaning twice is cleaning once."""
    rng = np.random.default_rng(0)
    derivations = ["-".join(rng.choice(ELECTRODES, 2, replace=False)) for _ in range(200)]
    for name in [*CHANNEL_NAMES, *derivations] * 2:
        written = _as_systems_write(name, rng)
        assert clean_name(written) == name, written
        assert clean_name(clean_name(written)) == name, written


def test_an_amplifiers_own_numbers_are_told_from_electrodes():
    biosemi = [f"{bank}{number}" for bank in "AB" for number in range(1, 33)]
    assert "BioSemi" in numbered_system(biosemi) and "BioSemi" in numbered_system(biosemi[:16])
    assert "HydroCel" in numbered_system([f"E{number}" for number in range(1, 129)])
    assert not numbered_system(TUAB) and not numbered_system(["E1", "E2", "A1", "A2", "C3"])


@pytest.mark.parametrize(
    ("missing", "present", "renamed"),
    [
        (["T3", "C3"], ["T7"], {"T7": "T3"}),
        (["F7-T7", "T7-P7"], ["F7-T3", "T3-T5"], {"F7-T3": "F7-T7", "T3-T5": "T7-P7"}),
        (["F7-T3", "T3-T5"], ["F7", "T7", "P7"], {"T7": "T3", "P7": "T5"}),
        (["C3-A2"], ["C3", "M2"], {"M2": "A2"}),
        (["T3-T5"], ["T7", "P3"], {}),
    ],
)
def test_names_of_the_other_system_are_found_in_derivations_too(missing, present, renamed):
    assert other_names(missing, present) == renamed


def test_electrode_has_its_row_twice():
    expected = [[number, number] for number in range(1, len(ELECTRODES) + 1)]
    ids = channel_ids(ELECTRODES)
    assert ids.dtype == np.int64
    assert ids.tolist() == expected == channel_ids(ELECTRODES, bipolar="table").tolist()


def test_bipolar_derivation_takes_both_electrodes():
    ids = channel_ids(CHB_MIT)
    assert ids.tolist() == [[row(part) for part in name.split("-")] for name in CHB_MIT]


def test_table_rule_takes_published_rows_where_there_are_any():
    ids = channel_ids(CHB_MIT, bipolar="table")
    assert ids[:8].tolist() == [[number, number] for number in range(121, 129)]
    assert ids[8:].tolist() == channel_ids(CHB_MIT[8:]).tolist()


def test_old_and_new_names_own_different_rows():
    for old, new in zip("T3 T4 T5 T6 A1 A2".split(), "T7 T8 P7 P8 M1 M2".split(), strict=True):
        assert row(old) != row(new)
        assert channel_ids([old, new]).tolist() == [[row(old)] * 2, [row(new)] * 2]


@pytest.mark.parametrize("bipolar", ["mean", "table"])
def test_rows_follow_the_order_of_the_names(bipolar):
    names = TUAB + CHB_MIT + ["EEG Fpz-Cz", "Fc5."]
    order = np.random.default_rng(0).permutation(len(names))
    shuffled = channel_ids([names[i] for i in order], bipolar)
    assert np.array_equal(shuffled, channel_ids(names, bipolar)[order])


def test_no_channels_give_no_rows():
    assert channel_ids([]).shape == (0, 2)


def test_all_unknown_names_are_listed_with_the_nearest():
    with pytest.raises(UnknownChannelError) as error:
        channel_ids(["C3", "EEG FP11-REF", "ECG", "C3-C3", "C4-XX", ""])
    message = str(error.value)
    assert "5 of 6" in message and "'C3'" not in message
    for name in ("'EEG FP11-REF' (nearest: FP1", "'ECG'", "'C3-C3'", "'C4-XX'", "''"):
        assert name in message
    assert "FC5" in nearest_names("FC55")
    assert not is_known("ECG") and is_known("EEG C3-P3")


@pytest.mark.parametrize(
    "names", [["Fc5.", "C3", "EEG FC5-REF"], ["T8-P8-0", "T8-P8-1"], ["C3", "c3"]]
)
def test_a_channel_given_twice_is_refused(names):
    with pytest.raises(ValueError, match=f"more than once: {clean_name(names[0])}"):
        channel_ids(names)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"bipolar: expected one of .*, found 'both'"):
        channel_ids(["C3"], bipolar="both")
