"""Defects that were seen in the hosted container's server: none of them is in ours, by the real programs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xgboost
from scipy import sparse

from formats import recordio
from formats.record_pb2 import Record
from tests.examples import CSV, JSON, JSONLINES, LIBSVM, RECORDIO, encoded, encoded_sparse
from tests.job_folder import PATIENCE, Answer, JobFolder, Served

FORMATS = (CSV, JSON, JSONLINES, LIBSVM, RECORDIO)
ANSWERS = (CSV, JSON, JSONLINES, RECORDIO)
RANDOM = np.random.default_rng(5)
# Feature 3 is missing, zero or two, and the three are learned to be as different as can be.
X = RANDOM.normal(size=(90, 4)).astype(np.float32).round(2)
X[:, 3] = np.tile([np.nan, 0, 2], 30)
Y = np.tile([1, 0, 1], 30).astype(np.float32)
CLASSES = np.tile([2, 0, 1], 30).astype(np.float32)
SOLID = np.where(np.isnan(X), 1, X)  # without missing values


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., JobFolder]:
    """`trained(rows, content_type, eta=1)`: an ended job, made once for all tests that want the same."""
    made: dict[str, JobFolder] = {}

    def train(rows: bytes, content_type: str = CSV, **hyperparameters: object) -> JobFolder:
        key = f"{rows!r} {content_type} {hyperparameters}"
        if key not in made:
            job = JobFolder(tmp_path_factory.mktemp("ml"), "xgboost")
            job.channel("train", {"data": rows}, content_type)
            settings = {"num_round": 5, "nthread": 1} | hyperparameters
            job.hyperparameters = {name: str(value) for name, value in settings.items()}
            ended = job.train()
            assert ended.exit_code == 0, ended.log
            made[key] = job
        return made[key]

    return train


@pytest.fixture(scope="module")
def binary(trained: Callable[..., JobFolder]) -> JobFolder:
    return trained(encoded(X, CSV, Y).replace(b"nan", b""), objective="binary:logistic")


@pytest.fixture(scope="module")
def multiclass(trained: Callable[..., JobFolder]) -> JobFolder:
    rows = encoded(X, CSV, CLASSES).replace(b"nan", b"")
    return trained(rows, objective="multi:softprob", num_class=3)


@pytest.fixture(scope="module")
def served(binary: JobFolder) -> Iterator[Served]:
    with binary.serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        yield server


def expected(job: JobFolder, features: np.ndarray) -> np.ndarray:
    """What the library answers itself."""
    booster = xgboost.Booster(model_file=bytearray((job.model / "xgboost-model").read_bytes()))
    return booster.predict(xgboost.DMatrix(features))


def scores(answer: Answer) -> np.ndarray:
    """An answer's scores, (n,) or (n, m)."""
    assert answer.status == 200, answer.body
    return np.array([row["score"] for row in objects(answer)], np.float32)


def objects(answer: Answer) -> list[dict[str, object]]:
    """An answer in JSON, JSON Lines or RecordIO, or one of plain scores in CSV, as JSON's objects."""
    if answer.content_type == JSON:
        return json.loads(answer.body)["predictions"]
    if answer.content_type == JSONLINES:
        return [json.loads(line) for line in answer.body.split(b"\n")]
    if answer.content_type == RECORDIO:
        return [record_object(record) for record in records(answer.body)]
    assert answer.content_type == CSV
    rows = answer.body.rstrip(b"\n").split(b"\n") if b"\n" in answer.body else answer.body.split(b",")
    cells = [[float(cell) for cell in row.split(b",")] for row in rows]
    return [{"score": row[0] if len(row) == 1 else row} for row in cells]


