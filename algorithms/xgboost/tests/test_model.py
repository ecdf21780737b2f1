"""The model: the library's own answers from every kind of file that holds one, and a sentence for every other file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from scipy import sparse

from algorithms.errors import UserError
from algorithms.xgboost.model import XGBoostModel
from formats import Batch

ARTIFACTS = Path(__file__).parent / "artifacts"
EXPECTED = json.loads((ARTIFACTS / "expected.json").read_text())


def rows(n: int = 200, d: int = 4, seed: int = 0) -> np.ndarray:
    """Rows with a fifth of the cells missing and some zeros."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    X[rng.random(X.shape) < 0.1] = 0
    return X


def as_csr(X: np.ndarray) -> sparse.csr_array:
    """All but the missing cells; zeros are stored."""
    present = ~np.isnan(X)
    indptr = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
    return sparse.csr_array((X[present], np.nonzero(present)[1].astype(np.int32), indptr), shape=X.shape)


def train(parameters: dict[str, Any], rounds: int = 5, seed: int = 0) -> xgboost.Booster:
    X = rows(seed=seed)
    z = np.nan_to_num(X)
    y = z[:, 0] + z[:, 1] * z[:, 2]
    objective = parameters.get("objective", "reg:squarederror")
    if objective.startswith("binary"):
        y = (y > 0).astype(np.float32)
    if objective.startswith("multi"):
        y = np.digitize(y, [-0.5, 0.5])
    if objective.startswith(("count", "survival", "rank")):
        y = np.abs(y).round()
    matrix = xgboost.DMatrix(X, label=y, nthread=1)
    if objective.startswith("rank"):
        matrix.set_group([100, 100])
    depth = {} if parameters.get("booster") == "gblinear" else {"max_depth": 3}
    return xgboost.train({"nthread": 1, **depth, **parameters}, matrix, rounds)


def reloaded(directory: Path, *boosters: xgboost.Booster) -> XGBoostModel:
    XGBoostModel(boosters).save(directory)
    return XGBoostModel.load(directory)


def test_one_stump_by_hand(tmp_path: Path) -> None:
    # x < 0 -> -1, x >= 0 -> 3; base score 0, eta 1, no regularisation: each leaf is the mean of its labels
    X = np.array([[-1.0], [-2.0], [1.0], [2.0]], np.float32)
    settings = {"max_depth": 1, "eta": 1, "lambda": 0, "base_score": 0, "nthread": 1, "min_child_weight": 0}
    booster = xgboost.train(settings, xgboost.DMatrix(X, label=[-2.0, 0.0, 2.0, 4.0]), 1)
    model = reloaded(tmp_path, booster)
    assert (model.width, model.objective, model.classes, model.first_index) == (1, "reg:squarederror", 0, 0)
    score = model.predict(Batch(np.array([[-5.0], [5.0]], np.float32)))["score"]
    np.testing.assert_array_equal(score, np.array([-1.0, 3.0], np.float32))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"num_parallel_tree": 3, "subsample": 0.5},
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
        {"objective": "binary:logistic"},
        {"objective": "binary:logitraw"},
        {"objective": "binary:hinge"},
        {"objective": "multi:softmax", "num_class": 3},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "count:poisson"},
        {"objective": "rank:ndcg"},
        {"objective": "survival:cox"},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())) or "default",
)
def test_answers_are_the_librarys_own(parameters: dict[str, Any], tmp_path: Path) -> None:
    booster = train(parameters)
    model = reloaded(tmp_path, booster)
    assert model.objective == parameters.get("objective", "reg:squarederror")
    assert model.classes == parameters.get("num_class", 0)
    X = rows(seed=1)
    expected = booster.predict(xgboost.DMatrix(X))
    for features in (X, as_csr(X)):
        score = model.predict(Batch(features))["score"]
        assert score.dtype == np.float32
        np.testing.assert_array_equal(score, expected)
        for i in (0, 7):
            np.testing.assert_array_equal(model.predict(Batch(features).rows(i, i + 1))["score"], expected[i : i + 1])
    assert model.predict(Batch.empty(4))["score"].shape == (0, *expected.shape[1:])


