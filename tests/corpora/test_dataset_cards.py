"""Dataset cards: complete, true, and readable by the Hub's own reader."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from modeling_mteeg.data import load_corpus
from modeling_mteeg.dataset_scripts.cards import size_category
from modeling_mteeg.dataset_scripts.corpus import Corpus
from modeling_mteeg.dataset_scripts.demo import simulate
from modeling_mteeg.dataset_scripts.prepare import TASKS, corpus_class, prepare_corpora
from modeling_mteeg.dataset_scripts.registry import KNOWN_TASKS
from modeling_mteeg.dataset_scripts.settings import Settings

PARTS = {
    "number": r"\d[\d.]*",
    "prose": r"\S(?:(?:(?!\n\n).)*?\S)?",
    "rows": r"(?:\| [^\n]+ \|\n)+",
    "items": r"(?:- [^\n]+\n)+",
    "hash": r"[0-9a-f]{64}",
    "word": r"[a-z0-9-]+",
    "rule": r"(?:protocol: [a-z0-9-]+|within-subject) \(.+?\)",
}
ORIGIN = """
# <title:prose>

<origin:prose> Licence: <license:prose>
"""
RECORDED = """
<recorded:prose>
"""
REST = """
## Task

<description:prose>

Classes, in the order of their numbers: <labels:prose>.

## Data

One row is one window of <window:number> s, <channels:number> channels at <rate:number> Hz, in
microvolt. Recordings used: <used:number> (<hours:number> h, recorded at <rates:prose> Hz);
`report.tsv` names every recording, used or not.

Channels, in order: <names:prose>.

Preprocessing, on whole recordings before they are cut: band-pass 0.1 to 75 Hz, notch 50 Hz (both
zero-phase FIR filters as MNE-Python designs them by default), resampling to 200 Hz. <limits:prose>.

Columns: `signal` (bytes of (channels, samples), row by row: little-endian <dtype:word>
<stored:prose>), `dtype`, `scale`, `shape`, `channels`, `label`, `recording`, `subject`, `onset_s`
(seconds from the start of the recording).

## Splits

| <task:word> | train | validation | test |
|---|---:|---:|---:|
<counts:rows>
| | hours | recordings | subjects |
|---|---:|---:|---:|
<people:rows>
Split: <rule:rule>. Manifest in `splits.json`, hash `<hash:hash>`.

Subjects shared between splits:

<leaks:items>
"""
NOTES = """
Notes:

<notes:items>
"""
END = """
## Load

```python
<code:prose>
```

## Citation

<cite:prose>:

<references:items>
## What it is not for

Research on methods only. It is no medical device and no part of one: nothing that is trained or
tested on it may guide the diagnosis, monitoring or treatment of a person. <last:prose>.
"""


def as_pattern(text: str) -> str:
    """Words in any layout, ``<name:part>`` as a named group of :data:`PARTS`."""
    result = ""
    for piece in re.split(r"(<\w+:\w+>)", text.strip()):
        group = re.fullmatch(r"<(\w+):(\w+)>", piece)
        words = r"\s+".join(re.escape(word) for word in re.split(r"\s+", piece))
        result += f"(?P<{group[1]}>{PARTS[group[2]]})" if group else words
    return result


CARD = re.compile(
    as_pattern(ORIGIN)
    + rf"\s+(?:{as_pattern(RECORDED)}\s+)??"
    + as_pattern(REST)
    + rf"\s*(?:{as_pattern(NOTES)}\s*)?"
    + as_pattern(END)
    + r"\s*",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    simulate(root, size="small", progress=False)
    return root


@pytest.fixture(scope="module")
def folders(raw, tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("data")
    return prepare_corpora(raw, out, settings=Settings(progress=False))


@pytest.fixture(scope="module")
def recorded(raw, tmp_path_factory) -> dict[str, Path]:
    """The same files as if they were recordings: what the card of the real corpus looks like."""
    root = tmp_path_factory.mktemp("recorded")
    tasks = [task for task in TASKS if task != "seed-v"]  # its real sessions are an hour long
    for task in tasks:
        shutil.copytree(raw / task, root / task, ignore=shutil.ignore_patterns("SIMULATED*"))
    return prepare_corpora(root, root / "out", tasks, settings=Settings(progress=False))


def parsed(folder: Path) -> tuple[dict, dict[str, str | None]]:
    """YAML header as the Hub's reader sees it, and the parts of the body."""
    card = DatasetCard.load(folder / "README.md")
    match = CARD.fullmatch(card.text.strip())
    assert match, card.text
    return card.data.to_dict(), match.groupdict()