def records(body: bytes) -> Iterator[Record]:
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        yield Record.FromString(body[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4


def record_object(record: Record) -> dict[str, object]:
    values = {name: list(value.float32_tensor.values) for name, value in record.label.items()}
    return {name: each[0] if len(each) == 1 else each for name, each in values.items()}


def request(features: np.ndarray, content_type: str) -> bytes:
    return (
        encoded(features, content_type).replace(b"nan", b"") if content_type == CSV else encoded(features, content_type)
    )


@pytest.mark.parametrize("content_type", FORMATS)
def test_every_format_gives_the_library_s_own_answer(binary: JobFolder, served: Served, content_type: str) -> None:
    for accept in ANSWERS:
        answer = served.invoke(request(SOLID, content_type), content_type, accept)
        assert answer.content_type == accept  # bare: the SDK's deserializers refuse parameters
        np.testing.assert_array_equal(scores(answer), expected(binary, SOLID))


@pytest.mark.parametrize(
    ("content_type", "width"), [(each, width) for each in FORMATS for width in (3, 5) if (each, width) != (LIBSVM, 3)]
)
def test_rows_of_another_width(served: Served, content_type: str, width: int) -> None:
    """D1: short rows were answered without a word. Of LibSVM only a long one is wrong: what it lacks is missing."""
    rows = encoded(np.ones((2, width), np.float32), content_type)
    answer = served.invoke(rows, content_type)
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    numbers = set(re.findall(r"\d+", answer.body.decode()))
    assert {"4", "4" if content_type == LIBSVM else str(width)} <= numbers  # LibSVM: the fifth index is 4
    assert answer.body.count(b"\n") == 1


@pytest.mark.parametrize("content_type", [JSON, JSONLINES, RECORDIO])
def test_sparse_rows_of_another_width(served: Served, content_type: str) -> None:
    for width in (3, 5):
        answer = served.invoke(encoded_sparse(np.ones((2, width), np.float32), content_type), content_type)
        assert answer.status == 400
        assert {"4", str(width)} <= set(re.findall(r"\d+", answer.body.decode()))


def test_one_short_row_among_others(served: Served) -> None:
    answer = served.invoke(b"1,2,3,4\n1,2,3\n1,2,3,4\n", CSV)
    assert answer.status == 400
    assert b"row 2: expected 4 columns, found 3" in answer.body


@pytest.mark.parametrize(
    "content_type", ["text/csv;label_size=0", "text/csv; label_size=0; charset=utf-8", "Text/CSV;charset=UTF-8", "csv"]
)
def test_content_types_with_parameters(binary: JobFolder, served: Served, content_type: str) -> None:
    """D2: `label_size=0` was refused."""
    np.testing.assert_array_equal(scores(served.invoke(request(X, CSV), content_type)), expected(binary, X))


def test_label_size_1_drops_the_label(binary: JobFolder, served: Served) -> None:
    """D2: with `label_size=1` no column was dropped."""
    labelled = encoded(SOLID, CSV, Y)
    np.testing.assert_array_equal(scores(served.invoke(labelled, "text/csv;label_size=1")), expected(binary, SOLID))
    answer = served.invoke(labelled, CSV)
    assert answer.status == 400
    assert b"expected 4 columns, found 5" in answer.body


@pytest.mark.parametrize("batch", ["true", "True"])
def test_batch_transform_honours_accept(multiclass: JobFolder, batch: str) -> None:
    """D3: Accept was ignored, and vectors were written as Python lists."""
    with multiclass.serve(SAGEMAKER_BATCH=batch) as served:
        for accept in ANSWERS:
            answer = served.invoke(request(X, CSV), CSV, accept)
            assert answer.content_type == accept
            np.testing.assert_array_equal(scores(answer), expected(multiclass, X))
            assert accept != CSV or not set(b"[] ") & set(answer.body)
        assert served.invoke(request(X, CSV), CSV).body.count(b"\n") == len(X)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (CSV, b"a,b,c,d\n"),
        (CSV, b"0:1 1:2\n"),
        (CSV, b"\x80\x81"),
        (JSON, b'{"instances": [{"features": [1, 2, 3, NaN]}]}'),
        (JSON, b"1,2,3,4"),
        (JSONLINES, b'{"features": [1, 2, 3, "4"]}'),
        (LIBSVM, b"1,2,3,4"),
        (LIBSVM, b"0:1 0:2"),
        (RECORDIO, b"1,2,3,4"),
        (RECORDIO, recordio.encode_features(X)[:-5]),
        *[(each, b"") for each in FORMATS],
    ],
)
def test_a_malformed_body_is_400(served: Served, content_type: str, body: bytes) -> None:
    """D4: it was 415."""
    answer = served.invoke(body, content_type)
    assert (answer.status, answer.content_type) == (400, "text/plain; charset=utf-8")
    assert answer.body.startswith(b"unable to evaluate payload provided: ")
    assert answer.body.count(b"\n") == 1