def test_missing_stays_missing_and_zero_stays_zero(tmp_path: Path) -> None:
    # the only split sends x >= -0.5 right, and missing left
    X = np.array([[-1.0], [0.0], [1.0], [np.nan]], np.float32)
    settings = {"max_depth": 1, "eta": 1, "lambda": 0, "base_score": 0, "nthread": 1, "min_child_weight": 0}
    booster = xgboost.train(settings, xgboost.DMatrix(X, label=[-4.0, 4.0, 4.0, -4.0]), 1)
    model = reloaded(tmp_path, booster)
    zero = sparse.csr_array(
        (np.zeros(1, np.float32), np.array([0], np.int32), np.array([0, 1], np.int32)), shape=(1, 1)
    )
    nothing = sparse.csr_array((1, 1), dtype=np.float32)
    for features, score in (([[0.0]], 4.0), ([[np.nan]], -4.0), (zero, 4.0), (nothing, -4.0)):
        features = np.array(features, np.float32) if isinstance(features, list) else features
        assert model.predict(Batch(features))["score"].tolist() == [score]


@pytest.mark.parametrize("kind", ["gbtree", "dart"])
def test_best_iteration_of_a_model_that_was_not_cut(kind: str, tmp_path: Path) -> None:
    booster = train({"booster": kind, "rate_drop": 0.3} if kind == "dart" else {}, 8)
    booster.set_attr(best_iteration="2")
    X = rows(seed=1)
    best = booster.predict(xgboost.DMatrix(X), iteration_range=(0, 3))
    np.testing.assert_array_equal(reloaded(tmp_path, booster).predict(Batch(X))["score"], best)
    assert not np.array_equal(best, booster.predict(xgboost.DMatrix(X)))


def test_best_iteration_of_a_model_that_was_cut(tmp_path: Path) -> None:
    booster = train({}, 8)[:3]
    booster.set_attr(best_iteration="2")
    X = rows(seed=1)
    expected = booster.predict(xgboost.DMatrix(X))
    np.testing.assert_array_equal(reloaded(tmp_path, booster).predict(Batch(X))["score"], expected)


def test_best_iteration_means_nothing_to_a_linear_model(tmp_path: Path) -> None:
    booster = train({"booster": "gblinear"}, 8)
    booster.set_attr(best_iteration="2")
    X = rows(seed=1)
    expected = booster.predict(xgboost.DMatrix(X))
    np.testing.assert_array_equal(reloaded(tmp_path, booster).predict(Batch(X))["score"], expected)


def test_models_that_count_from_different_indices_cannot_answer_together(tmp_path: Path) -> None:
    for first in ("0", "1"):
        booster = train({})
        booster.set_attr(first_index=first)
        (tmp_path / f"xgboost-model-{first}").write_bytes(booster.save_raw("ubj"))
    with pytest.raises(
        UserError, match=r"must be of one kind to answer together: xgboost-model-0 is .* from index 0 on"
    ):
        XGBoostModel.load(tmp_path)


def test_first_index_is_kept(tmp_path: Path) -> None:
    booster = train({})
    booster.set_attr(first_index="1")
    assert reloaded(tmp_path, booster).first_index == 1


def test_save_writes_the_same_bytes_each_time(tmp_path: Path) -> None:
    model = XGBoostModel((train({}),))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name)
    first, second = ((tmp_path / name / "xgboost-model").read_bytes() for name in ("a", "b"))
    assert first == second
    assert first.startswith(b"{L\0\0\0\0\0\0\0\7learner")  # UBJSON


@pytest.mark.parametrize("file", EXPECTED)
@pytest.mark.parametrize("named", ["xgboost-model", "churn.bin"])
def test_files_of_other_versions(file: str, named: str, tmp_path: Path) -> None:
    shutil.copy(ARTIFACTS / file, tmp_path / named)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / ".hidden").write_text("?")
    (tmp_path / "code").mkdir()
    model = XGBoostModel.load(tmp_path)
    assert (model.objective, model.width) == (EXPECTED[file]["objective"], 4)
    X = np.array(EXPECTED[file]["rows"], np.float32)
    # versions up to 1.2 and dart up to 1.3 add up the trees in another order: the last bit of float32 may differ
    np.testing.assert_allclose(model.predict(Batch(X))["score"], EXPECTED[file]["predictions"], rtol=3e-7, atol=1e-7)


