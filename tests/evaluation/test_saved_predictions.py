"""Predictions in a file: what every window was, and every metric once more."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny_corpora import CARDS, make_dataset, save_corpora

from modeling_mteeg import TaskCard
from modeling_mteeg.data import WindowReader, load_corpora
from modeling_mteeg.evaluation import (
    METRICS,
    PredictionFileError,
    Predictions,
    WindowPredictions,
    predict_task,
    read_predictions,
    save_predictions,
    score,
)

NUMBER = 60


def predictions_of(card: TaskCard, number: int = NUMBER, seed: int = 0) -> WindowPredictions:
    """Random logits, some far out and some twice, of a reader's windows."""
    reader = WindowReader(make_dataset(card, number))
    random = np.random.default_rng(seed)
    logits = random.normal(0, 10, (number, card.num_outputs)).astype(np.float32)
    logits[1::7] = logits[0::7][: len(logits[1::7])]
    return WindowPredictions.of(Predictions(logits, reader.labels), reader, card)


def all_metrics(card: TaskCard) -> TaskCard:
    names = [name for name, metric in METRICS.items()
             if metric.wants == "class" or len(card.labels) == 2]  # fmt: skip
    return card.replace(metrics=tuple(names))


@pytest.mark.parametrize("task", ["tuab", "seed-v"])
@pytest.mark.parametrize("loss", ["", "cross_entropy"])
def test_every_metric_can_be_computed_again(tmp_path, task, loss):
    card = all_metrics(CARDS[task].replace(loss=loss))
    said = predictions_of(card)
    again = read_predictions(save_predictions(tmp_path / "a.parquet", said))
    assert again.card == card and again.people == said.people == 8
    assert score(again, again.card) == pytest.approx(score(said, card), rel=1e-12)
    for name in ("labels", "recordings", "subjects", "onsets_s", "probabilities"):
        assert (
            np.allclose(getattr(again, name), getattr(said, name))
            if name == ("probabilities")
            else np.array_equal(getattr(again, name), getattr(said, name))
        )
    if card.is_binary:
        assert np.array_equal(again.logits, said.logits), "to the bit"


def test_the_file_is_a_plain_table(tmp_path):
    said = predictions_of(CARDS["sleep-edf"])
    table = pq.read_table(save_predictions(tmp_path / "a.parquet", said)).to_pydict()
    assert list(table) == ["recording", "subject", "onset_s", "label", "probability_W",
                           "probability_N1", "probability_N2"]  # fmt: skip
    assert table["recording"][5] == "r1" and table["subject"][9] == "s1"
    assert table["onset_s"][2] == 6.0 and table["label"][:4] == ["W", "N1", "N2", "W"]
    expected = torch.from_numpy(said.logits).double().softmax(1)[:, 1]
    assert table["probability_N1"] == pytest.approx(expected.tolist(), rel=1e-12)


def test_the_same_predictions_are_the_same_bytes(tmp_path):
    card = CARDS["tuab"]
    paths = [save_predictions(tmp_path / f"{n}.parquet", predictions_of(card)) for n in (1, 2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    results = dataclasses.replace(predictions_of(card), card=card.replace(results={"auroc": 1.0}))
    assert save_predictions(tmp_path / "3", results).read_bytes() == paths[0].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.parquet", "2.parquet", "3"]


class FirstSamples:
    """Logits that depend on the window alone."""

    def predict_logits(self, task, batch):
        return batch["input_values"].flatten(2)[..., 0].sum(1, keepdim=True)


def test_a_streamed_corpus_gives_the_same_file(tmp_path):
    save_corpora(tmp_path, {"tuab": (4, 4, 30)})
    paths = []
    for streaming in (False, True):
        corpus = load_corpora(tmp_path, ["tuab"], streaming)["tuab"]
        reader = corpus.splits["test"]
        said = WindowPredictions.of(
            predict_task(FirstSamples(), reader, corpus.card), reader, corpus.card
        )
        paths.append(save_predictions(tmp_path / f"{streaming}.parquet", said))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_is_no_such_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        read_predictions(tmp_path / "none.parquet")
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(PredictionFileError, match=r"a\.parquet holds no predictions"):
        read_predictions(path)
    table = pq.read_table(save_predictions(path, predictions_of(CARDS["tuab"])))
    pq.write_table(table.drop_columns("subject"), path)
    with pytest.raises(PredictionFileError, match="subject"):
        read_predictions(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(PredictionFileError, match="no predictions"):
        read_predictions(path)
    meta = json.loads(table.schema.metadata[b"mteeg"])
    pq.write_table(
        table.replace_schema_metadata({"mteeg": json.dumps({**meta, "version": 9})}), path
    )
    with pytest.raises(PredictionFileError, match="expected version 1, found 9"):
        read_predictions(path)
    labels = table.column_names.index("label")
    pq.write_table(table.set_column(labels, "label", [["odd"] * NUMBER]), path)
    with pytest.raises(PredictionFileError, match="unknown labels"):
        read_predictions(path)
