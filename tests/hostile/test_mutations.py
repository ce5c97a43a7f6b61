"""Mutated files of all layouts: none is used in silence, none does harm; and the harness sees it.

The long run is ``python tests/support/mutated``; docs/safety.md has its figures.
"""

from __future__ import annotations

import pytest
from mutated.drawing import Mutation, mutate
from mutated.oracle import contradictions
from mutated.originals import Original, all_originals, write_originals
from mutated.running import WRONG, Child, Limits, Run, read_rows, row_of, run_all, summary
from mutated.trying import flaw_of, try_way

SEED = 0
QUICK = ("edf+c", "brainvision", "adapter", "base", "checkpoint", "predictions")


def wrong(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["verdict"] in WRONG]


def test_a_few_mutations_end_well(tmp_path):
    run = Run(tmp_path / "work", QUICK)
    counts = {"recordings": 4, "weights": 8, "prepared": 4}
    try:
        rows = run_all(run, SEED, counts, tmp_path / "report.tsv")
    finally:
        run.close()
    assert not wrong(rows), summary(rows)
    assert {row["group"] for row in rows} == set(counts)
    assert any(row["verdict"] == "refused" for row in rows)


@pytest.mark.slow
def test_originals_are_used_by_all_ways(tmp_path):
    run = Run(tmp_path / "work")
    try:
        for original in run.originals.values():
            for way in original.ways:
                run.usual(original, way)  # raises where it is not
    finally:
        run.close()


@pytest.mark.slow
def test_many_mutations_of_every_layout_end_well(tmp_path):
    run = Run(tmp_path / "work")
    counts = {"recordings": 125, "weights": 200, "prepared": 50}
    try:
        rows = run_all(run, SEED + 1, counts, tmp_path / "report.tsv")
    finally:
        run.close()
    assert not wrong(rows), summary(rows)
    assert {row["layout"] for row in rows} == set(all_originals())


def test_a_mutation_is_a_function_of_seed_and_number(tmp_path):
    names = ["edf", "cnt", "table"]
    write_originals(tmp_path / "originals", names)
    originals = {name: one for name, one in all_originals().items() if name in names}

    def made(folder: str, number: int) -> tuple:
        place = tmp_path / folder / str(number)
        mutation = mutate("recordings", 5, number, originals, tmp_path / "originals", place)
        path = place / mutation.target
        return mutation, path.read_bytes() if path.is_file() else None

    first = [made("first", number) for number in range(30)]
    assert first == [made("second", number) for number in range(30)]
    assert len({mutation.note for mutation, _ in first}) > 20
    for name in names:  # what is mutated is a copy
        for path in (tmp_path / "originals" / name).iterdir():
            assert path.stat().st_size and not path.is_symlink()
    write_originals(tmp_path / "again", names)
    for path in (tmp_path / "originals").rglob("*.*"):
        again = tmp_path / "again" / path.relative_to(tmp_path / "originals")
        assert path.is_dir() or path.read_bytes() == again.read_bytes()


FAULTS = {
    "crash": "crash", "hang": "hang", "memory": "memory", "caught": "memory",
    "uncaught": "uncaught", "refused": "refused", "finding": "finding", "none": "used",
}  # fmt: skip


NOTHING = {"signal": [], "labels": []}


@pytest.mark.slow
def test_every_kind_of_harm_is_seen(tmp_path):
    """In a child that imports next to nothing; after each death another one goes on."""
    child = Child(tmp_path, Limits(3.0))
    original = Original("planted", "recordings", lambda folder: None, (), ("planted",))
    mutation = Mutation("recordings", 0, 0, original.name, "fault", "planted")
    for fault, verdict in FAULTS.items():
        folder = tmp_path / fault
        folder.mkdir()
        (folder / "fault").write_text(fault)
        answer = child.ask(way="planted", layout="planted", folder=str(folder), target="fault")
        assert row_of(mutation, "planted", answer, set(), NOTHING)["verdict"] == verdict
    child.close()
    used, found = {"outcome": "used", "said": ["x"]}, {"signal": ["two sizes"], "labels": []}
    assert row_of(mutation, "planted", used, {"x"}, found)["verdict"] == "silent"
    assert row_of(mutation, "planted", used, set(), found)["verdict"] == "finding"
    found = {"signal": [], "labels": ["overlap"]}
    assert row_of(mutation, "labelled", used, {"x"}, found)["verdict"] == "silent"
    assert row_of(mutation, "extract", used, {"x"}, found)["verdict"] == "used"


def test_a_reader_that_ignores_a_cut_off_is_seen(tmp_path, monkeypatch):
    """The planted fault of a reader, not of the harness."""
    from modeling_mteeg.model import recording_files
    from modeling_mteeg.model.recording_headers import EdfHeader

    write_originals(tmp_path, ["edf"])
    original, folder = all_originals()["edf"], tmp_path / "edf"
    path = folder / original.opened
    path.write_bytes(path.read_bytes()[:-3001])
    assert contradictions(folder, "edf", "recordings", path.name, path.name)["signal"]
    usual = try_way("extract", original, folder, tmp_path, path.name)
    assert usual.said == ["cut-off"]
    monkeypatch.setattr(EdfHeader, "count_finding", lambda self, file: None)
    assert recording_files.open_file(path)[1] == ()
    assert try_way("extract", original, folder, tmp_path, path.name).said == []


def test_messages_are_judged():
    assert flaw_of("a.edf: cut; download it again.", ["a.edf"]) == ""
    assert flaw_of("Expecting value: line 1", ["a.edf"]) == "names no file"
    assert "control characters" in flaw_of("a.edf: \x1b[31m", ["a.edf"])
    assert "characters" in flaw_of("a.edf " * 1000, ["a.edf"])


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    run = Run(tmp_path / "work", ["prepared"])
    tried = []

    def fake(group, seed, number, keep=False):
        tried.append(number)
        yield dict.fromkeys(("group", "seed", "number", "verdict"), "") | {
            "group": group, "seed": seed, "number": number, "verdict": "used",
        }  # fmt: skip

    monkeypatch.setattr(run, "tried", fake)
    out = tmp_path / "report.tsv"
    run_all(run, 0, {"prepared": 3}, out)
    rows = run_all(run, 0, {"prepared": 5}, out)
    assert tried == [0, 1, 2, 3, 4] and len(rows) == len(read_rows(out)) == 5
    assert out.read_text().count("group") == 1
