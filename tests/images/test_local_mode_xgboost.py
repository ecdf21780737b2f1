"""XGBoost under the SageMaker SDK's local mode, beside the library itself on the same real rows."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xgboost
from sklearn.metrics import log_loss

from tests.examples import CSV, LIBSVM, encoded, example

NAME = "xgboost"
REAL = example(NAME).real()
ROUNDS = REAL.hyperparameters["num_round"]
ROW_A_LINE = {"INBUILT_CSV_ROWS": "1"}
FORMATS = ["csv", "csv to csv", "json", "libsvm"]
ASKED = 25


@pytest.fixture(scope="module")
def rows():
    """Features and labels of the channels `train` and `validation`."""
    return {"train": (REAL.train.features, REAL.train.labels), "validation": (REAL.test.features, REAL.test.labels)}


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
        return {
            "estimator": None,
            "instances": instances,
            "hyperparameters": REAL.hyperparameters,
            "channels": channels,
        }

    plan = {
        "image": image_of(NAME),
        "jobs": {"csv": job("csv", CSV), "two": job("csv", CSV, instances=2), "libsvm": job("libsvm", None)},
        "endpoints": {
            "one line": {"job": "csv", "environment": {}, "asked": "asked.npz", "formats": FORMATS},
            "a line each": {"job": "two", "environment": ROW_A_LINE, "asked": "asked.npz", "formats": FORMATS},
        },
        "transforms": {
            "transform": {
                "job": "csv",
                "source": "asked",
                "content_type": CSV,
                "split_type": "Line",
                "strategy": "MultiRecord",
                "accept": CSV,
                "assemble_with": "Line",
            },
        },
    }
    return local_mode(folder, plan)


@pytest.fixture(scope="module")
def library(rows):
    """The library's own booster, trained here."""
    features, labels = rows["train"]
    settings = {name: value for name, value in REAL.hyperparameters.items() if name != "num_round"}
    return xgboost.train(settings, xgboost.DMatrix(features, labels), ROUNDS)


def load(result, job):
    return xgboost.Booster(model_file=bytearray((result.folder / f"model-{job}/xgboost-model").read_bytes()))


def predictions(booster, rows):
    return booster.predict(xgboost.DMatrix(rows["validation"][0]))


def losses(result, job):
    """The validation metric of each round, in the job's log."""
    found = re.findall(r"\[(\d+)\]\ttrain-logloss:\S+\tvalidation-logloss:([0-9.]+)", result.log_of(job))
    assert [int(number) for number, _ in found] == list(range(ROUNDS))  # one host alone prints them
    return [float(value) for _, value in found]


@pytest.mark.parametrize("job", ["csv", "libsvm", "two"])
def test_the_artifact_is_one_model(result, job):
    files = sorted(path.name for path in (result.folder / f"model-{job}").rglob("*"))
    assert files == ["manifest.json", "xgboost-model"]


@pytest.mark.parametrize("job", ["csv", "libsvm"])
def test_the_model_is_what_the_library_trains(result, rows, library, job):
    np.testing.assert_array_equal(predictions(load(result, job), rows), predictions(library, rows))
    loss = log_loss(rows["validation"][1], predictions(library, rows).astype(float))
    assert losses(result, job)[-1] == pytest.approx(loss, rel=1e-4)


def test_two_instances_give_a_model_as_good(result, rows):
    """Not the same one: local mode gives both all rows, and each learns from half of them."""
    assert REAL.quality({"score": predictions(load(result, "two"), rows)}) >= REAL.good
    assert losses(result, "two")[-1] == pytest.approx(losses(result, "csv")[-1], rel=0.2)


def test_every_format_gives_what_the_library_predicts(result, rows, library):
    expected = predictions(library, rows)[:ASKED]
    answers = dict(result.answers["one line"])
    assert answers.pop("predictor") == "Predictor"
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
