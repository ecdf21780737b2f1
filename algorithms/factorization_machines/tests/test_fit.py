"""Training, whole: what it learns, from which files, on how many hosts, and what the log says."""

import sys

import numpy as np
import pytest
from scipy import sparse

from algorithms.factorization_machines.fit import evaluate, fit, nonzeros
from algorithms.job import NothingLearned
from formats import Batch
from tests.examples import CSV, LIBSVM, RECORDIO, encoded
from tests.hosts import on_hosts

FIT = sys.modules[fit.__module__]
USERS, ITEMS = 30, 20
WIDTH = USERS + ITEMS
REGRESSOR = {
    "predictor_type": "regressor",
    "feature_dim": WIDTH,
    "num_factors": 3,
    "mini_batch_size": 50,
    "epochs": 40,
    "linear_lr": 0.02,
    "factors_lr": 0.02,
    "factors_init_sigma": 0.1,
    "factors_wd": 0,
}
BINARY = REGRESSOR | {"predictor_type": "binary_classifier"}
ADAM_IS_NEAR = 1e-4  # of learning rates of .02: sums in another order


def planted(n, kind="regressor", seed=0):
    """One user and one item a row, (n, 50) as CSR, and labels of which most is the product of their two factors."""
    random = np.random.default_rng(0)
    users, items = random.normal(size=(USERS, 2)), random.normal(size=(ITEMS, 2))
    random = np.random.default_rng([seed, 1])
    user, item = random.integers(0, USERS, n), random.integers(0, ITEMS, n)
    columns = np.column_stack([user, USERS + item]).astype(np.int32).ravel()
    rows = sparse.csr_array((np.ones(2 * n, np.float32), columns, np.arange(0, 2 * n + 1, 2)), shape=(n, WIDTH))
    score = 1 + 0.3 * users[user, 0] + (users[user] * items[item]).sum(axis=1)
    noisy = score + random.normal(scale=0.1, size=n)
    return rows, (noisy if kind == "regressor" else noisy > 1).astype(np.float32)


def rmse(model, rows, labels):
    return float(np.sqrt(np.mean((model.margins(rows) - labels) ** 2)))


def content(model, folder):
    """The bytes of the artifact's files, by name."""
    folder.mkdir(parents=True)
    model.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same(model, other):
    return all(np.array_equal(getattr(model, name), getattr(other, name)) for name in ("factors", "linear", "bias"))


# what it learns


def test_a_planted_machine_is_found(make_job, configure):
    """Better than a linear model can be, on rows that it has not seen; noise is 0.1, the labels' deviation 1.4."""
    X, y = planted(3000)
    model = fit(make_job((X, y)), configure(**REGRESSOR))
    others, labels = planted(2000, seed=1)
    linear = np.linalg.lstsq(X.toarray(), y, rcond=None)[0]
    assert rmse(model, others, labels) < 0.25
    assert rmse(model, others, labels) < 0.25 * np.sqrt(np.mean((others @ linear - labels) ** 2))


def test_a_planted_classifier_is_found(make_job, configure):
    model = fit(make_job(planted(3000, "binary_classifier")), configure(**BINARY))
    others, labels = planted(2000, "binary_classifier", seed=1)
    answers = model.predict(Batch(others))
    assert np.mean(answers["predicted_label"] == labels) > 0.92
    assert model.predictor_type == "binary_classifier"


@pytest.mark.parametrize("term", ["bias", "linear"])
def test_terms_that_are_not_used_stay_0(make_job, configure, term):
    model = fit(make_job(planted(300)), configure(**REGRESSOR | {"epochs": 2, f"use_{term}": False}))
    assert not getattr(model, term).any()
    assert model.factors.any()


def test_a_row_of_zeros_is_accepted(make_job, configure):
    """It teaches the bias, and is answered with it."""
    X, y = planted(400)
    X = X.toarray()
    X[::5] = 0
    X[7:13] = 0
    model = fit(make_job((sparse.csr_array(X), y)), configure(**REGRESSOR | {"mini_batch_size": 5}))
    assert model.margins(np.zeros((1, WIDTH), np.float32)) == model.bias
    only = fit(make_job((np.zeros((50, WIDTH), np.float32), y[:50])), configure(**REGRESSOR | {"bias_wd": 0}))
    assert only.bias[0] == pytest.approx(y[:50].mean(), abs=0.2)


# the same model


def test_the_seed_decides(make_job, configure, tmp_path):
    given = REGRESSOR | {"epochs": 2}
    models = [
        content(fit(make_job(planted(300)), configure(**given, seed=seed)), tmp_path / str(i))
        for i, seed in enumerate((3, 3, 4))
    ]
    assert models[0] == models[1] != models[2]


