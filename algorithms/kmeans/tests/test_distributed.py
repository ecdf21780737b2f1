"""Several hosts learn what one host would learn from all their rows."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.kmeans.fit import evaluate, fit, initialise
from algorithms.kmeans.initialise import plus_plus_rows, uniform_rows
from algorithms.kmeans.model import KMeansModel
from formats import Batch, Expected
from tests.hosts import on_hosts

both_methods = pytest.mark.parametrize("choose", [uniform_rows, plus_plus_rows])
splits = pytest.mark.parametrize("sizes", [(30, 30), (10, 50), (0, 60), (60, 0), (20, 15, 25), (0, 0, 60), (1, 0, 59)])


def split(rows, sizes):
    return np.split(rows, np.cumsum(sizes)[:-1])


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


@both_methods
@splits
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_the_initial_rows_are_one_hosts(choose, sizes, kind, rows):
    alone = choose(Cluster(), kind(rows), 7, np.random.default_rng(5))
    parts = split(rows, sizes)
    found = on_hosts(len(sizes), lambda c: choose(c, kind(parts[c.rank]), 7, np.random.default_rng(5)))
    for centers in found:
        assert np.array_equal(centers, found[0])
        assert len(np.unique(centers, axis=0)) == 7
        assert {tuple(row) for row in centers} <= {tuple(row) for row in rows}
    assert np.array_equal(found[0], alone)


@both_methods
@splits
def test_all_rows_are_chosen_when_as_many_are_asked_for(choose, sizes, rows):
    parts = split(rows, sizes)
    for centers in on_hosts(len(sizes), lambda c: choose(c, parts[c.rank], 60, np.random.default_rng(1))):
        assert sorted(map(tuple, centers)) == sorted(map(tuple, rows))


@both_methods
def test_rows_of_every_host_are_as_likely(choose):
    """Both methods choose the first row uniformly among all rows: of 30 and 10 rows, 3 to 1."""
    parts = [np.arange(30, dtype=np.float32)[:, None], 100 + np.arange(10, dtype=np.float32)[:, None]]

    def firsts(cluster):
        random = np.random.default_rng(2)
        return [choose(cluster, parts[cluster.rank], 1, random)[0, 0] for _ in range(800)]

    of_second = np.mean(np.array(on_hosts(2, firsts)[0]) >= 100)
    assert 0.25 - 0.06 < of_second < 0.25 + 0.06  # four standard deviations


@pytest.mark.parametrize("init_method", ["random", "kmeans++"])
@pytest.mark.parametrize("half_life", [0, 40])
@pytest.mark.parametrize("hosts", [2, 3])
def test_training_is_one_hosts(make_job, configure, hosts, init_method, half_life):
    """Step i of h hosts has the rows of one host's step i, whose mini-batch is h times as large."""
    corners = np.random.default_rng(3).normal(size=(4, 5)) * 20
    rows = corners[np.arange(240) % 4] + np.random.default_rng(4).normal(size=(240, 5))
    steps = rows.astype(np.float32).reshape(240 // hosts // 20, hosts, 20, 5)
    given = {"k": 4, "feature_dim": 5, "extra_center_factor": 3, "init_method": init_method, "epochs": 2}
    given |= {"half_life_time_size": half_life}
    alone = fit(make_job(steps.reshape(240, 5)), configure(**given, mini_batch_size=20 * hosts))

    def train(cluster):
        return fit(
            make_job(steps[:, cluster.rank].reshape(-1, 5), cluster=cluster), configure(**given, mini_batch_size=20)
        )

    found = [model.centers for model in on_hosts(hosts, train)]
    assert all(centers.tobytes() == found[0].tobytes() for centers in found)
    np.testing.assert_allclose(found[0], alone.centers, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("init_method", ["random", "kmeans++"])
@pytest.mark.parametrize("sizes", [(100, 0), (0, 100), (90, 10), (3, 0, 97)])
def test_hosts_with_few_rows_or_none_take_part(make_job, configure, rows, sizes, init_method):
    rows = np.random.default_rng(8).normal(size=(100, 3)).astype(np.float32)
    parts = split(rows, sizes)
    given = configure(k=5, feature_dim=3, mini_batch_size=20, init_method=init_method)
    found = on_hosts(len(sizes), lambda c: fit(make_job(parts[c.rank], cluster=c), given).centers)
    assert all(centers.tobytes() == found[0].tobytes() for centers in found)
    squared = ((rows[:, None] - found[0]) ** 2).sum(axis=2).min(axis=1).mean()
    assert squared < ((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean() * 0.8


def test_rows_are_counted_over_all_hosts(make_job, configure, rows):
    """4 + 3 rows are enough for 7 centers, and too few for 8 on both hosts alike."""
    parts = split(rows[:7], (4, 3))
    given = {"feature_dim": 3, "extra_center_factor": 1}
    found = on_hosts(2, lambda c: fit(make_job(parts[c.rank], cluster=c), configure(k=7, **given)).centers)
    assert sorted(map(tuple, found[0])) == sorted(map(tuple, rows[:7]))

    def refused(cluster):
        with pytest.raises(UserError, match="got 8 for 7 rows"):
            fit(make_job(parts[cluster.rank], cluster=cluster), configure(k=8, **given))
        return True

    assert on_hosts(2, refused) == [True, True]


def test_the_state_begins_equal_on_all_hosts(make_job, configure, rows):
    given = configure(k=3, feature_dim=3, mini_batch_size=10, extra_center_factor=5)

    def begin(cluster):
        job = make_job(split(rows, (20, 40))[cluster.rank], cluster=cluster)
        with job.channels["train"].epoch(10, Expected(3)) as batches:
            state, first = initialise(job, given, batches, np.random.default_rng(0))
            return state.centers, sum(map(len, first)), sum(map(len, batches))

    (a, first_a, rest_a), (b, first_b, rest_b) = on_hosts(2, begin)
    assert a.tobytes() == b.tobytes()
    assert a.shape == (15, 3)
    assert (first_a + rest_a, first_b + rest_b) == (20, 40)  # what was read to begin with is still there to train on


def test_scores_are_over_all_hosts(make_job, configure):
    """Squared distances 0, 4 on one host and 9 on the other: ssd 13, msd 13/3."""
    model = KMeansModel(np.zeros((1, 1), np.float32))
    parts = [np.array([[0], [2]], np.float32), np.array([[3]], np.float32)]
    given = configure(k=1, feature_dim=1, eval_metrics='["msd", "ssd"]')

    def score(cluster):
        job = make_job(parts[cluster.rank], cluster=cluster)
        return evaluate(job, given, model, iter([Batch(parts[cluster.rank])]))

    assert on_hosts(2, score) == [{"msd": pytest.approx(13 / 3), "ssd": 13}] * 2
