"""Data that the hosted container trains on without a complaint, or refuses with a native backtrace: here it is told."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import xgboost

from formats import recordio
from tests.examples import CSV, LIBSVM, RECORDIO, encoded
from tests.job_folder import JobFolder, Trained

PARQUET = "application/x-parquet"
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(24, 4)).astype(np.float32).round(2)
Y = (X[:, 0] > 0).astype(np.float32)
QUERIES = np.arange(24) // 6
ROWS = encoded(X, CSV, Y)


def row_7(*cells: object) -> bytes:
    """The rows as CSV with another row 7."""
    lines = ROWS.split(b"\n")
    lines[6] = ",".join(map(str, cells)).encode()
    return b"\n".join(lines)


def label_7(label: float, n: int = 24) -> np.ndarray:
    labels = Y[:n].copy()
    labels[6] = label
    return labels


def libsvm(features: np.ndarray, labels: np.ndarray, first: int = 0, queries: np.ndarray | None = None) -> bytes:
    lines = []
    for i, row in enumerate(features):
        query = "" if queries is None else f"qid:{queries[i]} "
        lines.append(f"{labels[i]:g} {query}" + " ".join(f"{j + first}:{value:g}" for j, value in enumerate(row)))
    return "\n".join(lines).encode() + b"\n"


def weighted(*weights: str) -> bytes:
    """Rows `label, weight, feature`."""
    return "".join(f"{i % 2},{weight},{i}\n" for i, weight in enumerate(weights)).encode()


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


@dataclass(frozen=True)
class Case:
    """A job and what its failure file begins with, after the place; without a place, all of it."""

    name: str
    expected: str
    train: object  # bytes, files by path, or None for no channel
    content_type: str | None = CSV
    validation: object = None
    channel: str = "train"
    file: str = "data"
    placed: bool = True
    hyperparameters: dict[str, str] = field(default_factory=dict)

    def sentence(self) -> str:
        if not self.placed:
            return f"ClientError: {self.expected}"
        place = f"Unable to read data channel '{self.channel}' as {self.content_type or LIBSVM}: file '{self.file}', "
        return f"ClientError: {place}{self.expected}"


def label(objective: str, value: float, rule: str, queries: np.ndarray | None = None, **more: str) -> Case:
    """Row 7 has a label that the objective cannot learn from."""
    found = f"row 7, column 1: the label must be {rule}, got {value:g}"
    hyperparameters = {"objective": objective} | more
    others = Y + 1 if objective in ("reg:gamma", "survival:aft") else Y
    labels = np.where(np.arange(24) == 6, value, others)
    if queries is None:
        return Case(f"label {value:g} of {objective}", found, encoded(X, CSV, labels), hyperparameters=hyperparameters)
    rows = libsvm(X, labels, queries=queries)
    return Case(f"label {value:g} of {objective}", found, rows, LIBSVM, hyperparameters=hyperparameters)


NO_DATA = "No data in channel '{}'. Please verify that it points to files with at least one record."
CHANNELS = "xgboost reads the channels train (required), validation (optional)."
NO_LABEL = "the label is missing (NaN) or infinite. Please give every row a finite label."
CASES = [
    Case(
        "header row", "row 1, column 1: expected a number, found 'y'; this looks like a header", b"y,a,b,c,d\n" + ROWS
    ),
    Case("header with numbers in it", "row 1, column 2: expected a number, found 'a'", b"1,a,2,3,4\n" + ROWS),
    Case("text cell", "row 7, column 3: expected a number, found 'red'", row_7(1, 2, "red", 4, 5)),
    Case("NA cell", "row 7, column 3: expected a number, found 'NA'", row_7(1, 2, "NA", 4, 5)),
    Case("short row", "row 7: expected 5 columns (1 label and 4 features), found 4", row_7(1, 2, 3, 4)),
    Case("long row", "row 7: expected 5 columns (1 label and 4 features), found 6", row_7(1, 2, 3, 4, 5, 6)),
    Case("blank line", "row 7: expected numbers, found a blank line between rows", row_7()),
    Case("semicolons", "row 1, column 1: the delimiter must be a comma, found a semicolon", ROWS.replace(b",", b";")),
    Case("tabs", "row 1, column 1: the delimiter must be a comma, found a tab", ROWS.replace(b",", b"\t")),
    Case("LibSVM under CSV", "row 1, column 1: expected a number, found '", libsvm(X, Y)),
    Case("RecordIO under CSV", "row 1: this does not look like CSV but like RecordIO", recordio.encode_features(X, Y)),
    Case("Parquet under CSV", "row 1: this does not look like CSV but like Parquet", parquet(y=Y, a=X[:, 0])),
    Case("CSV under the default", "row 1, column 1: expected a number as label, found '", ROWS, None),
    Case("RecordIO under LibSVM", "row 1: this does not look like LibSVM but", recordio.encode_features(X, Y), LIBSVM),
    Case("CSV under RecordIO", "row 1: expected a RecordIO frame", ROWS, RECORDIO),
    Case("CSV under Parquet", "expected a Parquet file", ROWS, PARQUET),
    Case("cut gzip", "the gzip data is damaged or cut short: ", gzip.compress(ROWS)[:-20]),
    Case(
        "text in Parquet",
        "column 2: 'colour' must hold numbers, got string",
        parquet(y=[1, 0], colour=["a", "b"]),
        PARQUET,
    ),
    Case("cut Parquet", "the Parquet file is cut short", parquet(y=[1, 0], a=[1, 2])[:-9], PARQUET),
    Case("null label in Parquet", f"row 2, column 1: {NO_LABEL}", parquet(y=[1.0, None], a=[1.0, 2.0]), PARQUET),
    Case("no label in RecordIO", "row 1: expected a label, found none", recordio.encode_features(X), RECORDIO),
    Case("NaN label in RecordIO", f"row 7: {NO_LABEL}", recordio.encode_features(X, label_7(np.nan)), RECORDIO),
    Case("empty label", f"row 7, column 1: {NO_LABEL}", row_7("", 2, 3, 4, 5)),
    Case("infinite label", f"row 7, column 1: {NO_LABEL}", row_7("-inf", 2, 3, 4, 5)),
    Case("NaN label in LibSVM", f"row 7: {NO_LABEL}", libsvm(X, label_7(np.nan)), LIBSVM),
    Case("label alone", "row 1: expected 2 columns (1 label and 1 feature), found 1", b"1\n0\n"),
    Case("unlabelled CSV", "row 1: expected a label, found none", ROWS, "text/csv; label_size=0"),
    label("binary:logistic", 2, "0 or 1, or a probability between them, for objective 'binary:logistic'"),
    label("binary:hinge", -1, "0 or 1 for objective 'binary:hinge'"),
    label("reg:logistic", 1.5, "in [0, 1] for objective 'reg:logistic'"),
    label("multi:softmax", 3, "an integer in [0, 2] (num_class is 3) for objective 'multi:softmax'", num_class="3"),
    label("multi:softprob", 0.5, "an integer in [0, 2] (num_class is 3) for objective 'multi:softprob'", num_class="3"),
    label("count:poisson", -1, "0 or greater for objective 'count:poisson'"),
    label("reg:tweedie", -1, "0 or greater for objective 'reg:tweedie'"),
    label("reg:gamma", 0, "greater than 0 for objective 'reg:gamma'"),
    label("survival:aft", 0, "greater than 0 for objective 'survival:aft'"),
    label("rank:map", 2, "0 or 1 for objective 'rank:map'", QUERIES),
    label("rank:ndcg", 32, "an integer in [0, 31] (unless ndcg_exp_gain is 0) for objective 'rank:ndcg'", QUERIES),
    Case("infinite feature", "row 7, column 3: feature 2 of 4 is an infinite value", row_7(1, 2, "inf", 4, 5)),
    Case("feature beyond float32", "row 7, column 3: feature 2 of 4 is an infinite value", row_7(1, 2, "1e39", 4, 5)),
    Case("infinite feature in LibSVM", "row 2: feature 2 of ", b"1 0:1\n0 1:inf\n", LIBSVM),
    Case(
        "negative weight",
        "row 2, column 2: the weight must be a finite number >= 0, got -1",
        weighted("1", "-1"),
        hyperparameters={"csv_weights": "1"},
    ),
    Case(
        "NaN weight",
        "row 2, column 2: the weight must be a finite number >= 0, got nan",
        weighted("1", ""),
        hyperparameters={"csv_weights": "1"},
    ),
    Case(
        "weights without features",
        "row 1: expected 3 columns (1 label, 1 weight and 1 feature), found 2",
        b"1,1\n0,1\n",
        hyperparameters={"csv_weights": "1"},
    ),
    Case(
        "negative LibSVM weight",
        "row 2: the weight must be a finite number >= 0, got -1",
        b"1:1 0:2\n0:-1 0:3\n",
        LIBSVM,
    ),
    Case(
        "some weights",
        "row 2, column 1: expected a weight as in the rows before, found none",
        b"1:1 0:2\n0 0:3\n",
        LIBSVM,
    ),
    Case(
        "some queries",
        "row 2, column 1: expected a qid as in the rows before, found none",
        b"1 qid:1 0:2\n0 0:3\n",
        LIBSVM,
    ),
    Case(
        "files without queries",
        "row 1: expected a qid as in the files before",
        {"a": b"1 qid:1 0:2\n", "b": b"0 0:3\n"},
        LIBSVM,
        file="b",
    ),
    Case("index twice", "row 2, column 3: index 1 must be given once, found twice", b"1 0:2\n0 1:3 1:4\n", LIBSVM),
    Case(
        "index 2**31",
        "row 2, column 2: expected indices 0 to 2147483646, found 2147483648",
        b"1 0:2\n0 2147483648:3\n",
        LIBSVM,
    ),
    Case("negative index", "row 2, column 2: expected index 0 or greater, found -1", b"1 0:2\n0 -1:3\n", LIBSVM),
    Case(
        "files of two widths",
        "row 1: expected 4 features as in the rows before, found 3",
        {"a": ROWS, "b/c": encoded(X[:, :3], CSV, Y)},
        file="b/c",
    ),
    Case(
        "narrow validation",
        "row 1: expected 4 features as in the rows before, found 3",
        ROWS,
        CSV,
        encoded(X[:, :3], CSV, Y),
        "validation",
    ),
    Case(
        "bad validation label",
        "row 7, column 1: the label must be ",
        ROWS,
        CSV,
        encoded(X, CSV, label_7(9)),
        "validation",
        hyperparameters={"objective": "binary:logistic"},
    ),
    Case("no train channel", f"channel 'train' is missing; {CHANNELS}", None, CSV, ROWS, placed=False),
    Case("empty file", NO_DATA.format("train"), b"", placed=False),
    Case("comments alone", NO_DATA.format("train"), b"# nothing\n", LIBSVM, placed=False),
    Case("hidden files", NO_DATA.format("train"), {".part": ROWS, "_SUCCESS": b""}, placed=False),
    Case("empty validation", NO_DATA.format("validation"), ROWS, CSV, {}, placed=False),
    Case(
        "monotone_constraints too short",
        "hyperparameter 'monotone_constraints' must have one value for each of the 4 features",
        ROWS,
        placed=False,
        hyperparameters={"monotone_constraints": "(1,0)"},
    ),
    Case(
        "interaction_constraints too wide",
        "hyperparameter 'interaction_constraints' must name features in [0, 3], ",
        ROWS,
        placed=False,
        hyperparameters={"interaction_constraints": "[[0, 4]]"},
    ),
    Case(
        "code as constraint",
        "hyperparameter 'monotone_constraints' must be a JSON list of -1, 0, 1, got ",
        ROWS,
        placed=False,
        hyperparameters={"monotone_constraints": "open('/dev/null')"},
    ),
]


def job_of(case: Case, folder: Path) -> JobFolder:
    job = JobFolder(folder, "xgboost")
    for name, data in (("train", case.train), ("validation", case.validation)):
        if data is not None:
            job.channel(name, data if isinstance(data, dict) else {"data": data}, case.content_type)
    job.hyperparameters = {"num_round": "2", "nthread": "1"} | case.hyperparameters
    job.resources = {"current_host": "algo-1", "hosts": ["algo-1"]}
    return job


@pytest.fixture(scope="module")
def jobs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[JobFolder, Trained]]]]:
    """The jobs of all cases that are to be tested, two at a time."""
    asked = [item.callspec.params["case"] for item in request.session.items if item.name.startswith("test_refused[")]

    def run(case: Case, folder: Path) -> tuple[JobFolder, Trained]:
        job = job_of(case, folder)
        return job, job.train()

    with ThreadPoolExecutor(2) as pool:
        yield {case.name: pool.submit(run, case, tmp_path_factory.mktemp("ml")) for case in asked}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case: Case, jobs: dict[str, Future[tuple[JobFolder, Trained]]]) -> None:
    job, ended = jobs[case.name].result()
    assert (ended.exit_code, ended.failure is not None) == (2, True), ended.log
    assert (ended.failure or "").startswith(case.sentence())
    assert len(ended.failure or "") < 400
    assert "\n" not in (ended.failure or "")
    assert "Traceback" not in ended.log
    assert list(job.model.iterdir()) == []


def test_unknown_channel(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    job.hyperparameters = {"num_round": "2"}
    job.channel("train", {"data": ROWS}, CSV)
    job.channel("test", {"data": ROWS}, CSV)
    ended = job.train()
    assert (ended.exit_code, ended.failure) == (2, f"ClientError: unknown channel 'test'; {CHANNELS}")


def test_rows_that_all_weigh_nothing(train: Callable[..., JobFolder]) -> None:
    job = train(train=weighted("0", "0"), csv_weights=1, num_round=2, expect=2)
    assert "weight" in (job.base / "output/failure").read_text()
    assert "Traceback" not in (job.base / "train.log").read_text()


def test_parquet_without_its_package(job_folder: Callable[[str], JobFolder], tmp_path: Path) -> None:
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow/__init__.py").write_text("raise ImportError('not here')\n")
    job = job_folder("xgboost")
    job.hyperparameters = {"num_round": "2"}
    job.environment = {"PYTHONPATH": str(tmp_path)}
    job.channel("train", {"data": parquet(y=Y, a=X[:, 0])}, PARQUET)
    ended = job.train()
    assert ended.exit_code == 2, ended.log
    assert "Parquet needs pyarrow, which is not installed here: install inbuilt[parquet]" in (ended.failure or "")


def booster(job: JobFolder) -> xgboost.Booster:
    return xgboost.Booster(model_file=bytearray((job.model / "xgboost-model").read_bytes()))


def predictions(job: JobFolder, features: np.ndarray = X) -> np.ndarray:
    return booster(job).predict(xgboost.DMatrix(features))


@pytest.mark.parametrize("content_type", ["text/csv; label_size=1", "text/csv;charset=utf-8", "Text/CSV", "csv"])
def test_content_types_with_parameters(train: Callable[..., JobFolder], content_type: str) -> None:
    job = train(content_type, train=ROWS, num_round=2)
    plain = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, Y), 2)
    np.testing.assert_array_equal(predictions(job), plain.predict(xgboost.DMatrix(X)))


def test_early_stopping_without_validation_says_so(train: Callable[..., JobFolder]) -> None:
    job = train(train=ROWS, num_round=9, early_stopping_rounds=1)
    log = (job.base / "train.log").read_text()
    assert "early_stopping_rounds is 1, but there is no channel 'validation' to watch: all 9 rounds are run." in log
    assert booster(job).num_boosted_rounds() == 9


def test_early_stopping_without_eval_metric(train: Callable[..., JobFolder]) -> None:
    opposite = encoded(X, CSV, 1 - Y)  # each round makes it worse
    job = train(train=ROWS, validation=opposite, num_round=9, early_stopping_rounds=2)
    assert booster(job).num_boosted_rounds() == 1
    assert booster(job).attr("best_iteration") == "0"
    assert "[2]\ttrain-rmse:" in (log := (job.base / "train.log").read_text())
    assert "[3]\ttrain-rmse:" not in log


def test_a_metric_that_is_nan_does_not_stop_training(train: Callable[..., JobFolder]) -> None:
    """AUC of rows of one class is no number: there is no best round, and the model must not be cut to the first."""
    one_class = encoded(X, CSV, 0 * Y)
    job = train(
        train=ROWS,
        validation=one_class,
        num_round=6,
        early_stopping_rounds=2,
        eval_metric="auc",
        objective="binary:logistic",
    )
    assert booster(job).num_boosted_rounds() == 6


def test_queries_in_any_order(train: Callable[..., JobFolder]) -> None:
    mixed = np.argsort(np.arange(24) % 6, kind="stable")  # a row of each query in turn
    relevance = (np.arange(24) % 3).astype(np.float32)
    settings = {"objective": "rank:ndcg", "num_round": 3}
    sorted_ = train(LIBSVM, train=libsvm(X, relevance, queries=QUERIES), **settings)
    unsorted = train(LIBSVM, train=libsvm(X[mixed], relevance[mixed], queries=QUERIES[mixed]), **settings)
    assert sorted_.artifact()["xgboost-model"] == unsorted.artifact()["xgboost-model"]


@pytest.mark.parametrize(("first", "validation_first", "counted_from"), [(0, 0, 0), (1, 1, 1), (1, 0, 0), (0, 1, 0)])
def test_libsvm_counts_from_1_if_no_index_anywhere_is_0(
    train: Callable[..., JobFolder], first: int, validation_first: int, counted_from: int
) -> None:
    job = train(LIBSVM, train=libsvm(X, Y, first), validation=libsvm(X, Y, validation_first), num_round=2)
    assert booster(job).attr("first_index") == str(counted_from)
    width = 4 + max(first, validation_first) - counted_from
    assert booster(job).num_features() == width
    features = np.full((24, width), np.nan, np.float32)
    features[:, first - counted_from : first - counted_from + 4] = X
    plain = xgboost.train({"nthread": 1}, xgboost.DMatrix(features, Y), 2)
    np.testing.assert_array_equal(predictions(job, features), plain.predict(xgboost.DMatrix(features)))