def test_unknown_content_types_are_415(served: Served) -> None:
    for content_type in ("application/octet-stream", "text/html", "application/x-parquet"):
        assert served.invoke(request(X, CSV), content_type).status == 415


def test_accept_is_looked_at_before_the_body(served: Served) -> None:
    """D4: it was looked at after predicting."""
    for body in (request(X, CSV), b"not a number"):
        answer = served.invoke(body, CSV, "image/png")
        assert answer.status == 406
        assert all(name.encode() in answer.body for name in ANSWERS)


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("text/csv, application/json", CSV),
        ("application/json, text/csv", JSON),
        ("image/png, application/jsonlines;q=0.5, application/json;q=0.9", JSON),
        ("application/json;q=0, */*", CSV),
        ("Application/JSONLines; verbose=true", JSONLINES),
        ("*/*", CSV),
        (None, CSV),
    ],
)
def test_lists_in_accept(served: Served, accept: str | None, answered: str) -> None:
    answer = served.invoke(request(X, CSV), CSV, accept)
    assert (answer.status, answer.content_type) == (200, answered)


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html", "must be one of text/csv, application/json, "),
        ("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score", "must be among predicted_label, labels, probability, "),
        ("SAGEMAKER_INFERENCE_OUTPUT", "probability,colour", "of objective binary:logistic, got 'colour'"),
        ("SAGEMAKER_MULTI_MODEL", "true", "this container serves one model; please do not set SAGEMAKER_MULTI_MODEL"),
    ],
)
def test_settings_that_make_no_sense_end_the_server(
    binary: JobFolder, variable: str, value: str, sentence: str
) -> None:
    process = binary.start("serve", **{variable: value})
    try:
        assert process.wait(PATIENCE) == 2
    finally:
        process.kill()
    log = (binary.base / "serve.log").read_text()
    *_, last = log.splitlines()  # before it may stand what it computes on
    assert last.startswith("ClientError: ")
    assert variable in last
    assert sentence in last
    assert "Traceback" not in log


def test_false_is_not_true(binary: JobFolder) -> None:
    """SAGEMAKER_MULTI_MODEL=false and SAGEMAKER_BATCH=false were taken for true."""
    with binary.serve(SAGEMAKER_MULTI_MODEL="false", SAGEMAKER_BATCH="false") as served:
        assert b"\n" not in served.invoke(request(X, CSV), CSV).body


def sparse_line(row: np.ndarray, first: int) -> str:
    return " ".join(f"{i + first}:{value:g}" for i, value in enumerate(row) if not np.isnan(value))