@pytest.mark.parametrize("file", ["0.90-early.pkl", "1.2.1.pkl", "1.2.1-logitraw.json", "1.3.3-logitraw.model"])
def test_an_older_model_answers_the_same_once_saved(file: str, tmp_path: Path) -> None:
    shutil.copy(ARTIFACTS / file, tmp_path / "xgboost-model")
    model = XGBoostModel.load(tmp_path)
    X = rows()
    expected = model.predict(Batch(X))["score"]
    np.testing.assert_array_equal(reloaded(tmp_path, *model.boosters).predict(Batch(X))["score"], expected)


@pytest.mark.parametrize("kind", ["json", "binary"])
def test_before_1_4_all_trees_answer_without_a_limit(kind: str, tmp_path: Path) -> None:
    # such a file does not say how many trees make a round, and those versions answered with all of them
    if kind == "binary":
        content = (ARTIFACTS / "1.3.3.model").read_bytes()
        attributes = (1).to_bytes(8, "little") + text("objective")
        assert attributes in content
        more = (2).to_bytes(8, "little") + text("best_iteration") + text("0") + text("objective")
        content = content.replace(attributes, more)
    else:
        document = json.loads((ARTIFACTS / "1.3.3.json").read_text())
        document["learner"]["attributes"] = {"best_iteration": "0"}
        content = json.dumps(document).encode()
    (tmp_path / "xgboost-model").write_bytes(content)
    (booster,) = XGBoostModel.load(tmp_path).boosters
    rounds = booster.num_boosted_rounds()
    assert rounds > 1
    assert booster.attributes() == {"best_iteration": "0", "best_ntree_limit": str(rounds)}
    X = rows()
    expected = booster.predict(xgboost.DMatrix(X))
    np.testing.assert_array_equal(XGBoostModel((booster,)).predict(Batch(X))["score"], expected)


def text(value: str) -> bytes:
    return len(value).to_bytes(8, "little") + value.encode()


def test_a_limit_of_trees_is_no_limit_of_rounds_where_rounds_are_known(tmp_path: Path) -> None:
    booster = train({"num_parallel_tree": 2, "subsample": 0.5}, 6)
    booster.set_attr(best_iteration="1", best_ntree_limit="4")
    X = rows(seed=1)
    best = booster.predict(xgboost.DMatrix(X), iteration_range=(0, 2))
    np.testing.assert_array_equal(reloaded(tmp_path, booster).predict(Batch(X))["score"], best)


@pytest.mark.parametrize("best", ["x", "-1", "99999999999999999999"])
def test_an_odd_best_iteration_is_no_limit(best: str, tmp_path: Path) -> None:
    booster = train({})
    X = rows(seed=1)
    expected = booster.predict(xgboost.DMatrix(X))
    booster.set_attr(best_iteration=best)
    np.testing.assert_array_equal(reloaded(tmp_path, booster).predict(Batch(X))["score"], expected)


@pytest.mark.parametrize("kind", ["ubj", "json"])
def test_damaged_files_are_refused(kind: str, tmp_path: Path) -> None:
    content = bytes(train({}, 2).save_raw(kind))
    for size in (0, 1, 2, 10, 500, len(content) // 2, len(content) - 1):
        refuse(content[:size], tmp_path)
    for at in range(0, 60, 7):
        refuse(content[:at] + b"\xff" + content[at + 1 :], tmp_path)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
        {"objective": "multi:softprob", "num_class": 3},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())) or "default",
)
def test_no_damaged_byte_ends_the_process(parameters: dict[str, Any], tmp_path: Path) -> None:
    # the library alone is ended by one in seven of these: each index that points outside is found before it sees it
    content = bytes(train(parameters, 2).save_raw("ubj"))
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(0, 8)
        (tmp_path / "xgboost-model").write_bytes(damaged)
        try:
            model = XGBoostModel.load(tmp_path)
        except UserError:
            refused += 1
        else:
            if model.width == 4:
                model.predict(Batch(rows(20)))
    assert refused > 50


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[1]",
        b"hello",
        b"\x1f\x8b\x08",
        b"PK\3\4",
        bytes(1000),
        b'{"learner": {}}',
        b"binf",
        b"\xff" * 9,
    ],
)
def test_foreign_files_are_refused(content: bytes, tmp_path: Path) -> None:
    refuse(content, tmp_path)