def test_zeros_that_are_stored_count_as_none(make_job, configure):
    """Dense rows, sparse ones, and sparse ones in which all zeros are stored."""
    X, y = planted(300)
    dense = X.toarray()
    full = sparse.csr_array(
        (dense.ravel(), np.tile(np.arange(WIDTH), 300), np.arange(0, 300 * WIDTH + 1, WIDTH)), shape=dense.shape
    )
    assert full.nnz == dense.size
    models = [fit(make_job((rows, y)), configure(**REGRESSOR | {"epochs": 2})) for rows in (X, dense, full)]
    assert same(models[0], models[1])
    assert same(models[0], models[2])


@pytest.mark.parametrize("density", [0, 0.3, 1])
def test_the_nonzeros_of_dense_rows(density):
    random = np.random.default_rng(0)
    rows = (random.normal(size=(7, 5)) * (random.random((7, 5)) < density)).astype(np.float32)
    wanted, found = sparse.csr_array(rows), nonzeros(rows)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert nonzeros(Batch.empty(5).features).shape == (0, 5)


def test_content_types_give_one_model(job_of, configure):
    X, y = planted(300)
    models = [
        fit(job_of(name, encoded(X.toarray(), name, y)), configure(**REGRESSOR | {"epochs": 2}))
        for name in (RECORDIO, LIBSVM, CSV)
    ]
    assert same(models[0], models[1])
    assert same(models[0], models[2])


@pytest.mark.parametrize("size", [7, 50, 1000])
def test_blocks_and_files_do_not_matter(make_job, configure, monkeypatch, size):
    """The reader hands over several mini-batches at a time, more of them once it knows how sparse the rows are."""
    X, y = planted(301)
    given = configure(**REGRESSOR | {"epochs": 3, "mini_batch_size": size})
    wanted = fit(make_job((X, y)), given)
    monkeypatch.setattr(FIT, "BLOCK", 1)
    assert same(fit(make_job((X[:5], y[:5]), (X[5:5], y[5:5]), (X[5:], y[5:])), given), wanted)


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("replicated", [False, True])
def test_two_hosts_are_one_with_twice_the_mini_batch(make_job, configure, kind, replicated):
    """Host 0 has the even rows, host 1 the odd ones, each in mini-batches half as large."""
    X, y = planted(310, kind)
    given = REGRESSOR | {"predictor_type": kind, "epochs": 3}
    wanted = fit(make_job((X, y)), configure(**given | {"mini_batch_size": 40}))

    def train(cluster):
        rows = slice(None) if replicated else slice(cluster.rank, None, 2)
        job = make_job((X[rows], y[rows]), cluster=cluster, replicated=replicated)
        return fit(job, configure(**given | {"mini_batch_size": 20}))

    models = on_hosts(2, train)
    assert same(*models)
    for name in ("factors", "linear", "bias"):
        np.testing.assert_allclose(getattr(models[0], name), getattr(wanted, name), atol=ADAM_IS_NEAR)


@pytest.mark.parametrize("sizes", [(300, 0), (20, 280), (149, 151)])
def test_hosts_with_unequal_shares(make_job, configure, sizes):
    """All take part in every step, with rows or without."""
    X, y = planted(300)
    parts = [slice(0, sizes[0]), slice(sizes[0], 300)]

    def train(cluster):
        job = make_job((X[parts[cluster.rank]], y[parts[cluster.rank]]), cluster=cluster, replicated=False)
        return fit(job, configure(**REGRESSOR))

    models = on_hosts(2, train)
    assert same(*models)
    assert rmse(models[0], X, y) < 0.6


# the test channel


@pytest.mark.parametrize("kind", ["regressor", "binary_classifier"])
def test_scores_of_the_test_channel(make_job, configure, kind):
    """The same in one batch, in several, and on two hosts of which one has no rows."""
    given = configure(**REGRESSOR | {"predictor_type": kind, "epochs": 5})
    job = make_job(planted(500, kind))
    model = fit(job, given)
    X, y = planted(200, kind, seed=1)
    batches = [Batch(X[:50], y[:50]), Batch(X[50:], y[50:])]
    scores = evaluate(job, given, model, iter(batches))
    if kind == "regressor":
        assert list(scores) == ["rmse", "mse", "absolute_loss"]
        assert scores["rmse"] == pytest.approx(rmse(model, X, y), rel=1e-5)
    else:
        right = np.mean(model.predict(Batch(X))["predicted_label"] == y)
        assert scores["binary_classification_accuracy"] == pytest.approx(right)
    assert evaluate(job, given, model, iter([Batch(X.toarray(), y)])) == pytest.approx(scores)

    def score(cluster):
        alone = make_job((X, y), cluster=cluster)
        return evaluate(alone, given, model, iter(batches if cluster.rank == 0 else ()))

    assert on_hosts(2, score) == [scores, scores]


# a stop by the platform


def test_told_to_stop_before_the_first_row(make_job, configure):
    with pytest.raises(NothingLearned):
        fit(make_job(planted(200), stopped=lambda: True), configure(**REGRESSOR))
