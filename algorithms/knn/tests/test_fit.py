"""Training, whole: real channels, the log, the metrics; real digits."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier

from algorithms.job import NothingLearned
from algorithms.knn.fit import fit
from algorithms.knn.tests.oracle import assert_nearest
from algorithms.knn.tests.streams import algorithm, neighbours, predicted, train
from algorithms.knn.tests.test_search import normal
from formats import Expected
from tests.examples import CSV, RECORDIO, encoded

MNIST = Path(__file__).parents[3] / "data" / "mnist"
LABELS = (np.arange(400) % 3).astype(np.float32)
GIVEN = {"k": "3", "predictor_type": "classifier", "sample_size": "300"}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels = np.frombuffer(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return pixels.reshape(-1, 784).astype(np.float32), labels.astype(np.float32)


def test_digits(digits):
    """k = 1 on 6,000 of them: the same answers as scikit-learn's, and 19 of 20 right."""
    X, labels = digits
    model = train(X[:6000], labels[:6000], predictor_type="classifier", k=1)
    found = predicted(model, X[6000:7500])
    oracle = KNeighborsClassifier(1, algorithm="brute").fit(X[:6000], labels[:6000])
    assert np.mean(found == oracle.predict(X[6000:7500])) > 0.999
    assert np.mean(found == labels[6000:7500]) > 0.94


@pytest.mark.parametrize("kind", ["sign", "fjlt"])
def test_digits_reduced(digits, kind):
    """100 of 784 dimensions keep most of it."""
    X, labels = digits
    given = {"dimension_reduction_type": kind, "dimension_reduction_target": 100}
    model = train(X[:6000], labels[:6000], predictor_type="classifier", k=3, **given)
    assert np.mean(predicted(model, X[6000:7500]) == labels[6000:7500]) > 0.9


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_real_channels(make_job, configure, kind):
    rows = normal(400, 5) * (normal(400, 5, seed=1) > 0)
    parts = [(kind(rows[:150]), np.arange(150)), (kind(rows[150:]), np.arange(150, 400))]
    parts = [(features, labels.astype(np.float32)) for features, labels in parts]
    given = configure(k=4, predictor_type="regressor", sample_size=1000, mini_batch_size=64)
    model = fit(make_job(*parts), given)
    assert model.width == 5
    assert_nearest(neighbours(model, rows), rows, rows, atol=1e-5)
    assert_nearest(neighbours(model, sparse.csr_array(rows)), rows, rows, atol=1e-5)


def test_files_sparse_and_dense(make_job, configure):
    rows = normal(400, 5) * (normal(400, 5, seed=1) > 0)
    numbers = np.arange(400, dtype=np.float32)
    job = make_job((sparse.csr_array(rows[:150]), numbers[:150]), (rows[150:], numbers[150:]))
    model = fit(job, configure(k=4, predictor_type="regressor", sample_size=1000, mini_batch_size=64))
    assert_nearest(neighbours(model, rows), rows, rows, atol=1e-5)


def test_the_log(make_job, configure, lines):
    """The lines of the hosted service that say something, and the counters of every algorithm."""
    fit(make_job((normal(400, 4), LABELS)), configure(**GIVEN, mini_batch_size=100, index_type="faiss.IVFFlat"))
    text = "\n".join(lines)
    for line in (
        r"sample size ?= ?300\b",
        r"Getting reservoir sample from algo-1\.\.\.",
        r"\.\.\.Got reservoir sample from algo-1: data=\(300, 4\), labels=\(300,\), NaNs=0",
        r"Training index\.\.\.",
        r"\.\.\.Finished training index in \d+ second\(s\)",
        r"Adding data to index\.\.\.",
        r"#throughput_metric: host=algo-1, train throughput=\d+\.?\d* records/second",
        r"#progress_metric: host=algo-1, completed 100 % of epochs",
        r'#metrics .*"Total Records Seen": \{"sum": 400\.0',
    ):
        assert re.search(line, text), line


@pytest.mark.parametrize(("kind", "name"), [("classifier", "accuracy"), ("regressor", "mse")])
def test_metrics_as_observed(job_folder, kind, name):
    """All of them, on the training rows themselves: the nearest is the row, the score perfect."""
    job = job_folder("knn")
    job.hyperparameters = GIVEN | {"predictor_type": kind, "k": "1", "sample_size": "400"}
    data = encoded(normal(400, 4), CSV, LABELS)
    job.channel("train", {"a": data}, "text/csv;label_size=1")
    job.channel("test", {"a": data}, CSV)
    ended = job.train()
    assert ended.exit_code == 0, ended.log
    value, sign = {"accuracy": ("1.0", "score"), "mse": ("0.0", "loss")}[name]
    assert f"#test_score (algo-1) : ('{name}', {value})" in ended.log
    assert f"#quality_metric: host=algo-1, test {name} <{sign}>={value}" in ended.log
    assert algorithm.metric("test", name).direction == ("maximize" if name == "accuracy" else "minimize")


def test_declared():
    assert (algorithm.name, algorithm.repository, algorithm.dimension) == ("knn", "knn", "AWS/KNN")
    assert algorithm.content_types == (RECORDIO, CSV)
    assert [(channel.name, channel.required) for channel in algorithm.channels] == [("train", True), ("test", False)]
    assert {(metric.channel, metric.name) for metric in algorithm.metrics} == {("test", "accuracy"), ("test", "mse")}
    assert algorithm.max_hosts is None


def test_a_csv_row_has_its_label_first(job_folder):
    """The guide's own row: `4,1.2,1.3,9.6,20.3`; label_size need not be said."""
    job = job_folder("knn")
    job.hyperparameters = {"k": "1", "predictor_type": "classifier", "sample_size": "10"}
    job.channel("train", {"a": b"4,1.2,1.3,9.6,20.3\n5,1,1,1,1\n"}, CSV)
    assert job.train().exit_code == 0
    model = algorithm.load(job.model)
    assert algorithm.expected(model) == Expected(4)
    assert predicted(model, [[1.2, 1.3, 9.6, 20.3], [0, 0, 0, 0]]).tolist() == [4, 5]


def test_a_job_stopped_early_keeps_what_it_has(make_job, configure):
    """At least k rows make a model; fewer are nothing."""
    rows = normal(400, 3)
    seen = []

    def stopped() -> bool:
        seen.append(None)
        return len(seen) > 12

    job = make_job((rows, LABELS), stopped=stopped)
    try:
        model = fit(job, configure(**GIVEN, mini_batch_size=10))
    except NothingLearned:
        return
    assert model.width == 3


def test_a_job_stopped_at_once_learns_nothing(make_job, configure):
    with pytest.raises(NothingLearned):
        fit(make_job((normal(400, 3), LABELS), stopped=lambda: True), configure(**GIVEN))


def test_seeds(tmp_path):
    rows = normal(500, 3)
    found = [train(rows, seed=seed, sample_size=50, k=50) for seed in (1, 1, 2)]
    samples = [sorted(neighbours(model, rows[:1])[1][0].tolist()) for model in found]
    assert samples[0] == samples[1]
    assert samples[0] != samples[2]
