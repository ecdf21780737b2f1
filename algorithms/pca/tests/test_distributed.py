"""Several hosts learn what one host would learn from all their rows."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.job import NothingLearned
from algorithms.pca.fit import evaluate, fit
from algorithms.pca.model import PCAModel
from algorithms.pca.tests.subspace import check_form
from formats import Batch
from tests.hosts import on_hosts

both_modes = pytest.mark.parametrize("mode", ["regular", "randomized"])
splits = pytest.mark.parametrize(
    "sizes", [(300, 300), (1, 599), (599, 1), (0, 600), (600, 0), (200, 3, 397), (0, 0, 600)]
)


def split(rows, sizes):
    ends = np.cumsum(sizes)
    return [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]


@pytest.fixture
def rows():
    """600 rows of 80 columns that differ in scale and lie far from 0, sorted: the hosts' means differ."""
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 80)) * np.linspace(1, 9, 80) @ random.normal(size=(80, 80)) / 9 + 1000
    return X[np.argsort(X[:, 0])].astype(np.float32)


@pytest.fixture
def train_on(make_job, configure):
    """`train_on(parts, n, ...)`: the models of as many hosts as there are parts."""

    def models(parts, n, **given):
        given = configure(**{"feature_dim": parts[0].shape[1], "num_components": n, **given})
        return on_hosts(len(parts), lambda cluster: fit(make_job(parts[cluster.rank], cluster=cluster), given))

    return models


def as_bytes(model):
    return model.mean.tobytes() + model.v.tobytes() + model.s.tobytes()


def assert_one(found, alone):
    """All hosts have the same model, bit for bit, and it is the model of one host to 1e-6."""
    assert len({as_bytes(model) for model in found}) == 1
    check_form(found[0], *alone.v.shape)
    for name in ("mean", "v", "s"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(alone, name), rtol=1e-6, atol=1e-6, err_msg=name)


@both_modes
@splits
@pytest.mark.parametrize("subtract_mean", [True, False])
def test_training_is_one_hosts(train_on, rows, sizes, mode, subtract_mean):
    given = {"n": 4, "algorithm_mode": mode, "subtract_mean": subtract_mean}
    [alone] = train_on([rows], **given)
    assert_one(train_on(split(rows, sizes), **given), alone)


@both_modes
@splits
def test_training_on_sparse_rows_is_one_hosts(train_on, rows, sizes, mode):
    X = sparse.csr_array((rows - 1000) * (np.random.default_rng(1).random(rows.shape) < 0.3))
    [alone] = train_on([X], 4, algorithm_mode=mode)
    assert_one(train_on(split(X, sizes), 4, algorithm_mode=mode), alone)


@both_modes
@pytest.mark.parametrize("sparse_rank", [0, 1])
def test_one_host_has_sparse_rows_the_other_dense(train_on, rows, sparse_rank, mode):
    parts = split(rows - np.float32(995), (250, 350))
    [alone] = train_on([rows - np.float32(995)], 4, algorithm_mode=mode)
    parts[sparse_rank] = sparse.csr_array(parts[sparse_rank])
    assert_one(train_on(parts, 4, algorithm_mode=mode), alone)


@both_modes
def test_digits_on_two_hosts(train_on, mnist, mode):
    X = np.ascontiguousarray(mnist[0][:, 200:500])
    [alone] = train_on([X], 20, algorithm_mode=mode)
    assert_one(train_on(split(X, (9900, 100)), 20, algorithm_mode=mode), alone)


@both_modes
def test_rows_are_counted_over_all_hosts(make_job, configure, train_on, rows, mode):
    """4 + 3 rows are enough for 7 components, and too few for 8 on both hosts alike."""
    parts = split(rows[:7], (4, 3))
    assert [model.v.shape for model in train_on(parts, 7, algorithm_mode=mode)] == [(80, 7)] * 2
    given = configure(feature_dim=80, num_components=8, algorithm_mode=mode)

    def refused(cluster):
        with pytest.raises(UserError, match="got 8 for 7 rows"):
            fit(make_job(parts[cluster.rank], cluster=cluster), given)
        return True

    assert on_hosts(2, refused) == [True, True]


@both_modes
def test_no_host_has_a_row(make_job, configure, mode):
    given = configure(feature_dim=80, num_components=3, algorithm_mode=mode)

    def refused(cluster):
        with pytest.raises(UserError, match=r"^No data in channel 'train'"):
            fit(make_job(np.empty((0, 80), np.float32), cluster=cluster), given)
        return True

    assert on_hosts(2, refused) == [True, True]


@both_modes
@pytest.mark.parametrize("sizes", [(300, 300), (2, 598)])
def test_one_host_is_told_to_stop(make_job, configure, rows, sizes, mode):
    """The others end too, and all of them alike: with the same model or with none."""
    parts = split(rows, sizes)
    given = configure(feature_dim=80, num_components=3, algorithm_mode=mode)

    def train(cluster):
        try:
            job = make_job(parts[cluster.rank], cluster=cluster, stopped=lambda: cluster.rank == 0)
            return as_bytes(fit(job, given))
        except NothingLearned:
            return b""

    first, second = on_hosts(2, train)
    assert first == second


@both_modes
def test_scores_are_over_all_hosts(make_job, configure, mode):
    """Squared distances to the axis 0, 4 on one host and 9, 0 on the other; 1 + 4 + 9 + 16 = 30 from the mean."""
    model = PCAModel(np.zeros((1, 2), np.float32), np.array([[1], [0]], np.float32), np.ones(1, np.float32))
    parts = [
        np.array([[1, 0], [0, 2]], np.float32),
        np.array([[0, 3], [4, 0]], np.float32),
        np.empty((0, 2), np.float32),
    ]
    given = configure(feature_dim=2, num_components=1, algorithm_mode=mode)

    def score(cluster):
        job = make_job(parts[cluster.rank], cluster=cluster)
        batches = [Batch(parts[cluster.rank])] if len(parts[cluster.rank]) else []
        return evaluate(job, given, model, iter(batches))

    wanted = {"reconstruction_error": pytest.approx(13 / 4), "captured_variance": pytest.approx(17 / 30)}
    assert on_hosts(3, score) == [wanted] * 3