@pytest.mark.parametrize("first", [0, 1])
def test_libsvm_indices_mean_what_they_meant_in_training(trained: Callable[..., JobFolder], first: int) -> None:
    """At serving they were shifted down whenever the smallest of the request was 1 or more."""
    lines = [f"{label:g} {sparse_line(row, first)}" for row, label in zip(X, Y, strict=True)]
    job = trained("\n".join(lines).encode(), LIBSVM)
    assert expected(job, X).std() > 0.1
    with job.serve() as served:
        for features in (X, np.where(np.arange(4) == 0, np.nan, X), np.where(np.arange(4) < 3, np.nan, X)):
            body = "\n".join(f"0 {sparse_line(row, first)}" for row in features).encode()
            np.testing.assert_array_equal(scores(served.invoke(body, LIBSVM)), expected(job, features))
        other = served.invoke(f"0 {sparse_line(SOLID[0], 1 - first)}".encode(), LIBSVM)
        assert other.status == 400
        found = "expected index 1 or greater, found 0; indices count from 1" if first else "expected indices 0 to 3"
        assert found.encode() in other.body


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (LIBSVM, b"0\n0 3:2\n"),
        (JSON, b'{"instances":[{"data":{"features":{"keys":[],"shape":[4],"values":[]}}},'
               b'{"data":{"features":{"keys":[3],"shape":[4],"values":[2]}}}]}'),
        (JSONLINES, b'{"data":{"features":{"keys":[],"shape":[4],"values":[]}}}\n'
                    b'{"data":{"features":{"keys":[3],"shape":[4],"values":[2]}}}'),
        (RECORDIO, recordio.encode_features(sparse.csr_array(np.array([[0, 0, 0, 0], [0, 0, 0, 2]], np.float32)))),
    ],
)  # fmt: skip
def test_sparse_rows_without_entries(binary: JobFolder, served: Served, content_type: str, body: bytes) -> None:
    wanted = expected(binary, np.array([[np.nan] * 4, [np.nan, np.nan, np.nan, 2]], np.float32))
    np.testing.assert_array_equal(scores(served.invoke(body, content_type)), wanted)


def stored(*values: float) -> bytes:
    """One sparse record of 1, 1, 1 and what is stored of feature 3."""
    data = np.array([1, 1, 1, *values], np.float32)
    matrix = sparse.csr_array((data, np.arange(len(data)), [0, len(data)]), shape=(1, 4))
    return recordio.encode_features(matrix)


@pytest.mark.parametrize(
    ("content_type", "missing", "zero"),
    [
        (CSV, b"1,1,1,", b"1,1,1,0"),
        (CSV, b"1,1,1,nan", b"1,1,1,-0.0"),
        (JSON, b'{"instances":[{"features":[1,1,1,null]}]}', b'{"instances":[{"features":[1,1,1,0]}]}'),
        (JSON, b'{"instances":[{"data":{"features":{"keys":[0,1,2],"shape":[4],"values":[1,1,1]}}}]}',
               b'{"instances":[{"data":{"features":{"keys":[0,1,2,3],"shape":[4],"values":[1,1,1,0]}}}]}'),
        (JSONLINES, b'{"features":[1,1,1,null]}', b'{"features":[1,1,1,0]}'),
        (LIBSVM, b"0:1 1:1 2:1", b"0:1 1:1 2:1 3:0"),
        (LIBSVM, b"0:1 1:1 2:1 3:nan", b"0 0:1 1:1 2:1 3:0.0"),
        (RECORDIO, stored(), stored(0)),
        (RECORDIO, *[recordio.encode_features(np.array([[1, 1, 1, v]], np.float32)) for v in (np.nan, 0)]),
    ],
)  # fmt: skip
def test_zero_is_not_missing(binary: JobFolder, served: Served, content_type: str, missing: bytes, zero: bytes) -> None:
    of_missing, of_zero = expected(binary, np.array([[1, 1, 1, np.nan], [1, 1, 1, 0]], np.float32))
    assert of_missing > 0.6 > 0.4 > of_zero
    assert scores(served.invoke(missing, content_type)).tolist() == [of_missing]
    assert scores(served.invoke(zero, content_type)).tolist() == [of_zero]


def test_recordio_answers_do_not_accumulate(multiclass: JobFolder) -> None:
    """Each record repeated those before it: the answer grew with the square of the rows."""
    with multiclass.serve() as served:
        sizes = [len(served.invoke(request(X[:n], CSV), CSV, RECORDIO).body) for n in (1, 10, 90)]
        assert sizes == [sizes[0], 10 * sizes[0], 90 * sizes[0]]


