"""Gathered requests: each caller gets the answers to its own rows, whoever asks at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from formats import Batch
from serving.gathering import Gathering, Viewed


class Doubling:
    """A model of any width that says twice the first feature, and what it was asked."""

    width = 3

    def __init__(self, seconds=0.0):
        self.asked, self.threads, self._seconds = [], set(), seconds

    def predict(self, batch):
        self.asked.append(len(batch))
        self.threads.add(threading.get_ident())
        time.sleep(self._seconds)
        first = batch.features[:, [0]]
        first = (first if isinstance(first, np.ndarray) else first.toarray())[:, 0]
        if (first < 0).any():
            raise UserError(f"{first.min():g} is negative")
        return {"score": 2 * first, "pair": np.stack([first, -first], axis=1)}


def rows_from(start, n, d=3):
    features = np.zeros((n, d), np.float32)
    features[:, 0] = np.arange(start, start + n)
    return features


def test_mixed_sizes_and_concurrent_callers():
    """500 requests of 1 to 200 rows from 32 threads, dense and sparse, of two widths; each number is one row's."""
    random = np.random.default_rng(0)
    sizes = np.where(random.random(500) < 0.6, 1, random.integers(1, 200, 500))
    starts = np.cumsum(sizes) - sizes
    model = Doubling(0.001)
    gathering = Gathering(model, 0.002)

    def ask(i):
        features = rows_from(starts[i], sizes[i], 3 + i % 2)
        answer = gathering.predict(Batch(sparse.csr_array(features) if i % 5 == 0 else features))
        expected = np.arange(starts[i], starts[i] + sizes[i], dtype=np.float32)
        assert answer.keys() == {"score", "pair"}
        assert np.array_equal(answer["score"], 2 * expected)
        assert np.array_equal(answer["pair"], np.stack([expected, -expected], axis=1))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, range(500)))
    assert sum(model.asked) == sizes.sum()
    assert len(model.asked) < 250  # or nothing was gathered
    assert len(model.threads) == 1  # which owns the device
    assert threading.get_ident() not in model.threads


def test_only_the_one_at_fault_is_told():
    model = Doubling()
    gathering = Gathering(model, 0.2)
    barrier = threading.Barrier(8)

    def ask(i):
        barrier.wait()
        return gathering.predict(Batch(rows_from(-1 if i == 3 else 10 * i, 1)))["score"]

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, i) for i in range(8)]
    for i, each in enumerate(asked):
        if i == 3:
            with pytest.raises(UserError, match="-1 is negative"):
                each.result()
        else:
            assert each.result().tolist() == [20 * i]
    assert model.asked[0] > 1  # it failed together with others
    assert gathering.predict(Batch(rows_from(5, 1)))["score"].tolist() == [10]  # and the thread lives on


def test_without_a_window_it_takes_what_waits():
    """While the model computes for the first, the others come: the second batch has all of them."""
    model = Doubling(0.3)
    gathering = Gathering(model, 0.0)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(gathering.predict, Batch(rows_from(0, 1)))
        time.sleep(0.1)
        rest = [pool.submit(gathering.predict, Batch(rows_from(i, 2))) for i in range(8)]
    assert first.result()["score"].tolist() == [0]
    assert [each.result()["score"].tolist() for each in rest] == [[2 * i, 2 * i + 2] for i in range(8)]
    assert model.asked == [1, 16]


def test_a_batch_is_bounded():
    model = Doubling(0.2)
    gathering = Gathering(model, 0.0, most_rows=4)
    with ThreadPoolExecutor(9) as pool:
        pool.submit(gathering.predict, Batch(rows_from(0, 1)))
        time.sleep(0.1)
        for i in range(8):
            pool.submit(gathering.predict, Batch(rows_from(i, 3)))
    assert sum(model.asked) == 25
    assert max(model.asked) == 6  # the first that reach four


class Halving:
    """A view of Doubling that says half of what it says."""

    def __init__(self, model):
        self._model = model

    def predict(self, batch):
        return {"half": self._model.predict(batch)["score"] / 2}


def test_other_questions_go_to_the_same_thread():
    """A view and a question are asked of the model that was placed, each by itself."""
    model, unplaced = Doubling(0.3), Doubling()
    gathering = Gathering(unplaced, 0.0, lambda each: model)
    view = Viewed(gathering, Halving)

    def negative(each, batch):
        return {"negative": -each.predict(batch)["score"]}

    with ThreadPoolExecutor(10) as pool:
        pool.submit(gathering.predict, Batch(rows_from(0, 1)))
        time.sleep(0.1)
        rows = [Batch(rows_from(i, 1)) for i in range(3)]
        halves = [pool.submit(view.predict, each) for each in rows]
        doubles = [pool.submit(gathering.predict, each) for each in rows]
        others = [pool.submit(gathering.ask, negative, each) for each in rows]
    assert [each.result()["half"].tolist() for each in halves] == [[0], [1], [2]]
    assert [each.result()["score"].tolist() for each in doubles] == [[0], [2], [4]]
    assert [each.result()["negative"].tolist() for each in others] == [[0], [-2], [-4]]
    assert (model.asked, unplaced.asked) == ([1, 3, 3, 3], [])
    assert len(model.threads) == 1
    assert view.width == 3


def test_no_rows_and_the_width():
    gathering = Gathering(Doubling(), 0.0)
    assert gathering.width == 3
    assert gathering.predict(Batch.empty(3))["score"].shape == (0,)


def test_the_model_is_placed_by_the_thread_that_asks_it():
    """A device belongs to it; where there is none the callers are told, and the next one tries again."""
    model, placed = Doubling(), []

    def place(each):
        placed.append(threading.get_ident())
        if len(placed) == 1:
            raise RuntimeError("no device")
        return each

    gathering = Gathering(model, 0.0, place)
    assert not placed
    with pytest.raises(RuntimeError, match="no device"):
        gathering.predict(Batch(rows_from(1, 1)))
    for i in range(3):
        assert gathering.predict(Batch(rows_from(i, 1)))["score"].tolist() == [2 * i]
    assert set(placed) == model.threads
    assert len(placed) == 2
