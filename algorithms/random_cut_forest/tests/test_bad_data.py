"""What training and scoring refuse, in one sentence that says what was found and what to do; it is exit code 2."""

import sys
from collections.abc import Callable

import numpy as np
import pytest

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.job import NothingLearned
from algorithms.random_cut_forest import sampling
from algorithms.random_cut_forest.fit import evaluate, fit
from formats import Batch
from tests.examples import CSV, RECORDIO, encoded
from tests.hosts import on_hosts

GIVEN = {"num_trees": 50, "num_samples_per_tree": 8}
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(400, 3)).astype(np.float32)
LABELS = (np.arange(400) % 50 == 0).astype(np.float32)


@pytest.fixture
def refused(make_job, configure) -> Callable[..., str]:
    """`refused(rows, ..., feature_dim=5)`: the sentence with which training on these files ends."""

    def sentence(*parts: np.ndarray, **given: object) -> str:
        with pytest.raises(UserError) as error:
            fit(make_job(*parts), configure(**(GIVEN | given)))
        assert "\n" not in str(error.value)
        return str(error.value)

    return sentence


@pytest.mark.parametrize(("value", "what"), [(np.nan, "a missing (NaN) value"), (-np.inf, "an infinite value")])
def test_values_that_are_not_finite(refused, value, what):
    rows = ROWS.copy()
    rows[7, 1] = value
    assert refused(rows) == (
        "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0', row 8: feature 2 of 3 "
        f"is {what}. Please remove any missing (NaN) or infinite values in the input data."
    )


@pytest.mark.parametrize("width", [2, 4])
def test_another_width_than_feature_dim(refused, width):
    sentence = refused(ROWS, feature_dim=width)
    assert sentence.startswith("Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0'")
    assert f"row 1: expected {width} features, found 3" in sentence


def test_files_of_different_widths(refused):
    """feature_dim is auto: the first row of the first file says it for all."""
    sentence = refused(ROWS, ROWS[:, :2].copy())
    assert "file 'part-1', row 1: expected 3 features, found 2; give all files the same number" in sentence


def test_more_features_than_the_guide_allows(refused):
    assert "row 1: expected at most 10000 features, found 10001" in refused(np.zeros((2, 10_001), np.float32))


@pytest.mark.parametrize("n", [1, 49])
def test_fewer_rows_than_trees(refused, n):
    assert refused(ROWS[:n]).startswith(
        f"the number of rows in channel 'train' must be at least num_trees, 50, got {n}. Please provide more data"
    )


def test_no_rows(refused):
    assert refused(ROWS[:0]) == (
        "No data in channel 'train'. Please verify that it points to files with at least one record."
    )


def test_a_forest_that_memory_has_no_room_for(refused, monkeypatch):
    monkeypatch.setattr(sampling, "free_memory", lambda: 3000.0)
    assert refused(ROWS) == (
        f"the forest of 400 sampled rows of 3 features needs {sampling.memory_of(400, 3)} more bytes of memory, only "
        "3000 bytes are available. Please lower num_trees or num_samples_per_tree, or use a larger instance."
    )


