"""The inverted indexes: with all lists searched they are the flat one, with few they still find k rows."""

import gc

import faiss
import numpy as np
import pytest

from algorithms.errors import UserError
from algorithms.knn.tests.oracle import METRICS, assert_nearest, nearest
from algorithms.knn.tests.streams import neighbours, predicted, train
from algorithms.knn.tests.test_search import BATCHES, normal

IVF, PQ = "faiss.IVFFlat", "faiss.IVFPQ"


@pytest.fixture(autouse=True)
def one_thread():
    """The k-means of small parts spends its time waiting for other threads, the more the busier the machine is."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def saved(model, folder):
    """The index that faiss reads from the artifact."""
    model.save(folder)
    return faiss.read_index(str(folder / "model_algo-1"))


def inverted(index):
    return faiss.extract_index_ivf(index)


def recall(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT"])
def test_the_flat_index_is_one_that_faiss_fills(tmp_path, metric):
    """It holds the sample's rows where they lie: the same file, and they live as long as the index."""
    rows = normal(300, 5)
    index = train(rows, index_metric=metric).search.index
    gc.collect()
    kind = faiss.IndexFlatL2 if metric == "L2" else faiss.IndexFlatIP
    filled = kind(5)
    filled.add(rows)
    for number, each in enumerate((index, filled)):
        faiss.write_index(each, str(tmp_path / str(number)))
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()
    assert not index.codes.is_owned