def test_numbers_are_the_shortest_text_of_a_float32(binary: JobFolder, served: Served) -> None:
    wanted = [np.format_float_positional(score, trim="0") for score in expected(binary, X)]
    assert served.invoke(request(X, CSV), CSV).body.decode().split(",") == wanted
    body = served.invoke(request(X, CSV), CSV, JSON).body.decode()
    assert re.findall(r'"score":([^}]+)', body) == wanted


def test_csv_of_one_score_a_line(binary: JobFolder, served: Served) -> None:
    joined = served.invoke(request(X, CSV), CSV).body
    with binary.serve(INBUILT_CSV_ROWS="1") as rows:
        assert rows.invoke(request(X, CSV), CSV).body == joined.replace(b",", b"\n") + b"\n"


BINARY_KEYS = "predicted_label,probability,probabilities,labels,raw_score,raw_scores"


@pytest.mark.parametrize(
    ("objective", "more", "selection"),
    [
        ("binary:logistic", {}, BINARY_KEYS),
        ("multi:softprob", {"num_class": 3}, "labels, predicted_label, probability ,probabilities"),
        ("multi:softmax", {"num_class": 3}, "predicted_label,raw_score"),
        ("reg:squarederror", {}, "predicted_score"),
        ("rank:pairwise", {}, "predicted_score"),
        ("count:poisson", {}, "predicted_score"),
    ],
)
def test_selected_outputs(
    trained: Callable[..., JobFolder], objective: str, more: dict[str, object], selection: str
) -> None:
    """The last two were answered with 500."""
    rows = encoded(X, CSV, CLASSES if more else Y).replace(b"nan", b"")
    job = trained(rows, objective=objective, **more)
    score = expected(job, X)
    vectors = score if score.ndim == 2 else np.stack([1 - score, score], axis=1)
    columns = {
        "predicted_label": vectors.argmax(axis=1) if objective != "multi:softmax" else score,
        "labels": np.tile(np.arange(vectors.shape[1]), (len(X), 1)),
        "probability": vectors.max(axis=1) if score.ndim == 2 else score,
        "probabilities": vectors,
        "raw_score": vectors.max(axis=1) if score.ndim == 2 else score,
        "raw_scores": vectors,
        "predicted_score": score,
    }
    names = selection.replace(" ", "").split(",")
    wanted = [{name: columns[name][i].tolist() for name in names} for i in range(len(X))]
    with job.serve(SAGEMAKER_INFERENCE_OUTPUT=selection, INBUILT_CSV_ROWS="1") as served:
        for accept in (JSON, JSONLINES, RECORDIO):
            answer = served.invoke(request(X, CSV), CSV, accept)
            assert [list(row) for row in objects(answer)] == [names] * len(X) or accept == RECORDIO
            for name in names:
                found = np.array([row[name] for row in objects(answer)], np.float32)
                np.testing.assert_array_equal(found, np.array([row[name] for row in wanted], np.float32))
        lines = served.invoke(request(X, CSV), CSV, CSV).body.decode().split("\n")
        for line, row in zip(lines, wanted, strict=True):
            cells = [json.loads(cell.strip('"')) for cell in re.findall(r'"[^"]*"|[^,]+', line)]
            for cell, value in zip(cells, row.values(), strict=True):
                np.testing.assert_array_equal(np.float32(cell), np.float32(value))


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
def test_many_clients_at_once(trained: Callable[..., JobFolder], booster: str) -> None:
    job = trained(encoded(SOLID, CSV, Y), objective="binary:logistic", booster=booster)
    wanted = expected(job, SOLID)
    with job.serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as served, ThreadPoolExecutor(12) as pool:

        def ask(i: int) -> bool:
            start, stop = i % 80, i % 80 + 1 + i % 10
            accept = ANSWERS[i % len(ANSWERS)]
            found = scores(served.invoke(encoded(SOLID[start:stop], FORMATS[i % 5]), FORMATS[i % 5], accept))
            return np.array_equal(found, wanted[start:stop])

        assert all(pool.map(ask, range(200)))