def refuse(content: bytes, directory: Path) -> None:
    (directory / "xgboost-model").write_bytes(content)
    with pytest.raises(UserError) as refused:
        XGBoostModel.load(directory)
    assert str(refused.value).startswith(f"{directory}/xgboost-model cannot be read as an XGBoost model: ")
    assert "\n" not in str(refused.value)
    assert "/src/" not in str(refused.value)


def test_no_model(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=rf"^no XGBoost model in {directory}: 'xgboost-model' is missing$"):
            XGBoostModel.load(directory)


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_several_models_are_averaged(objective: str, tmp_path: Path) -> None:
    parameters = {"objective": objective} | ({"num_class": 3} if objective.startswith("multi") else {})
    boosters = [train(parameters, seed=seed) for seed in range(3)]
    model = reloaded(tmp_path, *boosters)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"xgboost-model-{i}" for i in range(3)]
    X = rows(seed=9)
    expected = np.mean([booster.predict(xgboost.DMatrix(X)) for booster in boosters], axis=0)
    np.testing.assert_array_equal(model.predict(Batch(X))["score"], expected)


@pytest.mark.parametrize("objective", ["binary:hinge", "multi:softmax"])
def test_several_models_vote_on_a_class(objective: str, tmp_path: Path) -> None:
    parameters = {"objective": objective} | ({"num_class": 3} if objective.startswith("multi") else {})
    boosters = [train(parameters, seed=seed, rounds=2) for seed in range(4)]
    model = reloaded(tmp_path, *boosters)
    X = rows(seed=9)
    votes = np.array([booster.predict(xgboost.DMatrix(X)) for booster in boosters]).astype(int)
    assert (votes[0] != votes[1]).any()
    expected = [np.bincount(column).argmax() for column in votes.T]  # the smallest of those named equally often
    np.testing.assert_array_equal(model.predict(Batch(X))["score"], np.array(expected, np.float32))


def test_several_models_must_agree(tmp_path: Path) -> None:
    for i, parameters in enumerate(({}, {"objective": "binary:logistic"})):
        (tmp_path / f"fold-{i}").write_bytes(train(parameters).save_raw())
    with pytest.raises(UserError) as refused:
        XGBoostModel.load(tmp_path)
    assert str(refused.value) == (
        f"the models in {tmp_path} must be of one kind to answer together: fold-0 is reg:squarederror, 4 features from "
        "index 0 on, fold-1 is binary:logistic, 4 features from index 0 on"
    )


@pytest.mark.parametrize("kind", ["gbtree", "gblinear", "dart"])
def test_threads_may_predict_at_once(kind: str, tmp_path: Path) -> None:
    model = reloaded(tmp_path, train({"booster": kind}))
    X = rows(seed=1)
    expected = model.predict(Batch(X))["score"]
    wrong: list[int] = []

    def ask(start: int) -> None:
        for i in range(start, start + 150):
            j = i % 190
            if not np.array_equal(model.predict(Batch(X[j : j + 5]))["score"], expected[j : j + 5]):
                wrong.append(j)

    threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("kind", ["gbtree", "gblinear"])
@pytest.mark.parametrize("threads", [None, "2"])
def test_loading_is_safe_before_a_fork(
    kind: str, threads: str | None, tmp_path: Path, python: Callable[..., str]
) -> None:
    XGBoostModel((train({"booster": kind}),)).save(tmp_path)
    assert python(FORKING, str(tmp_path), OMP_NUM_THREADS=threads).split() == ["0", "0"]


FORKING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from algorithms.xgboost.model import XGBoostModel
from formats import Batch

before = len(os.listdir("/proc/self/task"))
model = XGBoostModel.load(Path(sys.argv[1]))
print(len(os.listdir("/proc/self/task")) - before)
sys.stdout.flush()
child = os.fork()
if child == 0:
    signal.alarm(20)
    model.predict(Batch(np.zeros((5000, 4), np.float32)))
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.fixture
def python() -> Callable[..., str]:
    """Runs a program in a fresh interpreter; a variable that is None is not set."""

    def run(program: str, *arguments: str, **variables: str | None) -> str:
        given = os.environ | variables
        environment = {name: value for name, value in given.items() if value is not None}
        environment["PYTHONPATH"] = str(Path(__file__).parents[3])
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
