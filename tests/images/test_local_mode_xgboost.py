"""XGBoost under the SageMaker SDK's local mode, beside the library itself on the same rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xgboost

from tests.examples import CSV, LIBSVM, encoded, example

NAME = "xgboost"
ROUNDS = 20
# As users of the SDK write them: numbers, not strings.
SETTINGS = {"objective": "reg:squarederror", "num_round": ROUNDS, "max_depth": 3, "eta": 0.3, "subsample": 1.0}
ROW_A_LINE = {"INBUILT_CSV_ROWS": "1"}
FORMATS = ["csv", "csv to csv", "json", "libsvm"]
ASKED = 25


@pytest.fixture(scope="module")
def rows():
    """Features and labels of the channels `train` and `validation`."""
    one = example(NAME)
    return {"train": one.rows(2000), "validation": one.rows(500, seed=1)}


@pytest.fixture(scope="module")
def result(image_of, rows, local_mode, tmp_path_factory):
    """Jobs on CSV, on CSV in two containers, and on LibSVM, which goes without a content type."""
    folder = tmp_path_factory.mktemp("local-mode")
    for channel, (features, labels) in rows.items():
        for kind, content_type in (("csv", CSV), ("libsvm", LIBSVM)):
            (folder / f"{channel}-{kind}").mkdir()
            (folder / f"{channel}-{kind}/rows").write_bytes(encoded(features, content_type, labels))
    asked = rows["validation"][0][:ASKED]
    np.savez(folder / "asked.npz", features=asked)
    (folder / "asked").mkdir()
    (folder / "asked/rows.csv").write_bytes(encoded(asked, CSV))

    def job(kind, content_type, instances=1):
        channels = {name: {"source": f"{name}-{kind}", "content_type": content_type} for name in rows}
        return {"instances": instances, "hyperparameters": SETTINGS, "channels": channels}

    plan = {
        "image": image_of(NAME),
        "jobs": {"csv": job("csv", CSV), "two": job("csv", CSV, instances=2), "libsvm": job("libsvm", None)},
        "endpoints": {
            "one line": {"job": "csv", "environment": {}, "asked": "asked.npz", "formats": FORMATS},
            "a line each": {"job": "two", "environment": ROW_A_LINE, "asked": "asked.npz", "formats": FORMATS},
        },
        "transforms": {
            "transform": {"job": "csv", "source": "asked", "strategy": "MultiRecord", "assemble_with": "Line"},
        },
    }
    return local_mode(folder, plan)


@pytest.fixture(scope="module")
def library(rows):
    """The library's own booster, trained here."""
    features, labels = rows["train"]
    settings = {name: value for name, value in SETTINGS.items() if name != "num_round"}
    return xgboost.train(settings, xgboost.DMatrix(features, labels), ROUNDS)


def load(result, job):
    return xgboost.Booster(model_file=bytearray((result.folder / f"model-{job}/xgboost-model").read_bytes()))


def predictions(booster, rows):
    return booster.predict(xgboost.DMatrix(rows["validation"][0]))


def scores(result, job):
    """The validation metric of each round, in the job's log."""
    found = re.findall(r"\[(\d+)\]\ttrain-rmse:\S+\tvalidation-rmse:([0-9.]+)", result.log_of(job))
    assert [int(number) for number, _ in found] == list(range(ROUNDS))  # one host alone prints them
    return [float(value) for _, value in found]


@pytest.mark.parametrize("job", ["csv", "libsvm", "two"])
def test_the_artifact_is_one_model(result, job):
    files = sorted(path.name for path in (result.folder / f"model-{job}").rglob("*"))
    assert files == ["manifest.json", "xgboost-model"]


@pytest.mark.parametrize("job", ["csv", "libsvm"])
def test_the_model_is_what_the_library_trains(result, rows, library, job):
    np.testing.assert_array_equal(predictions(load(result, job), rows), predictions(library, rows))
    rmse = np.sqrt(np.mean((predictions(library, rows).astype(float) - rows["validation"][1]) ** 2))
    assert scores(result, job)[-1] == pytest.approx(rmse, rel=1e-4)


def test_two_instances_give_the_metric_of_one(result):
    assert scores(result, "two")[-1] == pytest.approx(scores(result, "csv")[-1], rel=0.01)


def test_every_format_gives_what_the_library_predicts(result, rows, library):
    expected = predictions(library, rows)[:ASKED]
    answers = result.answers["one line"]
    assert sorted(answers) == FORMATS
    [line] = answers.pop("csv to csv")  # one line, as clients of the guide's time parse it
    np.testing.assert_array_equal(np.array(line, np.float32), expected)
    for answer in answers.values():
        found = [row["score"] for row in answer["predictions"]]
        np.testing.assert_array_equal(np.array(found, np.float32), expected)


def test_a_line_each_if_that_is_asked_for(result, rows):
    cells = np.array(result.answers["a line each"]["csv to csv"], np.float32)
    np.testing.assert_array_equal(cells, predictions(load(result, "two"), rows)[:ASKED, None])


def test_transform_gives_a_line_for_each_record(result, rows, library):
    lines = result.answers["transform"].split()
    np.testing.assert_array_equal(np.array(lines, np.float32), predictions(library, rows)[:ASKED])
