"""Steps of a factorization machine beside a dense twin in float64, beside MXNet's own, and on several hosts."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.factorization_machines import learner
from algorithms.factorization_machines.learner import Learner, state_bytes
from tests.hosts import on_hosts

PYTHON = os.environ.get("INBUILT_MXNET_PYTHON") or str(Path(__file__).parents[3] / ".venv-mxnet" / "bin" / "python")
WIDTH, ROWS, STEPS = 40, 12, 6
WIDE = {"factors_init_sigma": 0.3, "factors_lr": 0.02, "linear_lr": 0.03, "bias_lr": 0.05}
REGRESSOR = {"predictor_type": "regressor", "feature_dim": WIDTH, "num_factors": 5, **WIDE}
BINARY = REGRESSOR | {"predictor_type": "binary_classifier"}
TERMS = ("bias", "linear", "factors")
SETTINGS = {
    "regressor": REGRESSOR,
    "binary": BINARY,
    "decay": BINARY | {"bias_wd": 0.5, "linear_wd": 0.2, "factors_wd": 0.3},
    "no decay": BINARY | {"bias_wd": 0, "linear_wd": 0, "factors_wd": 0},
    "clip": REGRESSOR | {"clip_gradient": 0.05, "factors_wd": 0.3},
    "eps": REGRESSOR | {"eps": 0.1},
    "rescale_grad": REGRESSOR | {"rescale_grad": 0.5},
}


def batches(steps=STEPS, rows=ROWS, width=WIDTH, seed=0):
    """Mini-batches in which a feature in ten is not zero, and in which only the last ones have the last features."""
    random = np.random.default_rng(seed)
    found = []
    for step in range(steps):
        dense = random.normal(size=(rows, width)) * (random.random((rows, width)) < 0.1)
        if step < steps // 2:
            dense[:, -5:] = 0
        found.append((sparse.csr_array(dense.astype(np.float32)), random.integers(0, 2, rows).astype(np.float32)))
    return found


def started(h, seed=7):
    return Learner(h, np.random.default_rng(seed))


def weights(model):
    return [getattr(model, name).copy() for name in TERMS]


class Twin:
    """The same model in float64; every step moves all weights, as if all features occurred in it, if not lazy.

    Adam: Kingma and Ba 2015, algorithm 1 in the order of section 2. Gradients: Rendle 2010, equation 4.
    """

    def __init__(self, h, start, lazy=True):
        self.h, self.lazy, self.t, self.most = h, lazy, 0, 0
        self.weights = [array.astype(float) for array in start]
        self.means = [np.zeros_like(array) for array in self.weights]
        self.squares = [np.zeros_like(array) for array in self.weights]

    def step(self, X, y):
        (bias, linear, factors), h = self.weights, self.h
        X = X.toarray().astype(float)
        sums = X @ factors
        margins = bias + X @ linear + 0.5 * (sums**2 - X**2 @ factors**2).sum(axis=1)
        slopes = 2 * (margins - y) if h.predictor_type == "regressor" else 1 / (1 + np.exp(-margins)) - y
        self.t, self.most = self.t + 1, max(self.most, len(y))
        own = (X**2 * slopes[:, None]).sum(axis=0)
        gradients = [slopes.sum(keepdims=True), X.T @ slopes, X.T @ (slopes[:, None] * sums) - own[:, None] * factors]
        occurs = (X != 0).any(axis=0) | (not self.lazy)
        for i, (name, touched) in enumerate(zip(TERMS, (np.array([True]), occurs, occurs), strict=True)):
            g = gradients[i] * (1 / self.most if h.rescale_grad is None else h.rescale_grad)
            g = g + getattr(h, f"{name}_wd") * self.weights[i]
            g = g if h.clip_gradient is None else np.clip(g, -h.clip_gradient, h.clip_gradient)
            m, v = 0.9 * self.means[i] + 0.1 * g, 0.999 * self.squares[i] + 0.001 * g**2
            rate = getattr(h, f"{name}_lr") * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
            moved = self.weights[i] - rate * m / (np.sqrt(v) + (h.eps or 1e-8))
            for kept, new in ((self.weights, moved), (self.means, m), (self.squares, v)):
                kept[i] = kept[i].copy()
                kept[i][touched] = new[touched]
        return margins


def test_a_first_step_by_hand(configure):
    """Adam's first step is the rate long, against the gradient: every slope is negative here, as labels are 100."""
    ones = {f"{name}_init_method": "constant" for name in TERMS} | {f"{name}_init_value": 1 for name in TERMS}
    model = started(configure(**REGRESSOR | ones | {"feature_dim": 3, "num_factors": 2}))
    X = sparse.csr_array(np.float32([[1, 2, 0], [0, 0, 0]]))
    margins, rows = model.step(Cluster(), X, np.float32([100, 100]))
    assert margins.tolist() == [8, 1]  # 1 + 3 + 2 * (1 * 2)
    assert (rows, model.steps) == (2, 1)
    assert model.bias == pytest.approx([1.05])
    assert model.linear == pytest.approx([1.03, 1.03, 1])
    np.testing.assert_allclose(model.factors, [[1.02] * 2, [1.02] * 2, [1] * 2], rtol=1e-6)