def test_several_models_answer_with_their_mean(trained: Callable[..., JobFolder], tmp_path: Path) -> None:
    jobs = [trained(encoded(SOLID, CSV, Y), eta=eta) for eta in (0.1, 0.7)]
    both = JobFolder(tmp_path, "xgboost")
    both.model.mkdir()
    for i, job in enumerate(jobs):
        (both.model / f"xgboost-model-{i}").write_bytes((job.model / "xgboost-model").read_bytes())
    each = [expected(job, SOLID) for job in jobs]
    with both.serve() as served:
        np.testing.assert_allclose(scores(served.invoke(request(SOLID, CSV), CSV)), np.mean(each, axis=0), rtol=1e-6)
    with both.serve(SAGEMAKER_INFERENCE_ENSEMBLE="false") as served:
        np.testing.assert_array_equal(scores(served.invoke(request(SOLID, CSV), CSV)), each[0])


def test_a_score_that_is_infinite_is_no_answer(trained: Callable[..., JobFolder]) -> None:
    """It was `NaN` or `Infinity`, which is not JSON."""
    job = trained(encoded(SOLID, CSV, Y * 1e20), booster="gblinear")
    with job.serve() as served:
        for accept in ANSWERS:
            answer = served.invoke(b"-3e38,1,2,3e38\n", CSV, accept)
            assert answer.status in (400, 500)
            assert answer.content_type == "text/plain; charset=utf-8"
            assert served.invoke(b"1,1,2,3\n", CSV, accept).status == 200


def test_metric_lines_are_alone_on_standard_output(binary: JobFolder) -> None:
    """D9: debug prints stood beside them."""
    log = (binary.base / "train.log").read_text()
    assert "DEBUG" not in log
    rounds = [line for line in log.split("\n") if re.match(r"\[\d+\]\t", line)]
    assert [re.fullmatch(r"\[(\d)\]\ttrain-logloss:\d\.\d{5}", line)[1] for line in rounds] == list("01234")


def test_a_zero_is_a_zero_beside_sparse_records(served: Served, binary: JobFolder) -> None:
    """Dense and sparse records in one body, in RecordIO and JSON."""
    zero = np.array([[0, 0, 0, 0]], np.float32)
    thin = np.array([[1, 0, 0, 2]], np.float32)
    wanted = np.concatenate([expected(binary, zero), expected(binary, np.where(thin == 0, np.nan, thin))])
    mixed = encoded(zero, RECORDIO) + encoded_sparse(thin, RECORDIO)
    np.testing.assert_array_equal(scores(served.invoke(mixed, RECORDIO, JSON)), wanted)
    instances = json.loads(encoded(zero, JSON))["instances"] + json.loads(encoded_sparse(thin, JSON))["instances"]
    np.testing.assert_array_equal(
        scores(served.invoke(json.dumps({"instances": instances}).encode(), JSON, JSON)), wanted
    )


def test_the_model_of_the_job_before_does_not_answer_with_this_one(train: Callable[..., JobFolder]) -> None:
    """Two jobs in one mounted folder: five models, then one."""
    job = train(train=encoded(SOLID, CSV, Y), num_round=2, _kfold=5)
    job.hyperparameters.pop("_kfold")
    assert job.train().exit_code == 0
    assert sorted(job.artifact()) == ["manifest.json", "xgboost-model"]
    with job.serve() as served:
        np.testing.assert_array_equal(scores(served.invoke(encoded(SOLID, CSV), CSV, JSON)), expected(job, SOLID))


def test_a_switch_is_on_or_off(binary: JobFolder) -> None:
    process = binary.start("serve", INBUILT_CSV_ROWS="perhaps")
    assert process.wait(PATIENCE) == 2
    assert (
        "environment variable INBUILT_CSV_ROWS must be 1 or 0, got 'perhaps'" in (binary.base / "serve.log").read_text()
    )
