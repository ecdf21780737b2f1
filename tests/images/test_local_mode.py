"""Every image under the SageMaker SDK's local mode, on real rows: what fit, deploy, predict and transform gave."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from algorithms import artifact
from formats import Batch
from tests.examples import CSV, JSONLINES, LIBSVM, RECORDIO, encoded, example

ROUNDING = 1e-4  # each format prints a float32 in its own way
ASKED = 5  # rows of a request
SEVERAL = 2_500_000  # bytes of which a transform makes more than one request of 1 MB
FORMATS = ["csv", "csv to csv", "json", "json lines", "recordio"]
# input, SplitType, BatchStrategy, Accept and AssembleWith of batch transforms
TRANSFORMS = {
    "lines": ("csv", CSV, "Line", "MultiRecord", CSV, "Line"),
    "line by line": ("jsonlines", JSONLINES, "Line", "SingleRecord", JSONLINES, "Line"),
    "records": ("test.npz", RECORDIO, "RecordIO", "MultiRecord", RECORDIO, None),
    "record by record": ("few.npz", RECORDIO, "RecordIO", "SingleRecord", RECORDIO, None),
}


@pytest.fixture(scope="module")
def real(algorithm):
    """The job on real rows that the algorithm's example declares."""
    return example(algorithm.name).real()


@pytest.fixture(scope="module")
def many(real):
    """The rows held out, again and again, until they make a file of several requests."""
    line = len(encoded(real.test.features, CSV)) / len(real.test.features)
    return np.resize(real.test.features, (int(SEVERAL / line), real.test.features.shape[1]))


@pytest.fixture(scope="module")
def result(algorithm, image, real, many, local_mode, tmp_path_factory):
    """One container with the SDK's class for the algorithm, on its RecordIO, and two on CSV; the first one's model
    served and transformed with."""
    folder = tmp_path_factory.mktemp("local-mode")
    channels = {each.name: "train" if each.name == "train" else "test" for each in algorithm.channels}
    for name in ("train", "test"):
        rows = getattr(real, name)
        arrays = {"features": rows.features} | ({} if rows.labels is None else {"labels": rows.labels})
        np.savez(folder / f"{name}.npz", **arrays)
        write(folder / f"{name}-csv", encoded(rows.features, CSV, rows.labels))
    np.savez(folder / "few.npz", features=many[:ASKED])
    write(folder / "csv", encoded(many, CSV))
    write(folder / "jsonlines", encoded(many[:ASKED], JSONLINES))

    def lines(name):
        label_size = 0 if getattr(real, name).labels is None else 1
        return {"source": f"{name}-csv", "content_type": f"{CSV};label_size={label_size}"}

    jobs = {
        "1": {
            "estimator": real.estimator,
            "instances": 1,
            "hyperparameters": real.hyperparameters,
            "channels": {name: {"source": f"{rows}.npz", "content_type": RECORDIO} for name, rows in channels.items()},
        },
        "2": {
            "estimator": None,
            "instances": 2,
            "hyperparameters": real.hyperparameters | dimension(algorithm, real),
            "channels": {name: lines(rows) for name, rows in channels.items()},
        },
    }
    names = ("source", "content_type", "split_type", "strategy", "accept", "assemble_with")
    plan = {
        "image": image,
        "jobs": {name: jobs[name] for name in counts(algorithm)},
        "endpoints": {
            "predict": {"job": "1", "environment": {}, "asked": "few.npz", "formats": formats(algorithm, real)}
        },
        "transforms": {
            name: {"job": "1", **dict(zip(names, values, strict=True))} for name, values in TRANSFORMS.items()
        },
    }
    return local_mode(folder, plan)


def write(folder, content):
    """A source of one file."""
    folder.mkdir()
    (folder / "rows").write_bytes(content)


def counts(algorithm):
    """The numbers of containers to train on."""
    return ["1", "2"] if algorithm.max_hosts is None else ["1"]


def dimension(algorithm, real):
    """What the SDK's own estimators take from the data, if the algorithm has it."""
    known = "feature_dim" in algorithm.hyperparameters.model_fields
    return {"feature_dim": real.train.features.shape[1]} if known else {}