@pytest.mark.parametrize("name", SETTINGS)
def test_steps_beside_the_twin(configure, name):
    h = configure(**SETTINGS[name])
    model = started(h)
    twin = Twin(h, weights(model))
    for X, y in batches():
        margins, rows = model.step(Cluster(), X, y)
        np.testing.assert_allclose(margins, twin.step(X, y), rtol=1e-4, atol=1e-4)
        assert rows == ROWS
    for found, expected in zip(weights(model), twin.weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_lazy_step_is_the_dense_step_on_the_features_that_occur(configure):
    h = configure(**SETTINGS["decay"])
    model = started(h)
    before = weights(model)
    twin = Twin(h, before, lazy=False)
    [(X, y)] = batches(1)
    model.step(Cluster(), X, y)
    twin.step(X, y)
    occurs = (X.toarray() != 0).any(axis=0)
    assert 0 < occurs.sum() < WIDTH
    for found, dense, old in list(zip(weights(model), twin.weights, before, strict=True))[1:]:
        np.testing.assert_allclose(found[occurs], dense[occurs], rtol=1e-5, atol=1e-6)
        assert np.array_equal(found[~occurs], old[~occurs])
        assert not np.allclose(dense[~occurs], old[~occurs], rtol=1e-5)


def test_what_is_stored_as_zero_does_not_occur(configure):
    [(X, y)] = batches(1)
    stored = sparse.csr_array((X + sparse.csr_array(np.ones(X.shape, np.float32))).astype(np.float32))
    stored.data = X.toarray().reshape(-1)
    assert stored.nnz == X.shape[0] * WIDTH
    models = [started(configure(**SETTINGS["decay"])) for _ in range(2)]
    for model, rows in zip(models, (X, stored), strict=True):
        model.step(Cluster(), rows, y)
    assert all(np.array_equal(*pair) for pair in zip(*map(weights, models), strict=True))


@pytest.mark.parametrize("term", ["bias", "linear"])
def test_a_term_that_is_not_used_stays_zero(configure, term):
    h = configure(**SETTINGS["decay"] | {f"use_{term}": "false", f"{term}_init_sigma": 1})
    model = started(h)
    for X, y in batches():
        model.step(Cluster(), X, y)
    assert not getattr(model, term).any()
    assert all(getattr(model, name).any() for name in TERMS if name != term)


def test_a_short_batch_counts_for_as_many_rows_as_it_has(configure):
    """Its gradient is divided by the rows of the others, unless rescale_grad says otherwise."""
    h = configure(**REGRESSOR)
    model = started(h)
    twin = Twin(h, weights(model))
    (X, y), (short, few) = batches(2)
    for rows, labels in ((X, y), (short[:3], few[:3])):
        model.step(Cluster(), rows, labels)
        twin.step(rows, labels)
    assert twin.most == ROWS
    np.testing.assert_allclose(model.factors, twin.weights[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["regressor", "decay", "rescale_grad"])
def test_two_hosts_are_one_with_the_doubled_batch(configure, name):
    h = configure(**SETTINGS[name])
    parts = [batches(seed=seed) for seed in (1, 2)]
    parts[1][2] = (parts[1][2][0][:0], parts[1][2][1][:0])  # one host has no rows left in a step
    parts[0][3] = (sparse.csr_array((ROWS, WIDTH), dtype=np.float32), parts[0][3][1])  # one has rows without features

    def work(cluster):
        model = started(h)
        margins = [model.step(cluster, *batch) for batch in parts[cluster.rank]]
        return weights(model), margins

    (first, margins), (second, _) = on_hosts(2, work)
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
    assert [rows for _, rows in margins] == [24, 24, 12, 24, 24, 24]
    assert len(margins[0][0]) == ROWS
    model = started(h)
    for (X, y), (more, others) in zip(*parts, strict=True):
        model.step(Cluster(), sparse.vstack([X, more], format="csr"), np.concatenate([y, others]))
    for found, expected in zip(first, weights(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_no_rows_are_no_step(configure):
    model = started(configure(**REGRESSOR))
    before = weights(model)
    margins, rows = model.step(Cluster(), sparse.csr_array((0, WIDTH), dtype=np.float32), np.empty(0, np.float32))
    assert (margins.size, rows, model.steps) == (0, 0, 0)
    assert all(np.array_equal(*pair) for pair in zip(before, weights(model), strict=True))


def test_the_number_of_threads_and_the_type_of_the_indices_change_no_bit(configure, monkeypatch):
    found = []
    for threads, index in ((1, np.int32), (2, np.int32), (2, np.int64), (5, np.int64)):
        monkeypatch.setattr(learner, "cpu_count", lambda threads=threads: threads)
        monkeypatch.setattr(learner, "DIVIDED", 0)
        model = started(configure(**SETTINGS["decay"] | {"num_factors": 16}))
        for X, y in batches(rows=40):
            X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
            model.step(Cluster(), X, y)
        found.append([array.tobytes() for array in weights(model)])
    assert all(each == found[0] for each in found)


def test_initial_weights(configure):
    h = configure(**REGRESSOR | {"feature_dim": 3000, "bias_init_method": "constant", "bias_init_value": -2})
    model = started(h)
    assert [array.dtype for array in weights(model)] == [np.float32] * 3
    assert [array.shape for array in weights(model)] == [(1,), (3000,), (3000, 5)]
    assert model.factors.flags.c_contiguous
    assert model.factors.ctypes.data % 64 == 0
    assert model.bias == -2
    assert np.std(model.linear) == pytest.approx(0.01, rel=0.05)
    assert np.std(model.factors) == pytest.approx(0.3, rel=0.05)
    assert abs(np.mean(model.factors)) < 0.01
    assert all(np.array_equal(*pair) for pair in zip(weights(started(h)), weights(model), strict=True))
    assert not np.array_equal(started(h, 8).linear, model.linear)
    uniform = {"factors_init_method": "uniform", "factors_init_scale": 0.25}
    factors = started(configure(**REGRESSOR | {"feature_dim": 3000} | uniform)).factors
    assert np.abs(factors).max() <= 0.25
    assert [factors.min(), factors.max()] == pytest.approx([-0.25, 0.25], abs=1e-3)
    assert np.std(factors) == pytest.approx(0.25 / 3**0.5, rel=0.05)


def test_memory_is_said_before_it_is_asked_for(configure):
    assert state_bytes(10_000_000, 64) == 3 * 4 * 650_000_001
    model = started(configure(**REGRESSOR))
    terms = [vars(model)[f"_{name}"] for name in TERMS]
    arrays = [array for term in terms for array in (term.weights, term.mean, term.square)]
    assert state_bytes(WIDTH, 5) == sum(array.nbytes for array in arrays)


# Rows are given dense, gradients worked out in NumPy, and weights moved by MXNet's optimizer as for row-sparse weights.
MXNET = """
import json, sys
import mxnet as mx, numpy as np

def array(numbers):
    return mx.nd.array(np.array(numbers).reshape(len(numbers), -1), dtype="float32")

def trained(given):
    weights = [array(given["start"][0])] + [array(part).tostype("row_sparse") for part in given["start"][1:]]
    rules = [mx.optimizer.Adam(learning_rate=rate, wd=wd, **given["rule"]) for rate, wd in given["rates"]]
    states = [rule.create_state(i, weight) for i, (rule, weight) in enumerate(zip(rules, weights))]
    for X, y in given["batches"]:
        X, y = np.array(X), np.array(y)
        w0, w, v = (weight.asnumpy().astype(float) for weight in weights)
        S = X @ v
        a = 2 * (w0 + X @ w + 0.5 * (S**2 - X**2 @ v**2).sum(axis=1, keepdims=True) - y[:, None])
        rows = np.flatnonzero((X != 0).any(axis=0))
        gradients = [array(a.sum(keepdims=True))]
        for part, weight in zip((X.T @ a, X.T @ (a * S) - X.T**2 @ a * v), weights[1:]):
            part = (part[rows].astype("float32"), rows)
            gradients.append(mx.nd.sparse.row_sparse_array(part, shape=weight.shape, dtype="float32"))
        for i, (rule, weight, gradient) in enumerate(zip(rules, weights, gradients)):
            rule.update(i, weight, gradient, states[i])
    return [weight.asnumpy().ravel().tolist() for weight in weights]

print(json.dumps({name: trained(given) for name, given in json.load(sys.stdin).items()}))
"""


def test_steps_beside_mxnet(configure):
    """Its optimizer, which the hosted service uses, with lazy updates."""
    if not Path(PYTHON).exists():
        pytest.skip(f"no {PYTHON} with mxnet==1.9.1 and numpy==1.23.5; `make test` makes it")
    cases = {name: configure(**given) for name, given in SETTINGS.items() if given["predictor_type"] == "regressor"}
    models = {name: started(h) for name, h in cases.items()}
    given = {
        name: {
            "start": [array.tolist() for array in weights(models[name])],
            "rates": [(getattr(h, f"{term}_lr"), getattr(h, f"{term}_wd")) for term in TERMS],
            "rule": {"rescale_grad": h.rescale_grad or 1 / ROWS}
            | ({"clip_gradient": h.clip_gradient} if h.clip_gradient else {})
            | ({"epsilon": h.eps} if h.eps else {}),
            "batches": [(X.toarray().tolist(), y.tolist()) for X, y in batches()],
        }
        for name, h in cases.items()
    }
    # MXNet must not see the packages of the Python that runs the tests
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [PYTHON, "-c", MXNET]
    text = json.dumps(given)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert set(theirs) == {"regressor", "clip", "eps", "rescale_grad"}
    for name, model in models.items():
        for X, y in batches():
            model.step(Cluster(), X, y)
        for found, expected in zip(weights(model), theirs[name], strict=True):
            np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4, atol=1e-5, err_msg=name)
