"""The programs against the library called directly: the same trees, the same answers bit for bit in every format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import xgboost
from scipy import sparse
from sklearn import datasets

from algorithms import algorithm, artifact
from algorithms.algorithm import CSV, LIBSVM, PARQUET, RECORDIO
from algorithms.xgboost.older_releases import portable
from formats import recordio
from serving.app import create_app
from serving.settings import Settings
from tests.exchange import ANSWERS, csv, libsvm, numbers, requests, stored
from tests.job_folder import JobFolder

ROUNDS = 8
ASKED = 60  # rows of a request
Train = Callable[..., JobFolder]
Ask = Callable[[bytes, str, str], bytes]  # body, content type, accept -> answer


@dataclass(frozen=True)
class Table:
    """Rows to learn from; features (n, d) float64, of which NaN are missing."""

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None = None
    queries: np.ndarray | None = None

    def matrix(self) -> xgboost.DMatrix:
        """As the library takes them."""
        return xgboost.DMatrix(self.features, self.labels, weight=self.weights, qid=self.queries, nthread=1)

    def file(self, content_type: str, first_index: int) -> bytes:
        """As the training program takes them."""
        match content_type:
            case algorithm.CSV:
                return csv(*[each for each in (self.labels, self.weights, self.features) if each is not None])
            case algorithm.LIBSVM:
                return libsvm(stored(self.features), self.labels, self.queries, first_index=first_index)
            case algorithm.RECORDIO:
                return recordio.encode_features(self.features, self.labels)
        return parquet(np.column_stack([self.labels, self.features]))


def parquet(columns: np.ndarray) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    table = pyarrow.table({f"c{i}": pyarrow.array(column, from_pandas=True) for i, column in enumerate(columns.T)})
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


@cache
def diabetes() -> Table:
    return Table(*datasets.load_diabetes(return_X_y=True))


@cache
def cancer() -> Table:
    return Table(*datasets.load_breast_cancer(return_X_y=True))


@cache
def wine() -> Table:
    features, labels = datasets.load_wine(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))  # the classes come one after another
    return Table(features[order], labels[order])


@cache
def counts() -> Table:
    """Positive whole numbers, which every objective of counts and amounts can learn from."""
    return Table(diabetes().features, np.ceil(diabetes().labels / 40))


@cache
def holes() -> Table:
    """A third of the values missing, a third zero: the two must not be taken for each other."""
    random = np.random.default_rng(1)
    features = random.normal(size=(300, 6))
    kind = random.integers(0, 3, features.shape)
    features[kind == 1] = 0.0
    labels = 2.0 * (kind[:, 0] == 1) - (kind[:, 1] == 2) + np.nan_to_num(features[:, 2]) + 0.1 * random.normal(size=300)
    features[kind == 2] = np.nan
    features[7] = np.nan  # a row of which nothing is known
    return Table(features, labels)


@cache
def weighted() -> Table:
    return Table(diabetes().features, diabetes().labels, np.random.default_rng(2).uniform(0.1, 3, 442))


@cache
def queries() -> Table:
    """30 queries of ten rows of graded relevance."""
    random = np.random.default_rng(3)
    features = random.normal(size=(300, 5)).round(3)
    relevance = np.clip(np.round(features[:, 0] + 0.5 * random.normal(size=300) + 1), 0, 4)
    return Table(features, relevance, queries=np.repeat(np.arange(30), 10))


@cache
def mushrooms() -> Table:
    """One-hot rows, one of six values of each of ten attributes; what is not written is missing."""
    random = np.random.default_rng(4)
    values = random.integers(0, 6, (300, 10))
    features = np.full((300, 60), np.nan)
    np.put_along_axis(features, values + 6 * np.arange(10), 1.0, axis=1)
    return Table(features, ((values[:, 0] < 2) ^ (values[:, 3] == 4)).astype(float))


@dataclass(frozen=True)
class Case:
    """A job, and the library's parameters for the same where they are not the hyperparameters' own."""

    table: Callable[[], Table]
    given: Mapping[str, str]
    content_type: str = CSV
    first_index: int = 0
    direct: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        given = {name: value for name, value in self.given.items() if name != "csv_weights"}
        return given | {"nthread": 1} | self.direct


SQUARED, LOGISTIC = {"objective": "reg:squarederror"}, {"objective": "binary:logistic"}
CASES = {
    "regression": Case(diabetes, SQUARED),
    "regression, LibSVM": Case(diabetes, SQUARED, LIBSVM, 1),
    "regression, RecordIO": Case(diabetes, SQUARED, RECORDIO),
    "regression, Parquet": Case(diabetes, SQUARED, PARQUET),
    "regression, tuned": Case(
        diabetes, SQUARED | {"eta": "0.1", "max_depth": "3", "gamma": "0.5", "lambda": "2", "alpha": "0.25"}
    ),
    "sampled": Case(diabetes, SQUARED | {"subsample": "0.7", "colsample_bytree": "0.6", "seed": "17"}),
    "forest": Case(diabetes, SQUARED | {"num_parallel_tree": "4", "subsample": "0.5", "colsample_bynode": "0.5"}),
    "exact": Case(cancer, LOGISTIC | {"tree_method": "exact"}),
    "approx": Case(cancer, LOGISTIC | {"tree_method": "approx"}),
    "lossguide": Case(cancer, LOGISTIC | {"grow_policy": "lossguide", "max_leaves": "7", "max_bin": "32"}),
    "binary": Case(cancer, LOGISTIC),
    "raw scores": Case(cancer, {"objective": "binary:logitraw"}),
    "softprob": Case(wine, {"objective": "multi:softprob", "num_class": "3"}),
    "softmax": Case(wine, {"objective": "multi:softmax", "num_class": "3"}),
    "ranking": Case(queries, {"objective": "rank:ndcg"}, LIBSVM, 1),
    "one-hot": Case(mushrooms, LOGISTIC, LIBSVM, 1),
    "missing": Case(holes, SQUARED),
    "missing, LibSVM from 0": Case(holes, SQUARED, LIBSVM, 0),
    "missing, Parquet": Case(holes, SQUARED, PARQUET),
    "weights": Case(weighted, SQUARED | {"csv_weights": "1"}),
    "dart": Case(diabetes, SQUARED | {"booster": "dart", "rate_drop": "0.4", "seed": "5"}),
    "gblinear": Case(diabetes, SQUARED | {"booster": "gblinear"}),
    "tweedie": Case(counts, {"objective": "reg:tweedie", "tweedie_variance_power": "1.3"}),
    "poisson": Case(counts, {"objective": "count:poisson"}),
    "gamma": Case(counts, {"objective": "reg:gamma"}),
    "quantiles": Case(
        diabetes,
        {"objective": "reg:quantileerror", "quantile_alpha": "[0.1, 0.9]"},
        direct={"quantile_alpha": [0.1, 0.9]},
    ),
}


SERVED = ("regression", "softprob", "one-hot", "missing", "dart")  # one of each way to answer


@pytest.mark.parametrize("name", CASES)
def test_trees_and_answers_are_the_library_s(train: Train, name: str) -> None:
    """Each case asks the server's application in this process, some the server: starting one takes long."""
    case, table = CASES[name], CASES[name].table()
    file = table.file(case.content_type, case.first_index)
    job = train(case.content_type, train=file, **case.given, num_round=ROUNDS)
    booster = xgboost.train(case.parameters(), table.matrix(), ROUNDS)
    assert model_bytes(job) == as_saved(booster)
    asked = table.features[:ASKED]
    wanted = booster.predict(xgboost.DMatrix(asked))
    with server(job) if name in SERVED else nullcontext(application(job)) as ask:
        for form, (content_type, body) in requests(asked, case.first_index).items():
            for accept in ANSWERS:
                found = numbers(ask(body, content_type, accept), accept)
                assert_same_bits(found, wanted, f"{form} -> {accept}")


