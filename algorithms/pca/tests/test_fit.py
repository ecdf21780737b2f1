"""Training, around the numbers: what is refused, what is logged, and what a job that is stopped leaves."""

import re

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.job import NothingLearned
from algorithms.pca.fit import fit

both_modes = pytest.mark.parametrize("mode", ["regular", "randomized"])
both_kinds = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])


@pytest.fixture
def train(make_job, configure):
    """`train(rows, n, ...)`: the model of a job with one file."""

    def model(rows, n, **given):
        return fit(make_job(rows), configure(**{"feature_dim": rows.shape[1], "num_components": n, **given}))

    return model


def refusal(train, *arguments, **given):
    with pytest.raises(UserError) as error:
        train(*arguments, **given)
    return str(error.value)


@both_modes
@both_kinds
def test_fewer_rows_than_components(train, mode, kind):
    rows = kind(np.random.default_rng(0).normal(size=(3, 99)).astype(np.float32))
    assert refusal(train, rows, 5, algorithm_mode=mode) == (
        "hyperparameter 'num_components' must be at most the number of rows in channel 'train', got 5 for 3 rows. "
        "Please lower num_components or provide more data."
    )


@both_modes
def test_as_many_rows_as_components(train, mode):
    rows = np.random.default_rng(0).normal(size=(5, 99)).astype(np.float32)
    assert train(rows, 5, algorithm_mode=mode).v.shape == (99, 5)


@both_modes
def test_no_rows(train, mode):
    assert refusal(train, np.empty((0, 99), np.float32), 2, algorithm_mode=mode) == (
        "No data in channel 'train'. Please verify that it points to files with at least one record."
    )


@both_kinds
def test_rows_of_another_width(train, kind):
    sentence = refusal(train, kind(np.ones((4, 3), np.float32)), 2, feature_dim=5)
    assert sentence.startswith("Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0'")


@both_modes
@both_kinds
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_values_that_are_too_large(train, mode, kind, subtract_mean):
    """Singular values of some 1e39, which float32 cannot hold."""
    rows = np.outer(np.tile([1, -1], 100), np.ones(99)).astype(np.float32) * np.float32(3e38)
    sentence = refusal(train, kind(rows), 2, algorithm_mode=mode, subtract_mean=subtract_mean)
    assert re.match(r"the values are too large: .*[Pp]lease scale the data\.$", sentence)


@both_modes
@both_kinds
def test_large_values_that_float32_can_hold(train, mode, kind):
    """Their squares are beyond float32, and the model is not."""
    rows = np.outer(np.tile([1, -1], 8), [3, 4, *[0] * 97]).astype(np.float32) * np.float32(1e36)
    model = train(kind(rows), 1, algorithm_mode=mode)
    np.testing.assert_allclose(model.v[:, 0], [0.6, 0.8, *[0] * 97], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(model.s, [20e36], rtol=1e-5)


@both_modes
def test_the_log(train, lines, mode):
    """The lines that the hosted service writes, and how much of the variance the components hold."""
    train(np.random.default_rng(0).normal(size=(1000, 134)).astype(np.float32), 3, algorithm_mode=mode)
    text = "\n".join(lines)
    assert "134 feature(s) found in 'data'." in lines
    assert re.search(r"^#progress_metric: host=algo-1, completed 100 % of epochs$", text, re.MULTILINE)
    assert float(re.findall(r"train throughput=(\S+) records/second", text)[0]) > 0
    [counted] = [line for line in lines if line.startswith("#metrics") and "training_data_iter" in line]
    assert '"Number of Records Since Last Reset": {"sum": 1000.0' in counted


@both_modes
def test_a_stop_before_the_first_row_leaves_no_model(make_job, configure, mode):
    given = configure(feature_dim=99, num_components=1, algorithm_mode=mode)
    with pytest.raises(NothingLearned):
        fit(make_job(np.ones((9, 99), np.float32), stopped=lambda: True), given)


class StoppedAfter:
    """Tells a job to stop once its channel has given more than so many batches."""

    def __init__(self, batches):
        self.left = batches

    def __call__(self):
        return self.left < 0

    def watch(self, channel, monkeypatch):
        consume = channel._consume

        def watched(ready):
            for batch in consume(ready):
                self.left -= 1
                yield batch

        monkeypatch.setattr(channel, "_consume", watched)


@both_modes
def test_a_stop_keeps_what_was_learned(make_job, configure, monkeypatch, lines, mode):
    """15,000 rows are more than are read at once; told to stop after some, these make the model."""
    rows = np.random.default_rng(0).normal(size=(15_000, 300)).astype(np.float32)
    rows += np.arange(15_000, dtype=np.float32)[:, None] / 1000
    stop = StoppedAfter(2)
    job = make_job(rows, stopped=stop)
    stop.watch(job.channels["train"], monkeypatch)
    model = fit(job, configure(feature_dim=300, num_components=3, algorithm_mode=mode))
    [counted] = [line for line in lines if line.startswith("#metrics") and "training_data_iter" in line]
    seen = int(float(re.findall(r'"Number of Records Since Last Reset": {"sum": ([\d.]+)', counted)[0]))
    assert 0 < seen < 15_000
    np.testing.assert_allclose(model.mean[0], rows[:seen].mean(axis=0, dtype=np.float64), atol=1e-5)


@both_modes
def test_a_stop_with_fewer_rows_than_components_leaves_no_model(make_job, configure, monkeypatch, mode):
    """A block of 4,096 columns has some 1,000 rows, too few for 1,400 components; in the end there would be enough."""
    random = np.random.default_rng(0)
    rows = sparse.random_array((1500, 4096), density=1e-3, rng=random, dtype=np.float32, format="csr")
    stop = StoppedAfter(0)
    job = make_job(rows, stopped=stop)
    stop.watch(job.channels["train"], monkeypatch)
    given = configure(feature_dim=4096, num_components=1400, algorithm_mode=mode)
    with pytest.raises(NothingLearned):
        fit(job, given)
