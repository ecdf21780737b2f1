"""Searching a faiss index: the rows nearest to queries, the same ones whatever other queries come with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from algorithms.knn._order import put_in_order
from algorithms.knn._sieve import sieve
from formats.batch import Dense

# Numbers in a batch of queries from which faiss compares them with all rows by one matrix product. What is left of a
# difference of large squares is not exact, and so an answer would depend on the batch it comes in: it gets fewer.
PRODUCT = 2**13
QUERIES, PAIRS = 8, 2**16  # from which the sieve is faster than to compare each query with each row
SHARED = 1024  # rows, of far more faiss shares out the product for one query among threads
AT_ONCE = 1024  # queries, or fewer where each has many candidates
ROOM = 2**20  # candidates at once
BLOCK = 4096  # queries whose lists are looked through at once
UNIT = 2.0**-24  # the relative error of an operation in float32
MOST = 2048  # rows that faiss can select on a GPU
Found = tuple[Dense, NDArray[np.int64]]


class FlatSearch:
    """Finds the rows of an index of all rows that are nearest to queries, exactly.

    Those of least distance, as faiss computes it for a pair of rows, and of equal distances the first rows. Distances
    ascend: L2 squared, or inner products with their sign changed.

    twin: the same index on a GPU, which then finds the candidates, or None
    """

    def __init__(self, index: Any, *, twin: Any = None) -> None:
        faiss.cvar.distance_compute_blas_threshold = PRODUCT  # of the process; whatever it is, answers are the same
        self.index, self._twin = index, twin
        self.width = int(index.d)
        self._inner = index.metric_type == faiss.METRIC_INNER_PRODUCT
        # with a selection faiss compares pairs, also where it would share out the product for one query among threads
        self._in_pairs = _parameters(faiss.SearchParameters, sel=faiss.IDSelectorAll())

    def __call__(self, Q: Dense, k: int) -> Found:
        """Distances (n, k) and row numbers (n, k) of the k rows nearest to each of Q (n, d), nearest first.

        A number is -1, or a distance not finite, where float32 cannot say how far rows are.
        """
        many = len(Q) >= QUERIES and len(Q) * self.index.ntotal >= PAIRS
        pays = many or (len(Q) > 0 and self._helps(self._candidates(k)))
        return self._by_products(Q, k) if pays else self._one_by_one(Q, k)

    def _helps(self, candidates: int) -> bool:
        """Whether a GPU finds so many."""
        return self._twin is not None and candidates <= MOST

    def _candidates(self, k: int) -> int:
        """How many rows are looked at to be sure of the k nearest."""
        return min(k + 8 + k // 12, int(self.index.ntotal))

    def _found(self, Q: Dense, k: int, parameters: Any = None, index: Any = None) -> Found:
        distances, numbers = found(self.index if index is None else index, Q, k, parameters)
        return _negated(distances) if self._inner else distances, numbers

    def _paired(self, Q: Dense, numbers: NDArray[np.int64]) -> Dense:
        """The distances of each query to rows of these numbers (n, m), by pairs."""
        distances, pointer = np.empty(numbers.shape, np.float32), faiss.swig_ptr
        self.index.compute_distance_subset(len(Q), pointer(Q), numbers.shape[1], pointer(distances), pointer(numbers))
        return _negated(distances) if self._inner else distances

    def _one_by_one(self, Q: Dense, k: int) -> Found:
        """By comparing each query with each row."""
        return _in_blocks(lambda block: self._few(block, k), Q, max(1, (PRODUCT - 1) // self.width))

    def _few(self, Q: Dense, k: int) -> Found:
        shared = self.index.ntotal > SHARED and faiss.omp_get_max_threads() > 1
        by_product = len(Q) == 1 and (shared or Q.size >= PRODUCT)
        parameters = self._in_pairs if by_product else None
        if k < faiss.cvar.distance_compute_min_k_reservoir and not self._inner:
            return self._found(Q, k, parameters)  # from a heap, in the order of distances and numbers
        # of equal inner products the heap keeps the last, and a reservoir, for larger k, any
        distances, numbers = self._found(Q, min(k + 1, self.index.ntotal), parameters)
        tied = np.flatnonzero(distances[:, k - 1] == distances[:, k:].T)
        put_in_order(distances, numbers)
        distances, numbers = _first(k, distances, numbers)
        for i in tied:
            distances[i], numbers[i] = self._of_all(Q[i : i + 1], k)
        return distances, numbers

    def _of_all(self, q: Dense, k: int) -> Found:
        """For one query, (1, d): the distances to all rows, and the k first in the order of distances and numbers."""
        numbers = np.arange(self.index.ntotal)
        distances = self._paired(q, numbers[None])[0]
        order = np.argsort(distances, kind="stable")[:k]
        return distances[order], numbers[order]

    def _by_products(self, Q: Dense, k: int) -> Found:
        """By products, and again one by one where these leave a doubt; without them, where doubt is the rule."""
        find = self._certified if self._helps(self._candidates(k)) else self._sieved
        parts, at_once = [], max(1, min(AT_ONCE, ROOM // _room(k)))
        for start in range(0, len(Q), at_once):
            block = Q[start : start + at_once]
            distances, numbers, certain = find(block, k)
            doubtful = np.flatnonzero(~certain)
            if len(doubtful) > len(block) // 2:
                parts.append(self._one_by_one(Q[start:], k))
                break
            if doubtful.size:
                distances[doubtful], numbers[doubtful] = self._one_by_one(block[doubtful], k)
            parts.append((distances, numbers))
        return _joined(parts)

    def _sieved(self, Q: Dense, k: int) -> tuple[Dense, NDArray[np.int64], NDArray[np.bool_]]:
        """The k nearest of the few rows that can be among them, and for each query if it is known which these are."""
        candidates, counts = np.empty((len(Q), _room(k)), np.int64), np.empty(len(Q), np.int64)
        longest = self._longest if self._inner else 0.0
        sieve(self._rows, self._center, Q, k, self._inner, longest, faiss.omp_get_max_threads(), candidates, counts)
        numbers = np.ascontiguousarray(candidates[:, : max(k, int(counts.max()))])
        distances = self._paired(Q, numbers)
        put_in_order(distances, numbers)
        return *_first(k, distances, numbers), counts > 0

    def _certified(self, Q: Dense, k: int) -> tuple[Dense, NDArray[np.int64], NDArray[np.bool_]]:
        """The k nearest of some more rows that a matrix product finds, and for each query if they are nearest of all.

        All other rows have a distance of `last` at least by the product, so of last - bound truly, of last - 2 bound by
        pairs. In float32 |q|^2 - 2 q.y + |y|^2 is off by (d + 3) u (|q| + |y|)^2 at most, a product of d numbers by
        d u |q| |y| (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1); distances by pairs by less.
        A row that is longer than |q| and the greatest of the k distances together is farther away than that.
        """
        m, d = self.index.ntotal, self.width
        candidates = self._candidates(k)
        nearly, numbers = self._found(Q, candidates, index=self._twin if self._helps(candidates) else None)
        distances = self._paired(Q, numbers)
        put_in_order(distances, numbers)
        distances, numbers = _first(k, distances, numbers)
        if candidates == m:
            return distances, numbers, np.all(numbers >= 0, axis=1)
        last, greatest = nearly[:, -1].astype(np.float64), distances[:, -1].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite leaves a doubt
            length = np.sqrt(np.einsum("ij,ij->i", Q, Q, dtype=np.float64))
            if self._inner:
                bound = (d + 3) * UNIT * length * self._longest
            else:
                reach = (length + np.sqrt(greatest)) * (1 + (d + 3) * 2 * UNIT)
                bound = (d + 3) * UNIT * (length + np.minimum(reach, self._longest)) ** 2
            return distances, numbers, greatest + 2 * bound < last

    @cached_property
    def _longest(self) -> float:
        """The length of the longest row, or a little more."""
        square = greatest_square(self.index.get_xb(), self.index.ntotal, self.width)
        return float(np.sqrt(square * (1 + (self.width + 3) * 2 * UNIT)))

    @cached_property
    def _rows(self) -> Dense:
        """The index's own."""
        shape = int(self.index.ntotal), self.width
        rows: Dense = faiss.rev_swig_ptr(self.index.get_xb(), shape[0] * shape[1]).reshape(shape)
        return rows

    @cached_property
    def _center(self) -> Dense:
        """A point amid the rows: distances from it are shorter than from 0, and so is what is lost of them."""
        if self._inner:
            return np.zeros(self.width, np.float32)
        mean: Dense = self._rows[:: 1 + len(self._rows) // 1024].mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean


class ListSearch:
    """Finds the rows nearest to queries in the lists of the centroids nearest to them; distances as of FlatSearch."""

    def __init__(self, index: Any) -> None:
        self.index = index
        index.parallel_mode = 3  # queries shared out among threads, in search_preassigned too
        self._inner = index.metric_type == faiss.METRIC_INNER_PRODUCT
        self.width = int(index.d)
        self._centroids = FlatSearch(faiss.downcast_index(index.quantizer))
        # then faiss finds the same lists in the same order for a few queries
        self._simple = not self._inner and index.nprobe < faiss.cvar.distance_compute_min_k_reservoir
        self._shares = index.nlist > SHARED
        self._all_lists = _parameters(faiss.SearchParametersIVF, nprobe=index.nlist)

    def __call__(self, Q: Dense, k: int) -> Found:
        """Distances (n, k) and row numbers (n, k) of k rows near to each of Q (n, d), nearest first.

        All lists are searched for a query whose nearest ones hold fewer than k rows. A number is -1, or a distance not
        finite, where float32 cannot say how far rows are.
        """
        few = Q.size < PRODUCT and (len(Q) > 1 or not self._shares or faiss.omp_get_max_threads() == 1)
        if few and self._simple:
            distances, numbers = found(self.index, Q, k, None)
        else:
            distances, numbers = _in_blocks(lambda block: self._in_nearest_lists(block, k), Q, BLOCK)
        if (len(Q) == 1 and numbers[0, -1] < 0) or (len(Q) > 1 and numbers[:, -1].min() < 0):
            lacking = np.flatnonzero(numbers[:, -1] < 0)
            few_enough = max(1, (PRODUCT - 1) // self.width)
            distances[lacking], numbers[lacking] = _in_blocks(
                lambda block: found(self.index, block, k, self._all_lists), Q[lacking], few_enough
            )
        return _negated(distances) if self._inner else distances, numbers

    def _in_nearest_lists(self, Q: Dense, k: int) -> Found:
        away, lists = self._centroids(Q, min(self.index.nprobe, self.index.nlist))
        away = _negated(away) if self._inner else away
        distances, numbers = np.empty((len(Q), k), np.float32), np.empty((len(Q), k), np.int64)
        pointer = faiss.swig_ptr
        self.index.search_preassigned_c(
            len(Q), pointer(Q), k, pointer(lists), pointer(away), pointer(distances), pointer(numbers), False
        )
        return distances, numbers


def search(index: Any) -> FlatSearch | ListSearch:
    """The way to search an index of this type."""
    return FlatSearch(index) if isinstance(index, faiss.IndexFlat) else ListSearch(index)


def found(index: Any, Q: Dense, k: int, parameters: Any) -> Found:
    """What faiss itself finds, and in its own terms, without the checks of its wrapper."""
    n, pointer = len(Q), faiss.swig_ptr
    distances, numbers = np.empty((n, k), np.float32), np.empty((n, k), np.int64)
    index.search_c(n, pointer(Q), k, pointer(distances), pointer(numbers), parameters)
    return distances, numbers


def greatest_square(rows: Any, n: int, d: int) -> float:
    """The greatest squared length of n rows of d numbers behind a pointer."""
    squares = np.empty(n, np.float32)
    faiss.fvec_norms_L2sqr(faiss.swig_ptr(squares), rows, d, n)  # type: ignore[attr-defined]  # the stubs lack it
    return float(squares.max())


def _parameters(kind: Any, **values: Any) -> Any:
    """Search parameters; faiss's own type stubs do not know that they take any."""
    return kind(**values)


def _negated(distances: Dense) -> Dense:
    """In place; 0, not -0, of 0."""
    return np.subtract(np.float32(0), distances, out=distances)


def _room(k: int) -> int:
    """Candidates that a query can have: enough unless many rows are as far away as the k-th."""
    return 3 * k + 40


def _first(k: int, distances: Dense, numbers: NDArray[np.int64]) -> Found:
    return np.ascontiguousarray(distances[:, :k]), np.ascontiguousarray(numbers[:, :k])


def _in_blocks(find: Callable[[Dense], Found], Q: Dense, at_once: int) -> Found:
    """What `find` finds for some of the queries at once."""
    return _joined([find(Q[start : start + at_once]) for start in range(0, max(1, len(Q)), at_once)])


def _joined(parts: list[Found]) -> Found:
    if len(parts) == 1:
        return parts[0]
    distances, numbers = zip(*parts, strict=True)
    return np.concatenate(distances), np.concatenate(numbers)
