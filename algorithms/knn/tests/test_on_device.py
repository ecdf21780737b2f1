"""Searching with a GPU, for which another product stands in: the same answers, and what the log says without one."""

from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

import algorithms
from algorithms.device import CPU, Device
from algorithms.knn.fit import fit
from algorithms.knn.model import KNNModel
from algorithms.knn.on_device import placed
from algorithms.knn.search import MOST, FlatSearch, search
from formats import Batch
from tests.gpu.forwarded import require_gpu

METRICS = {"L2": faiss.IndexFlatL2, "INNER_PRODUCT": faiss.IndexFlatIP}


class Twin:
    """What faiss does on a GPU: a matrix product in float32, rounded in its own way, and a selection."""

    def __init__(self, index):
        self.rows = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d).copy()
        self.inner, self.asked = index.metric_type == faiss.METRIC_INNER_PRODUCT, 0

    def search_c(self, n, queries, k, distances, numbers, parameters):
        assert parameters is None
        assert 0 < k <= MOST
        self.asked += n
        Q = faiss.rev_swig_ptr(queries, n * self.rows.shape[1]).reshape(n, -1)
        away = Q @ self.rows.T
        if not self.inner:
            away = ((self.rows**2).sum(axis=1) - 2 * away) + (Q**2).sum(axis=1)[:, None]
        order = np.argsort(-away if self.inner else away, axis=1)[:, :k]
        faiss.rev_swig_ptr(numbers, n * k)[:] = order.ravel()
        faiss.rev_swig_ptr(distances, n * k)[:] = np.take_along_axis(away, order, axis=1).ravel()


@pytest.fixture
def cuda(monkeypatch):
    """A build of faiss with CUDA, as far as it is asked for."""
    monkeypatch.setattr(faiss, "StandardGpuResources", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "GpuClonerOptions", SimpleNamespace, raising=False)

    def clone(resources, number, index, options):
        assert (number, options.use_cuvs, options.useFloat16) == (0, False, False)
        return Twin(index)

    monkeypatch.setattr(faiss, "index_cpu_to_gpu", clone, raising=False)


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def index_of(rows, metric="L2"):
    index = METRICS[metric](rows.shape[1])
    index.add(rows)
    return index


def same(one, other):
    for here, there in zip(one, other, strict=True):
        assert here.dtype == there.dtype
        assert np.array_equal(here, there)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [1, 20, 300, 5000])
@pytest.mark.parametrize("k", [1, 7, 150])
def test_neighbours_are_those_of_the_cpu(cuda, forwarding, metric, batch, k):
    here = search(index_of(normal(600, 8), metric))
    there = placed(here, Device(forwarding, 1))
    queries = normal(batch, 8, seed=1)
    same(here(queries, k), there(queries, k))
    assert there._twin.asked == batch


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("batch", [1, 400])
def test_where_distances_are_alike_the_cpu_decides(cuda, forwarding, metric, batch):
    """Each row many times, and far from 0, where the product is left with noise."""
    rows = np.repeat(normal(20, 8) + np.float32(1000), 30, axis=0)
    here = search(index_of(rows, metric))
    there = placed(here, Device(forwarding, 1))
    queries = rows[np.random.default_rng(1).permutation(len(rows))[:batch]]
    same(here(queries, 40), there(queries, 40))
    assert there._twin.asked > 0


def test_more_than_a_gpu_selects_and_no_queries(cuda, forwarding):
    here = search(index_of(normal(2500, 4)))
    there = placed(here, Device(forwarding, 1))
    for n, k in ((3, 2000), (1, 2500), (3000, 1900), (0, 3)):
        queries = normal(n, 4, seed=1)
        same(here(queries, k), there(queries, k))
    assert there._twin.asked == 0
    there(normal(2, 4), 1800)
    assert there._twin.asked == 2


def test_a_job_gives_the_same_model(cuda, forwarding, make_job, configure, tmp_path: Path):
    X, h = normal(500, 5), configure(k=3, predictor_type="classifier", sample_size=400)
    y = (X[:, 0] > 0).astype(np.float32)
    models = [fit(make_job((X, y)), h, device) for device in (CPU, Device(forwarding, 1))]
    folders = [tmp_path / name for name in ("here", "there")]
    for model, folder in zip(models, folders, strict=True):
        folder.mkdir()
        model.save(folder)
    for file in folders[0].iterdir():
        assert file.read_bytes() == (folders[1] / file.name).read_bytes()
    algorithm, queries = algorithms.find("knn"), Batch(normal(100, 5, seed=1))
    loaded = KNNModel.load(folders[1])
    moved = algorithm.on_device(loaded, Device(forwarding, 1))
    back = algorithm.on_device(moved, CPU)
    for model in (models[1], loaded, moved, back):
        same(model.predict(queries).values(), models[0].predict(queries).values())
    assert (moved.search._twin.asked, back.search._twin) == (100, None)


def test_the_log_says_why_a_gpu_is_not_used(cuda, forwarding, lines, monkeypatch):
    gpu, rows = Device(forwarding, 1), normal(100, 4)
    lists = faiss.IndexIVFFlat(faiss.IndexFlatL2(4), 4, 2)
    lists.cp.min_points_per_centroid = 1
    lists.train(rows)
    flat, of_lists = search(index_of(rows)), search(lists)
    assert placed(of_lists, gpu) is of_lists
    monkeypatch.setenv("FORWARDED_MEMORY", "1000000")
    assert placed(flat, gpu) is flat
    monkeypatch.delattr(faiss, "StandardGpuResources")
    assert placed(flat, gpu) is flat
    assert lines == [
        "The GPU is not used: only index_type 'faiss.Flat' is searched with one.",
        "The index of 100 rows needs 1.5 GiB of the GPU's memory, 0.0 are free: the CPU computes.",
        "The GPU is not used: this build of faiss is without CUDA. The image for GPU has the other one.",
    ]


@pytest.mark.parametrize("metric", METRICS)
def test_a_real_gpu_finds_the_same(metric):
    device = Device(require_gpu(), 1)
    if not hasattr(faiss, "StandardGpuResources"):
        pytest.skip("this build of faiss is without CUDA")
    here = search(index_of(normal(20_000, 30), metric))
    there = placed(here, device)
    assert isinstance(there, FlatSearch)
    for n, k in ((1, 5), (500, 5), (20, 1500)):
        same(here(normal(n, 30, seed=1), k), there(normal(n, 30, seed=1), k))
