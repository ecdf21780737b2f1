"""The sample is uniform, whatever the batches and the hosts' shares, and each tree has a part of its own."""

import tracemalloc
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import chi2

from algorithms.cluster import Cluster
from algorithms.errors import UserError
from algorithms.random_cut_forest import sampling
from algorithms.random_cut_forest.forest import grow
from algorithms.random_cut_forest.sampling import Reservoir, gathered, memory_of, partition
from algorithms.reservoir import random_bits
from tests.hosts import on_hosts

LEAST = 1e-4  # p-value below which a sample is not believed to be uniform
ROWS, SAMPLE, DRAWS = 6, 3, 500  # 20 different samples: each is expected 25 times


def numbered(n, d=1):
    """Rows (n, d), each filled with its number."""
    return np.repeat(np.arange(n, dtype=np.float32)[:, None], d, axis=1)


def filled(rows, size, seed=0, rank=0, batch=3):
    """A reservoir that has seen these rows."""
    reservoir = Reservoir(size, rows.shape[1], random_bits(seed, 1, rank))
    for start in range(0, len(rows), batch):
        reservoir.add(rows[start : start + batch])
    return reservoir


def samples_of(sizes, size, seeds, batch=3):
    """The numbers of the sampled rows, a sorted list a seed, of hosts with shares of these sizes."""
    parts = np.split(numbered(sum(sizes)), np.cumsum(sizes)[:-1])

    def draw(cluster):
        mine = parts[cluster.rank]
        drawn = [gathered(cluster, filled(mine, size, seed, cluster.rank, batch), size, seed) for seed in seeds]
        return [sorted(rows[:, 0].astype(int).tolist()) for rows in drawn]

    hosts = [draw(Cluster())] if len(sizes) == 1 else on_hosts(len(sizes), draw)
    assert all(host == hosts[0] for host in hosts)  # each of them has the whole sample
    return hosts[0]


def p_of_subsets(samples, rows, size):
    """That all sets of `size` rows are equally likely."""
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


def test_all_rows_in_their_order_while_there_is_room():
    reservoir = filled(numbered(7, 2), 7, batch=2)
    assert reservoir.rows.tolist() == [[i, i] for i in range(7)]
    assert (reservoir.seen, len(reservoir), reservoir.width) == (7, 7, 2)
    assert len(Reservoir(5, 3, random_bits(0, 1)).rows) == 0


@pytest.mark.parametrize("sizes", [(6,), (1, 5), (6, 0), (2, 4), (1, 0, 5)])
def test_every_set_of_rows_is_as_likely(sizes):
    assert p_of_subsets(samples_of(sizes, SAMPLE, range(DRAWS)), ROWS, SAMPLE) > LEAST


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_every_pair_is_as_likely_whatever_the_batch(batch):
    assert p_of_subsets(samples_of((8,), 2, range(560), batch), 8, 2) > LEAST


@pytest.mark.parametrize("sizes", [(400,), (40, 360)])
@pytest.mark.parametrize("size", [20, 200, 390])
def test_every_row_is_as_likely(sizes, size):
    """The first as the last, on either side of where the reservoir is full, of the small share and the large."""
    samples = samples_of(sizes, size, range(150), batch=17)
    assert all(len(set(sample)) == size for sample in samples)
    assert p_of_rows(samples, 400, size) > LEAST


def test_the_sample_does_not_depend_on_the_batches():
    found = [samples_of((100,), 7, range(3), batch) for batch in (1, 2, 33, 1000)]
    assert all(samples == found[0] for samples in found)
    assert found[0][0] != found[0][1]


def test_sparse_rows_are_sampled_as_dense_ones():
    rows = numbered(50, 3)
    dense, thin = (Reservoir(8, 3, random_bits(5, 1)) for _ in range(2))
    dense.add(rows)
    thin.add(sparse.csr_array(rows[:20]))
    thin.add(sparse.csr_array(rows[20:]))
    np.testing.assert_array_equal(dense.rows, thin.rows)


def test_memory_is_that_of_the_sample():
    """A million rows through a reservoir of 5,000; and one with room for all that is never filled takes little."""
    reservoir, block = Reservoir(5000, 10, random_bits(0, 1)), np.zeros((50_000, 10), np.float32)
    for _ in range(20):
        reservoir.add(block)
    assert (reservoir.seen, len(reservoir)) == (1_000_000, 5000)
    assert reservoir._rows.nbytes == 5000 * 10 * 4
    roomy = Reservoir(2_048_000, 10_000, random_bits(0, 1))
    roomy.add(np.zeros((10, 10_000), np.float32))
    assert roomy._rows.nbytes <= 1024 * 10_000 * 4


def test_more_rows_on_hosts_than_numpy_draws_from():
    """A host's part follows its share, also of 3 * 10**9 rows, for which a stand-in says that it has seen them."""

    class Counted(Reservoir):
        def __init__(self, rank):
            super().__init__(1000, 1, random_bits(0, 1, rank))
            self.add(np.full((1000, 1), rank, np.float32))
            self.seen = (1_000_000_000, 2_000_000_000)[rank]

    rows = on_hosts(2, lambda cluster: gathered(cluster, Counted(cluster.rank), 1000, 0))
    np.testing.assert_array_equal(rows[0], rows[1])
    assert 600 < rows[0].sum() < 730  # of the second host; 667 +- 15 expected