def test_memory_for_more_rows_than_there_are_is_not_asked_for(make_job, configure, monkeypatch, lines):
    """Full trees would not fit; but these data are few."""
    for module in (sampling, sys.modules[fit.__module__]):
        monkeypatch.setattr(module, "free_memory", lambda: 1e6)
    model = fit(make_job(ROWS), configure(num_trees=1000 // 4, num_samples_per_tree=2048))
    assert model.forest.points.shape == (250, 1, 3)
    assert any(line.startswith("There is not enough memory for a forest of all 512000 rows, ") for line in lines)
    assert "Memory limits validated." not in lines


def test_shared_rows_that_a_model_file_has_no_room_for(refused, monkeypatch, lines):
    """Known when there are as many rows as a tree asks for, not only when all have been read."""
    monkeypatch.setattr(sampling, "MAX_ELEMENTS", 50 * 90 * 3 - 1)
    sentence = refused(ROWS, num_samples_per_tree=90, share_rows="true")
    assert sentence.startswith("the forest of 4500 sampled rows of 3 features is too large for a model file")
    assert "Sampling training data completed." not in lines


def test_hosts_with_rows_of_different_widths(make_job, configure):
    def learn(cluster: Cluster) -> str:
        rows = ROWS if cluster.is_leader else ROWS[:, :2].copy()
        with pytest.raises(UserError) as error:
            fit(make_job(rows, cluster=cluster, replicated=False), configure(**GIVEN))
        return str(error.value)

    sentence = "the hosts must read rows of the same number of features in channel 'train', got [2, 3]"
    assert on_hosts(2, learn) == [sentence] * 2


@pytest.mark.parametrize("n", [0, 49])
def test_stopped_before_there_is_a_row_for_each_tree(make_job, configure, n):
    stops = iter([False] * 3)
    job = make_job(ROWS[:n], stopped=lambda: next(stops, True))
    with pytest.raises(NothingLearned):
        fit(job, configure(**GIVEN))


def scored(make_job, configure, *batches: Batch) -> str:
    """The sentence with which scoring these batches of the channel `test` ends."""
    h, job = configure(**GIVEN), make_job(ROWS)
    model = fit(job, h)
    with pytest.raises(UserError) as error:
        evaluate(job, h, model, iter(batches))
    return str(error.value)


def test_a_test_channel_without_labels(make_job, configure):
    sentence = scored(make_job, configure, Batch(ROWS[:5], LABELS[:5]), Batch(ROWS))
    assert sentence.startswith("channel 'test': row 6: the rows have no labels; please give every row one, 1 for an ")


@pytest.mark.parametrize("label", [2, -1, 0.5])
def test_labels_that_are_neither_0_nor_1(make_job, configure, label):
    labels = LABELS.copy()
    labels[3] = label
    sentence = scored(make_job, configure, Batch(ROWS, LABELS), Batch(ROWS, labels))
    assert sentence == (
        f"channel 'test': row 404: the label must be 1 for an anomaly or 0 for a normal row, got {label:g}. "
        "Please mend the labels; in CSV they are the first column."
    )


def test_a_test_channel_without_labels_ends_the_program(job_folder):
    job = job_folder("random_cut_forest")
    job.hyperparameters = {name: str(value) for name, value in GIVEN.items()} | {"feature_dim": "3"}
    job.channel("train", {"data": encoded(ROWS, RECORDIO)})
    job.channel("test", {"data": encoded(ROWS, CSV)}, "text/csv;label_size=0")
    ended = job.train()
    assert ended.exit_code == 2
    assert (ended.failure or "").startswith("ClientError: channel 'test': row 1: the rows have no labels; ")
    assert not job.model.exists() or job.artifact() == {}


def test_equal_rows_train_and_score(make_job, configure, lines):
    """There is nothing to tell them apart by: all scores are finite, and a row elsewhere has a higher one."""
    model = fit(make_job(np.full((500, 3), 7, np.float32)), configure(**GIVEN))
    assert "The rows of each tree are all equal: there is nothing to tell anomalies from." in lines
    same, other = model.scores(Batch(np.array([[7, 7, 7], [7, 8, 7]], np.float32)))
    assert np.isfinite([same, other]).all()
    assert other > same
    assert np.isfinite(model.training.quantiles).all()
    assert model.training.deviation == 0


def test_a_row_a_tree_scores_zero(make_job, configure, lines):
    model = fit(make_job(ROWS[:60]), configure(**GIVEN))
    assert model.scores(Batch(ROWS)).tolist() == [0] * 400
    assert "Each tree has a single row, so that all scores are 0: please provide more data." in lines


@pytest.mark.parametrize("scale", [1e-38, 1e30, 3e37])
def test_values_at_the_ends_of_float32(make_job, configure, scale):
    rows = ROWS * np.float32(scale)
    model = fit(make_job(rows), configure(**GIVEN))
    scores = model.scores(Batch(np.vstack([rows, np.full((1, 3), 3.4e38, np.float32)])))
    assert np.isfinite(scores).all()
    assert scores[-1] > np.median(scores)