def test_best_iteration_answers_after_early_stopping(train: Train) -> None:
    table, half = cancer(), len(cancer().labels) // 2
    first = Table(table.features[:half], table.labels[:half])
    second = Table(table.features[half:], table.labels[half:])
    given = LOGISTIC | {"eta": "0.9"}
    stopping = {"num_round": 60, "early_stopping_rounds": 3}
    job = train(CSV, train=first.file(CSV, 0), validation=second.file(CSV, 0), **given, **stopping)
    watched = [(first.matrix(), "train"), (second.matrix(), "validation")]
    booster = xgboost.train(
        given | {"nthread": 1}, watched[0][0], 60, evals=watched, early_stopping_rounds=3, verbose_eval=False
    )
    best = booster.best_iteration + 1
    assert best < booster.num_boosted_rounds() < 60
    cut = booster[:best]
    cut.set_attr(**booster.attributes())
    assert model_bytes(job) == as_saved(cut)
    asked = second.features[:ASKED]
    wanted = booster.predict(xgboost.DMatrix(asked), iteration_range=(0, best))
    assert_same_bits(numbers(application(job)(csv(asked), CSV, CSV), CSV), wanted, "after early stopping")


def test_sparse_records_train_as_a_sparse_matrix_does(train: Train) -> None:
    matrix, labels = stored(mushrooms().features), mushrooms().labels
    job = train(RECORDIO, train=recordio.encode_features(matrix, labels), **LOGISTIC, num_round=5)
    csr = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), matrix.shape)
    booster = xgboost.train(LOGISTIC | {"nthread": 1}, xgboost.DMatrix(csr, labels), 5)
    assert model_bytes(job) == as_saved(booster)