@pytest.mark.parametrize("metric", METRICS)
def test_all_lists_are_the_flat_index(metric):
    rows, queries = normal(600, 8), normal(200, 8, seed=1)
    given = {"index_type": IVF, "faiss_index_ivf_nlists": 20, "_faiss_index_nprobe": 20}
    found = neighbours(train(rows, k=9, index_metric=metric, **given), queries)
    assert_nearest(found, queries, rows, metric, atol=1e-5)
    flat = neighbours(train(rows, k=9, index_metric=metric), queries)
    assert np.array_equal(found[1], flat[1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [1, 3, 200])
def test_few_rows_a_list_still_give_k_neighbours(metric, batch):
    """One list of about three rows cannot hold 20 neighbours: then all lists are searched, which is exact."""
    rows, queries = normal(60, 4), normal(batch, 4, seed=1)
    given = {"index_type": IVF, "faiss_index_ivf_nlists": 20, "_faiss_index_nprobe": 1}
    model = train(rows, k=20, index_metric=metric, **given)
    assert_nearest(neighbours(model, queries), queries, rows, metric, atol=1e-5)


def test_every_row_of_a_packed_index_can_be_asked_for():
    rows = normal(300, 4)
    given = {"index_type": PQ, "faiss_index_pq_m": 2, "faiss_index_ivf_nlists": 40, "_faiss_index_nprobe": 1}
    _, labels = neighbours(train(rows, k=300, **given), rows[:10])
    assert all(sorted(row) == list(range(300)) for row in labels.tolist())


def test_packed_rows_of_all_lists_do_not_depend_on_the_batch():
    """A list holds too few rows, and so many queries that faiss would find all lists by products."""
    rows, queries = normal(600, 24) + 100, normal(2000, 24, seed=1) + 100
    given = {"index_type": PQ, "faiss_index_pq_m": 4, "faiss_index_ivf_nlists": 100, "_faiss_index_nprobe": 1}
    model = train(rows, k=60, **given)
    distances, labels = neighbours(model, queries)
    for i in range(0, 2000, 100):
        alone = neighbours(model, queries[i : i + 1])
        assert np.array_equal(alone[0][0], distances[i])
        assert np.array_equal(alone[1][0], labels[i])


def test_few_lists_find_most():
    rows, queries = normal(3000, 6), normal(300, 6, seed=1)
    wanted = nearest(queries, rows, 10)[1]
    shares = [
        recall(neighbours(train(rows, k=10, index_type=IVF, _faiss_index_nprobe=n), queries)[1], wanted)
        for n in (1, 5, 20)
    ]
    assert shares == sorted(shares)
    assert shares[1] > 0.7
    assert shares[2] > 0.98


@pytest.mark.parametrize(("n", "lists"), [(1, 1), (3, 1), (4, 2), (99, 9), (100, 10), (1000, 31)])
def test_lists_auto(tmp_path, n, lists):
    """The square root of the rows in the index, not of a sample_size that they do not reach."""
    index = saved(train(normal(n, 3), index_type=IVF, faiss_index_ivf_nlists="auto"), tmp_path)
    assert inverted(index).nlist == lists
    assert index.ntotal == n


def test_lists_and_probes_are_those_asked_for(tmp_path):
    index = saved(train(normal(50, 3), index_type=IVF, faiss_index_ivf_nlists=7, _faiss_index_nprobe=3), tmp_path)
    assert (inverted(index).nlist, inverted(index).nprobe) == (7, 3)
    (tmp_path / "default").mkdir()
    index = saved(train(normal(50, 3), index_type=IVF, faiss_index_ivf_nlists=7), tmp_path / "default")
    assert inverted(index).nprobe == 5


@pytest.mark.parametrize(("d", "m", "padded"), [(54, 8, 56), (5, 8, 8), (1, 96, 96), (7, 3, 9), (12, 4, 12), (8, 1, 8)])
def test_padding(tmp_path, d, m, padded):
    """Rows are padded with zeros to a multiple of pq_m; requests keep their width."""
    rows = normal(300, d)
    model = train(rows, k=5, index_type=PQ, faiss_index_pq_m=m, _faiss_index_nprobe=17)
    assert model.width == d
    index = saved(model, tmp_path)
    assert index.d == padded
    assert index.pq.M == m  # noqa: SIM300 - M is no constant
    found, labels = neighbours(model, rows[:50])
    assert found.shape == labels.shape == (50, 5)
    assert (np.diff(found, axis=1) >= 0).all()
    assert np.isfinite(found).all()
    assert predicted(model, rows[:1]).shape == (1,)


def test_packed_rows_find_most_of_their_neighbours():
    """A byte for each feature is nearly all of it, half a byte less; all lists searched."""
    rows, queries = normal(1500, 16), normal(200, 16, seed=1)
    wanted = nearest(queries, rows, 10)[1]
    given = {"index_type": PQ, "faiss_index_ivf_nlists": 5, "_faiss_index_nprobe": 5}
    shares = [
        recall(neighbours(train(rows, k=10, faiss_index_pq_m=m, **given), queries)[1], wanted) for m in (16, 8, 2)
    ]
    assert shares[0] > 0.9
    assert 0.5 < shares[1] < shares[0]
    assert shares[2] < shares[1]


@pytest.mark.parametrize("given", [{"index_type": IVF}, {"index_type": PQ, "faiss_index_pq_m": 4}])
def test_the_answers_do_not_depend_on_the_batch(given):
    rows, queries = normal(900, 8), normal(5000, 8, seed=1)
    model = train(rows, k=6, _faiss_index_nprobe=3, **given)
    whole, labels = neighbours(model, queries)
    for size in BATCHES[:-1]:
        found, same = neighbours(model, queries[:size])
        np.testing.assert_allclose(found, whole[:size], rtol=1e-5, atol=1e-5)
        assert np.mean(same == labels[:size]) > 0.99  # packed rows share their distances


def test_more_lists_than_rows():
    with pytest.raises(UserError) as error:
        train(normal(30, 2), index_type=IVF, faiss_index_ivf_nlists=31)
    assert "'faiss_index_ivf_nlists'" in str(error.value)
    assert "31" in str(error.value)
    assert "30" in str(error.value)


@pytest.mark.parametrize(("n", "sample"), [(255, 1000), (500, 255)])
def test_too_few_rows_to_pack(n, sample):
    with pytest.raises(UserError) as error:
        train(normal(n, 8), index_type=PQ, sample_size=sample)
    assert "256" in str(error.value)
    assert "255" in str(error.value)
    train(normal(256, 8), index_type=PQ)


def test_faiss_prints_nothing_of_its_own(capfd):
    """Not that it would like more rows than there are."""
    train(normal(300, 8), index_type=PQ)
    train(normal(20, 8), index_type=IVF, faiss_index_ivf_nlists=20)
    assert capfd.readouterr() == ("", "")
