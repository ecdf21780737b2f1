"""Verbose answers of the real `serve` program, in every format, as the guide's "K-NN Request and Response Formats"."""

import csv
import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from algorithms import artifact
from algorithms.errors import UserError
from algorithms.knn.tests.oracle import majority, nearest
from formats.record_pb2 import Record
from serving.app import create_app
from serving.settings import Settings
from tests.examples import CSV, JSON, JSONLINES, RECORDIO, encoded
from tests.job_folder import JobFolder, Served

K = 3
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.integers(-20, 20, (200, 4)).astype(np.float32)  # integers: distances are exact
LABELS = RANDOM.integers(0, 3, 200).astype(np.float32)
QUERIES = np.random.default_rng(1).integers(-20, 20, (60, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    made = JobFolder(tmp_path_factory.mktemp("knn"), "knn")
    made.hyperparameters = {"k": str(K), "predictor_type": "classifier", "sample_size": "200"}
    made.channel("train", {"data": encoded(ROWS, CSV, LABELS)}, "text/csv;label_size=1")
    ended = made.train()
    assert ended.exit_code == 0, ended.log
    return made


@pytest.fixture(scope="module")
def served(job: JobFolder) -> Iterator[Served]:
    with job.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        yield server


def rows_of(body: bytes, accept: str) -> list[dict[str, object]]:
    """A verbose answer in any format as the row objects of the JSON one."""
    if accept == JSON:
        return json.loads(body)["predictions"]
    if accept == JSONLINES:
        return [json.loads(line) for line in body.split(b"\n")]
    if accept == CSV:
        names = ("predicted_label", "distances", "labels")  # a list is one cell, as JSON
        lines = csv.reader(body.decode().split("\n"))
        return [dict(zip(names, map(json.loads, cells), strict=True)) for cells in lines]
    answers, at = [], 0
    while at < len(body):
        size = int.from_bytes(body[at + 4 : at + 8], "little")
        record = Record.FromString(body[at + 8 : at + 8 + size])
        values = {name: list(value.float32_tensor.values) for name, value in record.label.items()}
        assert len(values["predicted_label"]) == 1
        answers.append(values | {"predicted_label": values["predicted_label"][0]})
        at += 8 + (size + 3) // 4 * 4
    return answers


@pytest.mark.parametrize("rows", [1, 60])
@pytest.mark.parametrize("accept", [JSON, JSONLINES, RECORDIO, CSV])
@pytest.mark.parametrize("content_type", [JSON, JSONLINES, RECORDIO, CSV])
def test_every_format(served: Served, content_type: str, accept: str, rows: int) -> None:
    queries = QUERIES[:rows]
    answer = served.invoke(encoded(queries, content_type), content_type, f"{accept}; verbose=true")
    assert (answer.status, answer.content_type) == (200, accept), answer.body
    found = rows_of(answer.body, accept)
    wanted, _ = nearest(queries, ROWS, K)
    assert len(found) == rows
    for row, distances in zip(found, wanted, strict=True):
        assert set(row) == {"predicted_label", "distances", "labels"}
        assert row["distances"] == distances.tolist()  # squared, ascending
        assert row["predicted_label"] == majority(row["labels"])
        assert len(row["labels"]) == K


def test_one_neighbours_answer_is_still_a_list(job: JobFolder, tmp_path) -> None:
    """k = 1: `distances` and `labels` have one element, in JSON as in the others."""
    for path in job.model.iterdir():
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    described = json.loads((tmp_path / "model" / "model_algo-1.json").read_text()) | {"k": 1}
    (tmp_path / "model" / "model_algo-1.json").write_text(json.dumps(described))
    with JobFolder(tmp_path, "knn").serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        for accept in (JSON, JSONLINES):
            [row] = rows_of(server.invoke(encoded(ROWS[:1], CSV), CSV, f"{accept};verbose=true").body, accept)
            assert row["distances"] == [0.0]
            assert row["labels"] == [row["predicted_label"]]


def test_the_guides_order_of_keys(served: Served) -> None:
    body = served.invoke(encoded(QUERIES[:1], CSV), CSV, "application/json; verbose=true").body
    assert list(json.loads(body)["predictions"][0]) == ["predicted_label", "distances", "labels"]


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json; verbose=false", "application/json;verbose=False"]
)
def test_short_answers(served: Served, accept: str) -> None:
    found = json.loads(served.invoke(encoded(QUERIES, CSV), CSV, accept).body)["predictions"]
    long = json.loads(served.invoke(encoded(QUERIES, CSV), CSV, "application/json; verbose=true").body)["predictions"]
    assert found == [{"predicted_label": row["predicted_label"]} for row in long]


def test_short_answers_in_csv(served: Served) -> None:
    cells = served.invoke(encoded(QUERIES, CSV), CSV, CSV).body.decode().split("\n")
    long = rows_of(served.invoke(encoded(QUERIES, CSV), CSV, f"{CSV};verbose=true").body, CSV)
    assert [float(cell) for cell in cells] == [row["predicted_label"] for row in long]


@pytest.mark.parametrize("edited", [{"k": 200}, {"predictor_type": "regressor"}, {"ties": "farthest"}])
def test_an_edited_model_passes_its_self_test(job: JobFolder, tmp_path, edited: dict[str, object]) -> None:
    shutil.copytree(job.model, tmp_path / "model")
    description = tmp_path / "model" / "model_algo-1.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | edited))
    artifact.load(tmp_path / "model", "knn").self_test()


@pytest.mark.parametrize("value", ["maybe", "1", "yes", ""])
def test_neither_true_nor_false(served: Served, value: str) -> None:
    answer = served.invoke(encoded(QUERIES, CSV), CSV, f"application/json; verbose={value}")
    assert (answer.status, answer.body) == (406, f"verbose must be true or false, got '{value}'\n".encode())


@pytest.mark.parametrize(
    "accept",
    [
        "application/json;VERBOSE=True",
        'application/json; verbose="true"; q=0.9',
        "image/png, application/json;verbose=true",
        "*/*;verbose=true",
        "text/csv;q=0.1, application/json; verbose=true",
    ],
)
def test_spellings(served: Served, accept: str) -> None:
    answer = served.invoke(encoded(QUERIES, CSV), CSV, accept)
    assert answer.content_type == JSON
    assert "distances" in json.loads(answer.body)["predictions"][0]


def test_verbose_by_default(job: JobFolder) -> None:
    """Batch transform sends one Accept for all; the environment says it where nobody does."""
    accept = f"{JSONLINES}; verbose=true"
    with job.serve(SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT=accept, SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        body = encoded(QUERIES, CSV)
        for header in (None, "*/*", accept):
            assert "distances" in json.loads(server.invoke(body, CSV, header).body.split(b"\n")[0])
        assert "distances" not in json.loads(server.invoke(body, CSV, JSONLINES).body.split(b"\n")[0])


def test_the_uid_is_echoed(served: Served) -> None:
    body = encoded(QUERIES[:1], RECORDIO)
    record = Record.FromString(body[8 : 8 + int.from_bytes(body[4:8], "little")])
    record.uid = "abc"
    answer = served.invoke(record.SerializeToString(), RECORDIO, f"{RECORDIO}; verbose=true").body
    assert Record.FromString(answer[8 : 8 + int.from_bytes(answer[4:8], "little")]).uid == "abc"


def test_a_default_that_is_neither_true_nor_false(job: JobFolder) -> None:
    """Said when the server starts, not to each client."""
    settings = Settings.read({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": f"{JSON}; verbose=maybe"})
    with pytest.raises(UserError, match="with verbose=true or without, got 'application/json; verbose=maybe'"):
        create_app(artifact.load(job.model, "knn"), settings)
