"""The sample is uniform, whatever the batches, the hosts and their shares: chi-square tests with fixed seeds."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy.stats import chi2

from algorithms.cluster import Cluster
from algorithms.knn._place import place
from algorithms.knn.sample import Reservoir
from algorithms.knn.tests.streams import algorithm, job, neighbours, settings
from algorithms.reservoir import random_bits
from tests.hosts import on_hosts

LEAST = 1e-4  # p-value below which a sample is not believed to be uniform
ROWS, SAMPLE, DRAWS = 7, 3, 700  # 35 different samples: each is expected 20 times
SHARES = [(7,), (1, 6), (7, 0), (1, 0, 6)]


def sampled(cluster, rows, *, replicated=False, seeds, size, batch=3):
    """The numbers of the rows in the sample, a list for each seed."""
    queries = np.zeros((1, 1), np.float32)
    found = []
    for seed in seeds:
        given = settings(k=size, sample_size=size, seed=seed, mini_batch_size=batch)
        model = algorithm.fit(job(rows[:, None], rows, cluster=cluster, replicated=replicated), given)
        found.append(sorted(neighbours(model, queries)[1][0].astype(int).tolist()))
    return found


def shared(sizes, *, replicated=False, seeds, size, batch=3):
    """The samples of hosts with shares of these sizes, or where all of them read all rows, by the first host."""
    numbers = np.arange(sum(sizes), dtype=np.float32)
    parts = [numbers] * len(sizes) if replicated else np.split(numbers, np.cumsum(sizes)[:-1])
    if len(sizes) == 1:
        return sampled(Cluster(), parts[0], seeds=seeds, size=size, batch=batch)
    hosts = on_hosts(
        len(sizes),
        lambda cluster: sampled(
            cluster, parts[cluster.rank], replicated=replicated, seeds=seeds, size=size, batch=batch
        ),
    )
    assert all(host == hosts[0] for host in hosts)  # each of them has the whole sample
    return hosts[0]


def p_of_subsets(samples, rows, size):
    """That all sets of `size` rows are equally likely: all pairs are, then."""
    seen = dict.fromkeys(combinations(range(rows), size), 0)
    for sample in samples:
        seen[tuple(sample)] += 1  # a KeyError is a row drawn twice
    expected = len(samples) / comb(rows, size)
    return chi2.sf(sum((n - expected) ** 2 for n in seen.values()) / expected, len(seen) - 1)


def p_of_rows(samples, rows, size):
    """That all rows are. Drawn without replacement, counts vary less: their covariances are those of p (1 - p)."""
    seen = np.bincount(np.concatenate(samples), minlength=rows)
    share = size / rows
    statistic = ((seen - len(samples) * share) ** 2).sum() / (len(samples) * share * (1 - share)) * (rows - 1) / rows
    return chi2.sf(statistic, rows - 1)


@pytest.mark.parametrize("sizes", SHARES)
def test_every_set_of_rows_is_as_likely(sizes):
    samples = shared(sizes, seeds=range(DRAWS), size=SAMPLE)
    assert p_of_subsets(samples, ROWS, SAMPLE) > LEAST


@pytest.mark.parametrize("hosts", [2, 3])
def test_every_set_of_a_channel_that_all_hosts_read_is_as_likely(hosts):
    samples = shared((ROWS,) + (0,) * (hosts - 1), replicated=True, seeds=range(DRAWS), size=SAMPLE)
    assert p_of_subsets(samples, ROWS, SAMPLE) > LEAST


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_every_pair_is_as_likely_whatever_the_mini_batch(batch):
    samples = shared((8,), seeds=range(840), size=2, batch=batch)
    assert p_of_subsets(samples, 8, 2) > LEAST


@pytest.mark.parametrize(("sizes", "replicated"), [((400,), False), ((40, 360), False), ((400, 0, 0), True)])
@pytest.mark.parametrize("size", [20, 200, 390])
def test_every_row_is_as_likely(sizes, replicated, size):
    """The first as the last, on either side of where the reservoir is full, of the small share and the large."""
    samples = shared(sizes, replicated=replicated, seeds=range(150), size=size, batch=17)
    assert all(len(set(sample)) == size for sample in samples)
    assert p_of_rows(samples, 400, size) > LEAST
    quarters = np.bincount(np.concatenate(samples) // 100, minlength=4)
    assert p_of_quarters(quarters, 150, size) > LEAST


def p_of_quarters(seen, draws, size):
    """As `p_of_rows`, for four strata of 100 rows each: multivariate hypergeometric counts."""
    variance = draws * size * 0.25 * 0.75 * (400 - size) / 399
    return chi2.sf(((seen - draws * size / 4) ** 2).sum() / variance * 3 / 4, 3)


@pytest.mark.parametrize(("n", "size"), [(100, 7), (100, 99), (50, 100), (100, 100)])
def test_the_sample_does_not_depend_on_the_mini_batch(n, size):
    found = [shared((n,), seeds=(1, 2, 3), size=min(n, size), batch=batch) for batch in (1, 2, 7, 33, 100, 1000)]
    assert all(samples == found[0] for samples in found)
    assert found[0][0] != found[0][1] or size >= n


def test_the_sample_of_several_hosts_does_not_depend_on_the_mini_batch():
    for replicated in (False, True):
        sizes = (90, 0) if replicated else (20, 70)
        found = [shared(sizes, replicated=replicated, seeds=(4, 5), size=11, batch=batch) for batch in (1, 8, 500)]
        assert all(samples == found[0] for samples in found)


@pytest.mark.parametrize(("sizes", "size"), list(product(SHARES, (ROWS, ROWS + 5))))
def test_a_sample_of_all_rows_is_all_rows(sizes, size):
    numbers = np.arange(ROWS, dtype=np.float32)
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    given = settings(k=ROWS, sample_size=size, mini_batch_size=2)

    def learn(cluster):
        model = algorithm.fit(job(parts[cluster.rank][:, None], parts[cluster.rank], cluster=cluster), given)
        return neighbours(model, np.zeros((1, 1)))[1].tolist()

    assert on_hosts(len(sizes), learn) == [[numbers.tolist()]] * len(sizes)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("reduce", [None, lambda X: X])
def test_rows_keep_their_labels(batch, reduce):
    """Also where all rows of a batch come in, in another order of their slots."""
    numbers = np.arange(12, dtype=np.float32)
    for seed in range(50):
        reservoir = Reservoir(4, random_bits(seed, 1), reduce)
        for start in range(0, 12, batch):
            part = numbers[start : start + batch]
            reservoir.add(part[:, None], part)
        rows, labels = reservoir.sample()
        assert np.array_equal(rows[:, 0], labels)


@pytest.mark.parametrize(("n", "d", "m"), [(1, 1, 1), (40, 54, 30), (300, 17, 200), (5, 3, 0), (5, 0, 2)])
def test_rows_are_placed_as_numpy_places_them(n, d, m):
    random = np.random.default_rng(0)
    X, kept = random.random((n, d), np.float32), random.random((2 * n, d), np.float32)
    rows, slots = random.choice(n, m), random.permutation(2 * n)[:m]
    wanted = kept.copy()
    wanted[slots] = X[rows]
    place(X, rows, slots, kept)
    assert np.array_equal(kept, wanted)


def test_seeds_draw_different_samples():
    samples = shared((200,), seeds=range(20), size=10)
    assert len(set(map(tuple, samples))) == 20
    assert shared((200,), seeds=range(20), size=10) == samples


@pytest.mark.parametrize("share", [0.25, 0.0])
def test_room_is_made_at_once_or_as_rows_come(share, monkeypatch):
    """The same sample, with its labels; as much room as memory, and no more than rows."""
    monkeypatch.setattr("algorithms.knn.sample.SHARE", share)
    numbers = np.arange(9000, dtype=np.float32)
    reservoir = Reservoir(5000, random_bits(1, 1), lambda X: X)
    for part in np.split(numbers, 9):
        reservoir.add(np.stack([part, -part], axis=1), part)
        assert (len(reservoir._labels) == 5000) == (share > 0 or reservoir.seen >= 5000)
    rows, labels = reservoir.sample()
    assert len(set(labels)) == 5000
    assert np.array_equal(rows, np.stack([labels, -labels], axis=1))
    few = Reservoir(5000, random_bits(1, 1), lambda X: X)
    few.add(numbers[:700, None], numbers[:700])
    assert [len(each) for each in few.sample()] == [700, 700]
