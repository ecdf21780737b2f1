"""The faiss index: how it is built, written and read."""

from __future__ import annotations

import time
from math import isqrt
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from algorithms.errors import UserError
from algorithms.knn.hyperparameters import CODES, KNNHyperparameters
from algorithms.knn.sample import require_memory
from algorithms.knn.search import greatest_square
from algorithms.report import log
from formats.batch import Dense

TOO_LARGE = "the values are too large: distances between them are beyond float32. Please scale the data."


def build(rows: Dense, hyperparameters: KNNHyperparameters) -> Any:
    """The faiss index of rows (m, d). Raises UserError where they are too few for it, or too large.

    An index of all rows, faiss.Flat, holds these ones, and no others may be added to it; the others hold copies.
    """
    h, (m, d) = hyperparameters, rows.shape
    square = greatest_square(faiss.swig_ptr(rows), m, d)
    if not square <= np.finfo(np.float32).max / 4:  # of which the squared distance of two rows can be four times
        raise UserError(TOO_LARGE)
    inner = h.index_metric != "L2"
    flat = faiss.IndexFlatIP(d) if inner else faiss.IndexFlatL2(d)
    index = flat if h.index_type == "faiss.Flat" else _inverted(flat, m, inner, h)
    if not isinstance(index, faiss.IndexFlat):
        require_memory(rows.nbytes)  # which it holds once more
    if not index.is_trained:
        log.info("Training index...")
        started = time.perf_counter()
        index.train(rows)
        log.info("...Finished training index in %.0f second(s)", time.perf_counter() - started)
    log.info("Adding data to index...")
    if isinstance(index, faiss.IndexFlat):
        _adopt(index, rows)
    else:
        index.add(rows)
    return index


def _adopt(index: Any, rows: Dense) -> None:
    """Rows (m, d) become those of a flat index where they lie, as those of a file do that faiss maps.

    To add to it or to clear it would end the process, and a clone of it in memory would not keep the rows alive.
    """
    codes = index.codes
    if not hasattr(codes, "view_data"):  # a release that has another vector
        require_memory(rows.nbytes)
        index.add(rows)
        return
    codes.is_owned = False
    codes.view_data = codes.c_ptr = faiss.swig_ptr(rows.reshape(-1).view(np.uint8))
    codes.view_size = codes.c_size = rows.nbytes
    index.ntotal = len(rows)
    index.referenced_objects = [rows]  # which must live as long


def _inverted(centroids: Any, m: int, inner: bool, h: KNNHyperparameters) -> Any:
    """An index of lists for m rows, empty yet."""
    if h.faiss_index_ivf_nlists == "auto":
        lists = isqrt(m)
        log.info("'faiss_index_ivf_nlists' was set to 'auto', evaluated to %d.", lists)
    elif (lists := h.faiss_index_ivf_nlists) > m:
        raise UserError(
            f"hyperparameter 'faiss_index_ivf_nlists' must be at most the number of sampled rows, got {lists} for {m} "
            "rows. Please lower faiss_index_ivf_nlists or provide more data."
        )
    metric = faiss.METRIC_INNER_PRODUCT if inner else faiss.METRIC_L2
    if h.index_type == "faiss.IVFPQ" and m < CODES:
        raise UserError(
            f"index_type 'faiss.IVFPQ' needs at least {CODES} sampled rows, got {m}. Please provide more data or use "
            "another index_type."
        )
    index: Any
    if h.index_type == "faiss.IVFPQ":
        index = faiss.IndexIVFPQ(centroids, centroids.d, lists, h.faiss_index_pq_m, 8, metric)
        _seed(index.pq.cp, h.seed)
    else:
        index = faiss.IndexIVFFlat(centroids, centroids.d, lists, metric)
    _seed(index.cp, h.seed)
    index.nprobe = h.nprobe
    return index


def _seed(clustering: Any, seed: int) -> None:
    clustering.seed = seed % (2**31 - 1)  # an int of C
    clustering.min_points_per_centroid = 1  # or faiss warns, on standard error


def write(index: Any, path: Path) -> None:
    """Writes the index as faiss does. Raises OSError."""
    failed: list[OSError] = []
    with path.open("wb") as file:

        def put(data: bytes) -> None:
            try:
                file.write(data)
            except OSError as error:
                failed.append(error)
                raise

        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(put, 2**20))  # type: ignore[attr-defined]
        except RuntimeError:
            if failed:  # faiss tells no more than that writing failed
                raise failed[0] from None
            raise


def read(path: Path) -> Any:
    """The index in a file, ours or the hosted service's. Raises UserError if it is damaged, OSError."""
    with path.open("rb") as file:  # faiss would not say why it cannot
        size = file.seek(0, 2)
    limit = faiss.get_deserialization_vector_byte_limit()
    faiss.set_deserialization_vector_byte_limit(size)  # a damaged length must not fill the memory
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    except (RuntimeError, MemoryError) as error:
        reason = str(error).rpartition(": ")[2] or type(error).__name__
        raise UserError(f"{path} is not an index of faiss, or it is damaged: {reason}") from None
    finally:
        faiss.set_deserialization_vector_byte_limit(limit)
    if (fault := _fault(index)) is not None:
        raise UserError(f"{path} must be a Flat, IVFFlat or IVFPQ index of faiss, complete, but {fault}")
    if isinstance(index, faiss.IndexIVFPQ):
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # others would not survive the server's fork
        index.precompute_table()
        faiss.omp_set_num_threads(threads)
    return index


def _fault(index: Any) -> str | None:
    """What is wrong with an index that was read, which would lead a search outside of it; faiss checks the lengths."""
    flat = (faiss.IndexFlat, faiss.IndexFlatL2, faiss.IndexFlatIP)
    if type(index) not in (*flat, faiss.IndexIVFFlat, faiss.IndexIVFPQ):
        return f"it is an {type(index).__name__}"
    if index.metric_type not in (faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT):
        return "its metric is neither L2 nor INNER_PRODUCT"
    if index.d < 1 or index.ntotal < 1 or not index.is_trained:
        return "it has no rows"
    if isinstance(index, faiss.IndexFlat):
        return None if index.codes.size() == 4 * index.d * index.ntotal else "it has too few rows"
    lists: Any = index.invlists
    centroids = faiss.downcast_index(index.quantizer)
    if not isinstance(centroids, faiss.IndexFlat) or _fault(centroids) is not None or centroids.d != index.d:
        return "its centroids are damaged"
    if not (centroids.ntotal == lists.nlist == index.nlist and 1 <= index.nprobe < 2**31):
        return "its lists are damaged"
    sizes = [lists.list_size(i) for i in range(index.nlist)]
    numbers = [faiss.rev_swig_ptr(lists.get_ids(i), n) for i, n in enumerate(sizes) if n]
    if sum(sizes) != index.ntotal or any(each.min() < 0 or each.max() >= index.ntotal for each in numbers):
        return "its row numbers are damaged"
    return None