def check_facts(folder: Path, body: dict[str, str | None]) -> None:
    """Every figure of the card against the data themselves."""
    corpus = load_corpus(folder)
    manifest = json.loads((folder / "splits.json").read_text("utf-8"))
    card, splits = corpus.card, list(corpus.splits.values())
    assert body["task"] == card.name and body["hash"] == card.split_hash == manifest["hash"]
    assert body["labels"].split() == ", ".join(card.labels).split()
    assert "".join(body["names"].split()).split(",") == list(card.channels)
    assert int(body["channels"]) == len(card.channels) == splits[0].shape[0]
    assert float(body["window"]) * float(body["rate"]) == splits[0].shape[1]
    assert body["dtype"] == splits[0].dtype
    assert int(body["used"]) == len(set().union(*(set(split.recordings) for split in splits)))
    rows = [[cell.strip() for cell in row.strip("| ").split("|")]
            for row in body["counts"].strip().splitlines()]  # fmt: skip
    expected = [
        [label, *(str(int((split.labels == number).sum())) for split in splits)]
        for number, label in enumerate(card.labels)
    ]
    assert rows == [*expected, ["all", *(str(len(split)) for split in splits)]]
    people = [[cell.strip() for cell in row.strip("| ").split("|")]
              for row in body["people"].strip().splitlines()]  # fmt: skip
    assert people == [
        [name, f"{len(split) * card.window_s / 3600:.2f}", str(len(set(split.recordings))),
         str(len(set(split.subjects)))]
        for name, split in corpus.splits.items()
    ]  # fmt: skip
    shared = set(corpus.splits["train"].subjects) & set(corpus.splits["test"].subjects)
    assert ("train and test share" in body["leaks"]) == bool(shared)
    compile(body["code"], "card", "exec")


@pytest.mark.parametrize("task", TASKS)
def test_cards_of_simulated_corpora(task, folders):
    header, body = parsed(folders[task])
    check_facts(folders[task], body)
    assert header["license"] == "apache-2.0" and "simulated" in header["tags"]
    assert {"eeg", task} <= set(header["tags"]) and header["size_categories"] == ["n<1K"]
    assert header["pretty_name"] == body["title"] and body["title"].startswith("Simulated")
    assert "**Simulated data**" in body["origin"] and body["recorded"] is None
    assert "language" not in header and header["task_categories"] == ["other"]


@pytest.mark.parametrize("task", [task for task in TASKS if task != "seed-v"])
def test_cards_of_recordings_state_licence_and_source(task, recorded):
    header, body = parsed(recorded[task])
    check_facts(recorded[task], body)
    reader = corpus_class(task)
    assert "simulated" not in header["tags"] and set(reader.tags) <= set(header["tags"])
    assert reader.homepage in body["origin"] and body["recorded"]
    assert " ".join(body["license"].split()).startswith(reader.card.license)
    assert body["references"].count("\n") == len(reader.references)
    if reader.redistributable:
        assert header["license"] == "odc-by" and "license_name" not in header
        assert "snapshot_download" in body["code"] and "Do not publish" not in body["license"]
    else:
        assert header["license"] == "other" and header["license_name"] == f"{task}-terms"
        assert header["license_link"].startswith("https://")
        assert "snapshot_download" not in body["code"]
        assert "Do not publish this folder" in " ".join(body["license"].split())


def test_filters_that_cannot_be_applied_are_in_the_notes(folders):
    _, body = parsed(folders["sleep-edf"])
    assert "75" in body["notes"] and "50" in body["notes"]


@pytest.mark.parametrize("task", KNOWN_TASKS)
def test_every_corpus_states_what_the_card_needs(task):
    reader = corpus_class(task)
    assert reader.homepage.startswith("https://") and reader.recorded and reader.references
    assert reader.tags and all(re.fullmatch(r"[a-z0-9-]+", tag) for tag in reader.tags)
    assert reader.license_id in ("odc-by", "other")
    assert reader.redistributable == (reader.license_id == "odc-by")
    assert ("not allowed" in reader.card.license) == (not reader.redistributable)
    assert not any(text == Corpus.protocols["default"] for text in reader.protocols.values())


@pytest.mark.parametrize(
    ("windows", "word"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (297_103, "100K<n<1M"), (10**6, "1M<n<10M")],
)
def test_sizes_are_the_hub_s_words(windows, word):
    assert size_category(windows) == word
