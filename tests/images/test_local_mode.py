"""Every image under the SageMaker Python SDK's local mode: what fit, deploy, predict and transform gave to a user."""

from __future__ import annotations

import json

import numpy as np
import pytest

from algorithms import artifact
from formats import Batch
from tests.examples import CSV, RECORDIO, encoded, example

ROUNDING = 1e-4  # each format prints a float32 in its own way
MANY = 30_000  # rows of which a transform makes more than one request of 1 MB
FORMATS = ["csv", "csv to csv", "json", "recordio"]


@pytest.fixture(scope="module")
def rows(algorithm):
    """Features and labels to train on, and as many features as a transform asks about."""
    one = example(algorithm.name)
    return (*one.rows(300), one.rows(MANY, seed=1)[0])


@pytest.fixture(scope="module")
def result(algorithm, image, rows, local_mode, tmp_path_factory):
    """Jobs of one and two containers on RecordIO that the SDK wrote, one of them served and transformed with."""
    folder = tmp_path_factory.mktemp("local-mode")
    features, labels, many = rows
    np.savez(folder / "rows.npz", features=features, **({} if labels is None else {"labels": labels}))
    np.savez(folder / "asked.npz", features=many[:5])
    for name, part in {"many": many, "few": many[:5]}.items():
        (folder / name).mkdir()
        (folder / name / "rows.csv").write_bytes(encoded(part, CSV))
    settings = example(algorithm.name).HYPERPARAMETERS
    numbers = {name: json.loads(value) if value.isdigit() else value for name, value in settings.items()}
    channel = {"source": "rows.npz", "content_type": RECORDIO}
    plan = {
        "image": image,
        "jobs": {
            str(instances): {
                "instances": instances,
                "hyperparameters": numbers,
                "channels": {each.name: channel for each in algorithm.channels},
            }
            for instances in counts(algorithm)
        },
        "endpoints": {"predict": {"job": "1", "environment": {}, "asked": "asked.npz", "formats": FORMATS}},
        "transforms": {
            strategy: {"job": "1", "source": source, "strategy": strategy, "assemble_with": "Line"}
            for strategy, source in (("MultiRecord", "many"), ("SingleRecord", "few"))
        },
    }
    return local_mode(folder, plan)


def counts(algorithm):
    """The numbers of containers to train on."""
    return [1, 2] if algorithm.max_hosts is None else [1]


def table(answer, names, algorithm):
    """The numbers of an answer, (rows, columns): JSON and RecordIO have names, CSV has cells in that order."""
    answer = answer[algorithm.wrapper] if isinstance(answer, dict) else answer
    if isinstance(answer[0], dict):
        return np.array([np.hstack([row[name] for name in names]) for row in answer], np.float64)
    cells = np.array(answer, np.float64)
    return cells.T if algorithm.csv_joined else cells


def lines(text):
    return np.array([[float(cell) for cell in line.split(",")] for line in text.split()])


def predicted(result, algorithm, job, features):
    """What the model of a job answers without a server: names and numbers, (rows, columns)."""
    columns = artifact.load(result.folder / f"model-{job}", algorithm.name).model.predict(Batch(features))
    return list(columns), np.column_stack(list(columns.values()))


def test_fit_gives_one_artifact(result, algorithm, tmp_path):
    for instances in counts(algorithm):
        folder = result.folder / f"model-{instances}"
        written = tmp_path / str(instances)
        written.mkdir()
        artifact.load(folder, algorithm.name).model.save(written)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        assert found == {path.name for path in written.iterdir()} | {"manifest.json"}


def test_formats_give_the_answer_of_the_model(result, algorithm, rows):
    names, expected = predicted(result, algorithm, 1, rows[2][:5])
    assert sorted(result.answers["predict"]) == FORMATS
    for answer in result.answers["predict"].values():
        np.testing.assert_allclose(table(answer, names, algorithm), expected, rtol=ROUNDING)


def test_transform_gives_a_line_for_each_record_in_order(result, algorithm, rows):
    """Lines in requests of 1 MB: what comes back is not one answer but several, joined."""
    text = result.answers["MultiRecord"]
    _, expected = predicted(result, algorithm, 1, rows[2])
    np.testing.assert_allclose(lines(text), expected, rtol=ROUNDING, atol=1e-5)
    assert text.split()[:5] == result.answers["SingleRecord"].split()
    assert len([line for line in text.split("\n") if line]) == MANY
    if not algorithm.csv_joined:  # whose answers end in a newline of their own, as the hosted container's do
        assert text.count("\n") == MANY, "no blank line between the answers"