def formats(algorithm, real):
    """First that of the SDK's predictor for the algorithm, which nothing was set for, if there is one."""
    libsvm = ["libsvm"] if LIBSVM in algorithm.request_types else []
    return [*(["as deployed"] if real.estimator else []), *FORMATS, *libsvm]


def table(answer, names, algorithm):
    """The numbers of an answer, (rows, columns): JSON and RecordIO have names, CSV has cells in that order."""
    answer = answer[algorithm.wrapper] if isinstance(answer, dict) else answer
    if isinstance(answer[0], dict):
        return np.array([np.hstack([row[name] for name in names]) for row in answer], np.float64)
    cells = numbers(answer)
    return cells.T if algorithm.csv_joined else cells


def numbers(rows):
    """The numbers of rows of CSV cells, of which each is one or a JSON list."""
    return np.array([np.hstack([json.loads(cell) for cell in row]) for row in rows], np.float64)


def predicted(result, algorithm, job, features):
    """What the model of a job answers without a server: columns, and the numbers in them, (rows, columns)."""
    named = artifact.load(result.folder / f"model-{job}", algorithm.name).model.predict(Batch(features))
    return named, np.column_stack(list(named.values()))


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING * np.abs(expected).mean())


def test_fit_gives_one_artifact(result, algorithm, tmp_path):
    for job in counts(algorithm):
        folder = result.folder / f"model-{job}"
        written = tmp_path / job
        written.mkdir()
        artifact.load(folder, algorithm.name).model.save(written)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        assert found == {path.name for path in written.iterdir()} | {"manifest.json"}


def test_models_are_good(result, algorithm, real):
    """Those of one container and of two; answers to other rows are not."""
    for job in counts(algorithm):
        named, _ = predicted(result, algorithm, job, real.test.features)
        assert real.quality(named) >= real.good, job
        shuffled = np.random.default_rng(0).permutation(len(real.test.features))
        assert real.quality({name: column[shuffled] for name, column in named.items()}) < real.good


def test_formats_give_the_answer_of_the_model(result, algorithm, real):
    named, expected = predicted(result, algorithm, 1, real.test.features[:ASKED])
    answers = dict(result.answers["predict"])
    assert answers.pop("predictor") == f"{real.estimator or ''}Predictor"
    assert list(answers) == formats(algorithm, real)
    for answer in answers.values():
        same(table(answer, named, algorithm), expected)


def test_transform_gives_a_line_for_each_record_in_order(result, algorithm, many):
    """Lines in requests of 1 MB: what comes back is not one answer but several, joined."""
    text = result.answers["lines"]
    _, expected = predicted(result, algorithm, 1, many)
    lines = [line for line in text.split("\n") if line]
    assert len(lines) == len(many)
    same(numbers(csv.reader(lines)), expected)
    if not algorithm.csv_joined:  # whose answers end in a newline of their own, as the hosted container's do
        assert text.count("\n") == len(many), "no blank line between the answers"


def test_transform_gives_a_line_for_each_request_of_one(result, algorithm, many):
    named, expected = predicted(result, algorithm, 1, many[:ASKED])
    text = result.answers["line by line"]
    assert text.count("\n") == ASKED, "no blank line between the answers"
    same(table(list(map(json.loads, text.split("\n")[:-1])), named, algorithm), expected)


def test_transform_gives_a_good_answer_to_each_record(result, algorithm, real):
    """Several records in a request, as the platform divides a file."""
    records = result.answers["records"]
    named, expected = predicted(result, algorithm, 1, real.test.features)
    same(table(records, named, algorithm), expected)
    answers = {name: np.squeeze([record[name] for record in records]) for name in named}
    assert real.quality(answers) >= real.good


def test_transform_takes_a_record_without_its_frame(result, algorithm, real):
    """Local mode sends such requests, of one record each."""
    named, expected = predicted(result, algorithm, 1, real.test.features[:ASKED])
    same(table(result.answers["record by record"], named, algorithm), expected)