def test_lines_of_csv_answers(train: Train) -> None:
    """One line of scores in real time, one a line in batch transform and where the variable asks for it."""
    rows = cancer().features[:4]
    job = train(CSV, train=cancer().file(CSV, 0), **LOGISTIC, num_round=3)
    scores = [str(score) for score in loaded(job).predict(xgboost.DMatrix(rows))]
    assert application(job)(csv(rows), CSV, CSV).decode() == ",".join(scores)
    assert application(job, INBUILT_CSV_ROWS="1")(csv(rows), CSV, CSV).decode() == "\n".join(scores) + "\n"
    assert application(job, SAGEMAKER_BATCH="true")(csv(rows), CSV, CSV).decode() == "\n".join(scores) + "\n"


def test_a_vector_of_probabilities_is_a_line(train: Train) -> None:
    rows = wine().features[:4]
    job = train(CSV, train=wine().file(CSV, 0), objective="multi:softprob", num_class=3, num_round=3)
    lines = [",".join(map(str, vector)) for vector in loaded(job).predict(xgboost.DMatrix(rows))]
    assert application(job)(csv(rows), CSV, CSV).decode() == "\n".join(lines)
    assert application(job)(csv(rows[:1]), CSV, CSV).decode() == lines[0]
    assert application(job, SAGEMAKER_BATCH="true")(csv(rows), CSV, CSV).decode() == "\n".join(lines) + "\n"


@contextmanager
def server(job: JobFolder) -> Iterator[Ask]:
    """The program `serve`."""
    with job.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as served:

        def ask(body: bytes, content_type: str, accept: str) -> bytes:
            answer = served.invoke(body, content_type, accept)
            assert (answer.status, answer.content_type) == (200, accept), answer.body
            return answer.body

        yield ask


def application(job: JobFolder, **environment: str) -> Ask:
    """What `serve` would run, with these variables."""
    client = create_app(artifact.load(job.model, "xgboost"), Settings.read(environment)).test_client()

    def ask(body: bytes, content_type: str, accept: str) -> bytes:
        answer = client.post("/invocations", data=body, content_type=content_type, headers={"Accept": accept})
        assert (answer.status_code, answer.content_type) == (200, accept), answer.data
        return answer.data

    return ask


def loaded(job: JobFolder) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray((job.model / "xgboost-model").read_bytes()))


def as_saved(booster: xgboost.Booster) -> bytes:
    """The library's own model, the base scores of several classes in their trees: test_older_releases.py has them."""
    content = bytes(booster.save_raw("ubj"))
    several = len(json.loads(booster.save_config())["learner"]["learner_model_param"]["base_score"].split(",")) > 1
    return bytes(xgboost.Booster(model_file=bytearray(portable(content))).save_raw("ubj")) if several else content


def model_bytes(job: JobFolder) -> bytes:
    """The artifact without the one attribute that is ours."""
    booster = loaded(job)
    booster.set_attr(first_index=None)
    return bytes(booster.save_raw("ubj"))


def assert_same_bits(found: np.ndarray, wanted: np.ndarray, where: str) -> None:
    assert wanted.dtype == found.dtype == np.float32
    np.testing.assert_array_equal(found.view(np.uint32), wanted.reshape(-1).view(np.uint32), where)
