"""Splits are views: who and what is where, the stored bytes, leaks named, the manifest."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_people import CARD, SPLITS, by_person, save_people

from modeling_mteeg.data import (
    SplitError,
    SplitRule,
    fold_count,
    load_corpora,
    read_split,
    view_corpora,
)

FOLDED = ("kfold:4", "leave-one-subject-out", "kfold:3+few-shot:5", "within-subject:3")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return load_corpora(save_people(tmp_path_factory.mktemp("people")), ["eegmat"])


def view(corpora, split, **options):
    return view_corpora(corpora, split, **options)["eegmat"]


def people(corpus, split):
    return set(corpus.splits[split].subjects)


def windows(reader) -> list[tuple[str, float]]:
    return list(zip(reader.recordings.tolist(), reader.onsets_s.tolist(), strict=True))


def test_the_corpus_s_own_split_is_the_stored_one(stored):
    corpus = view(stored, "corpus")
    assert corpus.card is stored["eegmat"].card and corpus.splits is stored["eegmat"].splits
    assert not corpus.split.is_view and corpus.split.hash == "stored" and corpus.split.leaks == ()


@pytest.mark.parametrize("split", ["kfold:4", "kfold:5", "leave-one-subject-out"])
def test_no_person_is_in_two_parts_and_every_window_is_tested_once(stored, split):
    tested, folds = [], fold_count(stored, split)
    for fold in range(folds):
        corpus = view(stored, split, fold=fold)
        parts = [people(corpus, part) for part in SPLITS]
        assert len(set.union(*parts)) == 12 == sum(map(len, parts)), "each person in one part"
        assert corpus.split.leaks == () and corpus.split.notes == ()
        assert len(parts[1]) == max(1, round(0.2 * (12 - len(parts[2]))))
        tested += windows(corpus.splits["test"])
    every = [w for reader in stored["eegmat"].splits.values() for w in windows(reader)]
    assert sorted(tested) == sorted(every) and len(set(tested)) == len(tested)


@pytest.mark.parametrize("split", ["kfold:4", "within-subject", "corpus+few-shot:4"])
def test_windows_are_the_stored_ones_to_the_bit(stored, split, tmp_path_factory):
    fold = 1 if split.startswith("kfold") else None
    corpus = view(stored, split, fold=fold)
    signals = {}
    for reader in stored["eegmat"].splits.values():
        signals |= dict(
            zip(windows(reader), reader.read(np.arange(len(reader)), unit_uv=100), strict=True)
        )
    for reader in corpus.splits.values():
        rows = np.random.default_rng(0).permutation(len(reader))
        read = reader.read(rows, unit_uv=100)
        names = windows(reader)
        for row, signal in zip(rows, read, strict=True):
            assert np.array_equal(signal, signals[names[row]])
            assert CARD.labels[reader.labels[row]] == CARD.labels[int(names[row][0][-1])]


def test_a_seed_gives_the_same_manifest_and_another_seed_another(stored):
    for split in (*FOLDED, "within-subject", "few-shot:6"):
        fold = 0 if SplitRule.parse(split).has_folds else None
        first, again, other = (view(stored, split, fold=fold, seed=seed) for seed in (1, 1, 2))
        assert first.split.table.equals(again.split.table) and first.split.hash == again.split.hash
        assert first.split.hash != other.split.hash, split
        assert first.card.split_hash == first.split.hash != "stored"


def test_the_manifest_is_written_and_read(stored, tmp_path):
    corpus = view(
        stored, "kfold:4", fold=2, labels={"eegmat": {"b": ["arithmetic"], "a": ["rest"]}}
    )
    path = corpus.split.save(tmp_path / "splits/eegmat.parquet")
    content = path.read_bytes()
    read = read_split(path)
    assert read.facts() == corpus.split.facts() and read.table.equals(corpus.split.table)
    assert corpus.split.save(path).read_bytes() == content
    for part, split in enumerate(SPLITS):
        rows = read.table.filter(np.array(read.table["part"]) == split)
        named = zip(rows["recording"].to_pylist(), rows["onset_s"].to_pylist(), strict=True)
        assert set(named) == set(windows(corpus.splits[split])), part
    row = read.table.slice(7, 1).to_pylist()[0]
    original = stored["eegmat"].splits[row["stored_split"]]
    assert windows(original)[row["row"]] == (row["recording"], row["onset_s"])
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="no manifest"):
        read_split(path)


def test_people_of_one_class_are_dealt_by_class(tmp_path):
    corpora = load_corpora(save_people(tmp_path, 15, label=by_person), ["eegmat"])  # 5 of 15
    for fold in range(5):
        corpus = view(corpora, "kfold:5", fold=fold)
        for part, (calm, busy) in {"test": (2, 1), "validation": (2, 1)}.items():
            reader = corpus.splits[part]
            by_class = [len(set(reader.subjects[reader.labels == label])) for label in (0, 1)]
            assert by_class == [calm, busy], (fold, part)
        assert "stratified" in corpus.split.rule
    with pytest.raises(SplitError, match="leaves 1 people of a class"):
        few = load_corpora(save_people(tmp_path / "few", 6, label=by_person), ["eegmat"])  # 2 of 6
        view(few, "kfold:2", fold=0)


def test_within_subject_cuts_time_and_leaves_out_what_overlaps(tmp_path):
    half = load_corpora(save_people(tmp_path, step_s=0.5, windows=25), ["eegmat"])
    for split, fold, seed in (
        ("within-subject", None, 0),
        ("within-subject", None, 3),
        ("within-subject:5", 2, 0),
    ):
        corpus = view(half, split, fold=fold, seed=seed)
        spans: dict[str, list] = {}
        for part in SPLITS:
            assert len(people(corpus, part)) == 12, "of every person"
            for recording, onset in windows(corpus.splits[part]):
                spans.setdefault(recording, []).append((onset, part))
        for found in spans.values():
            for (start, part), (following, other) in zip(
                sorted(found), sorted(found)[1:], strict=False
            ):
                assert part == other or following - start >= CARD.window_s, "no overlap"
            changes = [a[1] != b[1] for a, b in zip(sorted(found), sorted(found)[1:], strict=False)]
            assert sum(changes) == (2 if fold is None else 3), "contiguous blocks"
        assert any("share 12 subject(s)" in leak for leak in corpus.split.leaks)
        assert any("share 24 recording(s)" in leak for leak in corpus.split.leaks)
        assert not any("overlap" in leak for leak in corpus.split.leaks)
        assert any("left out" in note for note in corpus.split.notes)
    ordered = view(half, "within-subject").splits
    first = {part: windows(ordered[part])[0][1] for part in SPLITS}
    assert first["train"] < first["validation"] < first["test"], "seed 0: the order of time"
    tested = []
    for fold in range(5):
        tested += windows(view(half, "within-subject:5", fold=fold).splits["test"])
    assert len(tested) == len(set(tested)) == 12 * 2 * 25, "each once"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_few_shot_takes_so_many_windows_of_every_tested_person(stored, seed):
    base = view(stored, "kfold:4", fold=1)
    corpus = view(stored, "kfold:4+few-shot:7", fold=1, seed=seed)
    plain = view(stored, "kfold:4", fold=1, seed=seed)
    tested = people(plain, "test")
    assert tested == people(corpus, "test") and len(tested) == 3
    train = corpus.splits["train"]
    for person in tested:
        mine = train.subjects == person
        assert np.bincount(train.labels[mine]).tolist() == [4, 3], "dealt to the classes"
        assert (corpus.splits["test"].subjects == person).sum() == 24 - 7
        for label in (0, 1):
            onsets = np.sort(train.onsets_s[mine & (train.labels == label)])
            assert np.ptp(onsets) == len(onsets) - 1, "a run"
            assert seed or onsets[0] == 0, "the earliest with seed 0"
    assert len(train) == len(plain.splits["train"]) + 3 * 7
    assert windows(corpus.splits["validation"]) == windows(plain.splits["validation"])
    assert corpus.split.leaks[0].startswith("train and test share 3 subject(s)")
    assert base.split.leaks == ()
    own = view(stored, "few-shot:7")
    assert people(own, "test") == people(stored["eegmat"], "test") <= people(own, "train")
    with pytest.raises(SplitError, match="take fewer"):
        view(stored, "few-shot:23")


def test_a_calibration_that_overlaps_its_test_leaves_windows_out(tmp_path):
    half = load_corpora(save_people(tmp_path, step_s=0.5), ["eegmat"])
    corpus = view(half, "few-shot:4")
    assert corpus.split.counts["left out"]["windows"] == 2 * 2, "one a recording of two people"
    assert not any("overlap" in leak for leak in corpus.split.leaks)


def test_stored_overlaps_and_shared_people_are_named(tmp_path, monkeypatch):
    import tiny_people

    real = tiny_people.rows_of
    monkeypatch.setattr(tiny_people, "rows_of", lambda person, **o: real(person % 10, **o))
    corpora = load_corpora(save_people(tmp_path), ["eegmat"])  # the test's people train, too
    leaks = view(corpora, "corpus").split.leaks
    assert leaks == (
        "train and test share 2 subject(s): p00, p01",
        "train and test share 4 recording(s): p00 p00_0, p00 p00_1, p01 p01_0, p01 p01_1",
        "48 windows of train overlap windows of test in time",
    )
    assert view(corpora, "kfold:5", fold=0).split.leaks == (), "all windows of a person go together"


def test_a_person_who_trains_another_task_of_the_corpus_is_named(tmp_path):
    for name, number in (("eegmat", 12), ("again", 8)):
        save_people(tmp_path, number, card=CARD.replace(name=name, corpus="one corpus"))
    corpora = view_corpora(load_corpora(tmp_path, ["eegmat", "again"]))
    assert corpora["eegmat"].split.leaks == ()
    assert corpora["again"].split.leaks == (
        "train of eegmat and test share 2 subject(s): p06, p07",
    )


def test_classes_are_joined_and_dropped_without_preparing_again(tmp_path):
    card = CARD.replace(labels=("a", "b", "c"), loss="", monitor="", metrics=())
    label = lambda person, number, window: "abc"[window % 3]  # noqa: E731
    corpora = load_corpora(save_people(tmp_path, card=card, label=label), ["eegmat"])
    merged = view(corpora, "corpus", labels={"eegmat": {"ab": ["a", "b"], "c": ["c"]}})
    assert merged.card.labels == ("ab", "c") == merged.splits["train"].label_names
    assert merged.card.is_binary and merged.card.monitor == "auroc"
    stored = corpora["eegmat"].splits["train"]
    assert windows(merged.splits["train"]) == windows(stored)
    assert np.array_equal(merged.splits["train"].labels, stored.labels == 2)
    assert merged.card.split_hash not in (None, "stored")
    dropped = view(corpora, "kfold:4", fold=0, labels={"eegmat": {"c": ["c"], "a": ["a"]}})
    sizes = [len(reader) for reader in dropped.splits.values()]
    assert sum(sizes) == 12 * 2 * 8 and dropped.card.labels == ("c", "a")
    assert "96 windows of the classes b are left out" in dropped.split.notes
    assert np.array_equal(dropped.splits["test"].read([0]).shape, (1, 2, 200))
    for wrong, what in (
        ({"x": ["a"]}, "two classes or more"),
        ({"x": ["a", "d"], "y": ["b"]}, "'d' is no class"),
        ({"x": ["a"], "y": ["a", "b"]}, "two places"),
    ):
        with pytest.raises(ValueError, match=what):
            view(corpora, "corpus", labels={"eegmat": wrong})
    with pytest.raises(ValueError, match="expected tasks of"):
        view(corpora, "corpus", labels={"other": {"x": ["a"], "y": ["b"]}})


@pytest.mark.parametrize("split", ["kfold:4", "within-subject", "few-shot:3"])
def test_a_streamed_corpus_gives_the_same_views(stored, tmp_path, split):
    save_people(tmp_path)
    streamed = load_corpora(tmp_path, ["eegmat"], streaming=True)
    fold = 3 if split.startswith("kfold") else None
    here, there = view(stored, split, fold=fold), view(streamed, split, fold=fold)
    assert here.split.hash == there.split.hash
    for part in SPLITS:
        assert there.splits[part].remote and not here.splits[part].remote
        rows = np.arange(len(here.splits[part]))[::-3]
        assert np.array_equal(here.splits[part].read(rows), there.splits[part].read(rows))
    own = view(streamed, "corpus")
    assert own.split.leaks is None, "not looked for"


@pytest.mark.parametrize(
    "text", ["kfold", "kfold:1", "few-shot", "within-subject:2", "within-subject+few-shot:3", "x",
             "few-shot:0", "kfold:6+kfold:5"]
)  # fmt: skip
def test_a_split_that_there_is_not_is_refused(text):
    with pytest.raises(SplitError, match=r"data\.split"):
        SplitRule.parse(text)


def test_folds_that_there_are_not_are_refused(stored):
    for split, fold in (("kfold:4", None), ("kfold:4", 4), ("corpus", 0), ("within-subject", 1)):
        with pytest.raises(SplitError, match=r"data\.fold: expected"):
            view(stored, split, fold=fold)
    with pytest.raises(SplitError, match="as many folds as people"):
        view(stored, "kfold:13", fold=0)
    with pytest.raises(SplitError, match="without folds"):
        fold_count(stored, "within-subject")