def test_few_rows_go_to_the_trees_in_their_order():
    """The small-data rule of the hosted service: 11 rows, 3 trees of 4 asked for: 3 rows each, 2 unused."""
    points = partition(numbered(11), 3, 4, seed=0)
    assert points[:, :, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert partition(numbered(3), 3, 4, seed=0)[:, :, 0].tolist() == [[0], [1], [2]]
    assert partition(numbered(188), 50, 512, seed=0).shape == (50, 3, 1)  # of a published log
    assert partition(numbered(4032), 50, 512, seed=0).shape == (50, 80, 1)


def test_few_rows_may_be_shared_by_the_trees():
    """Each tree draws as many as it asks for, or all; each row comes to as many trees as any other."""
    forests = [partition(numbered(11), 3, 4, seed, share_rows=True)[:, :, 0].astype(int) for seed in range(500)]
    trees = np.concatenate(forests).tolist()
    assert all(len(set(tree)) == 4 for tree in trees)
    assert p_of_rows(trees, 11, 4) > LEAST
    assert partition(numbered(5), 3, 9, seed=0, share_rows=True).shape == (3, 5, 1)
    enough = [partition(numbered(12), 3, 4, seed=0, share_rows=shared) for shared in (False, True)]
    np.testing.assert_array_equal(*enough)


def test_many_rows_are_shuffled_and_none_is_used_twice():
    points = partition(numbered(12, 2), 3, 4, seed=0)
    assert points.shape == (3, 4, 2)
    assert points.flags.c_contiguous
    assert sorted(points[:, :, 0].reshape(-1).tolist()) == list(range(12))
    assert points[:, :, 0].reshape(-1).tolist() != list(range(12))
    np.testing.assert_array_equal(points, partition(numbered(12, 2), 3, 4, seed=0))


def test_every_row_comes_to_every_tree_as_often():
    trees = np.zeros((12, 3))
    for seed in range(600):
        for tree, part in enumerate(partition(numbered(12), 3, 4, seed)[:, :, 0].astype(int)):
            trees[part, tree] += 1
    assert chi2.sf(((trees - 200) ** 2 / 200).sum() * 11 / 12, 22) > LEAST


@pytest.mark.parametrize("n", [1, 49])
def test_fewer_rows_than_trees(n):
    with pytest.raises(UserError) as error:
        partition(numbered(n), 50, 256, seed=0)
    assert str(error.value) == (
        f"the number of rows in channel 'train' must be at least num_trees, 50, got {n}. "
        "Please provide more data, or lower num_trees if it is above 50."
    )


@pytest.mark.parametrize(("trees", "n", "d"), [(50, 100, 1), (20, 64, 30), (50, 256, 8), (2, 50, 1000)])
def test_memory_of_a_forest_is_not_underrated(trees, n, d):
    """What growing takes at most, as Python's allocator counts it, less the sample, which is there before."""
    points = np.random.default_rng(0).normal(size=(trees, n, d)).astype(np.float32)
    tracemalloc.start()
    forest = grow(points, 0, 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = memory_of(trees * n, d)
    assert forest.num_bytes < most + 2 * points.nbytes < needed * 1.1
    assert needed < 2 * (most + 2 * points.nbytes)


def test_a_sample_that_memory_has_no_room_for(monkeypatch):
    """Refused as soon as there are so many rows, and not for what might come."""
    monkeypatch.setattr("algorithms.random_cut_forest.sampling.free_memory", lambda: 1e6)
    reservoir = Reservoir(100_000, 10, random_bits(0, 1))
    reservoir.add(numbered(1000, 10))
    with pytest.raises(UserError) as error:
        reservoir.add(numbered(2000, 10))
    needed = memory_of(3000, 10) - 1024 * 10 * 4
    assert str(error.value) == (
        f"the forest of 3000 sampled rows of 10 features needs {needed} more bytes of memory, only 1000000 bytes are "
        "available. Please lower num_trees or num_samples_per_tree, or use a larger instance."
    )


def shared(rows, trees, per_tree):
    """What each tree draws of rows that are too few for all."""
    return partition(rows, trees, per_tree, seed=0, share_rows=True)


def test_shared_rows_that_memory_has_no_room_for(monkeypatch):
    """All trees have more rows than were sampled."""
    needed = memory_of(50 * 90, 10) - 50 * 90 * 10 * 4  # less the rows as they were sampled
    monkeypatch.setattr(sampling, "free_memory", lambda: needed)
    assert shared(numbered(100, 10), 50, 90).shape == (50, 90, 10)
    monkeypatch.setattr(sampling, "free_memory", lambda: needed - 1)
    with pytest.raises(UserError, match=r"^the forest of 4500 sampled rows of 10 features needs \d+ more bytes"):
        shared(numbered(100, 10), 50, 90)


def test_rows_are_shared_in_the_memory_of_what_is_drawn():
    """Not in that of 200 orders of all rows, 80 MB."""
    rows = numbered(50_000)
    tracemalloc.start()
    shared(rows, 200, 300)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10e6


def test_a_sample_that_a_model_file_has_no_room_for(monkeypatch):
    """Refused as soon as there are so many rows: of one host, of all of them, or of all trees together."""
    monkeypatch.setattr(sampling, "MAX_ELEMENTS", 15_000)
    sentence = (
        "^the forest of {} sampled rows of 10 features is too large for a model file, which can hold 15000 values. "
        "Please lower num_trees or num_samples_per_tree.$"
    )
    reservoir = Reservoir(100_000, 10, random_bits(0, 1))
    for rows in (1300, 100):  # by now there is room for more of them
        reservoir.add(numbered(rows, 10))
    with pytest.raises(UserError, match=sentence.format(1501)):
        reservoir.add(numbered(101, 10))
    with pytest.raises(UserError, match=sentence.format(1600)):
        on_hosts(2, lambda cluster: gathered(cluster, filled(numbered(800, 10), 9999, batch=800), 9999, 0))
    with pytest.raises(UserError, match=sentence.format(1550)):
        shared(numbered(60, 10), 50, 31)
