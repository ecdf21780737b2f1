"""What the real program refuses of files, with exit code 2 and a sentence in the failure file."""

import numpy as np
import pytest

from algorithms.linear_learner.tests.test_fit import BINARY, labelled
from tests.examples import CSV, RECORDIO, encoded
from tests.job_folder import JobFolder


def failure(job: JobFolder, content: bytes, content_type: str, **given: object) -> str:
    """The failure file of the real program."""
    job.hyperparameters = {name: str(value) for name, value in (BINARY | given).items()}
    job.channel("train", {"data": content} if content else {}, content_type)
    ended = job.train()
    assert ended.exit_code == 2, ended.log
    assert "Traceback" not in ended.log
    assert ended.failure is not None
    return ended.failure


def test_a_feature_of_csv_that_is_missing(job_folder):
    X, y = labelled(60)
    X[8, 3] = np.nan
    sentence = failure(job_folder("linear_learner"), encoded(X, CSV, y), CSV)
    assert sentence.startswith("ClientError: Unable to read data channel 'train' as text/csv: file 'data', row 9")
    assert "column 5" in sentence


def test_csv_without_labels(job_folder):
    sentence = failure(job_folder("linear_learner"), encoded(labelled(60)[0], CSV), "text/csv;label_size=0")
    assert sentence.startswith("ClientError: ")
    assert "'train'" in sentence
    assert "label" in sentence


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_label_of_another_channel(job_folder, channel):
    """Named with its channel and row; nothing is saved of a job that failed."""
    X, y = labelled(60)
    wrong = y.copy()
    wrong[10] = 4
    job = job_folder("linear_learner")
    job.channel(channel, {"rows": encoded(X, RECORDIO, wrong)}, RECORDIO)
    sentence = failure(job, encoded(X, RECORDIO, y), RECORDIO)
    assert sentence.startswith("ClientError: ")
    assert f"channel '{channel}'" in sentence
    assert "row 11" in sentence.replace(": row", " row")
    assert "0 or 1" in sentence


def test_a_validation_channel_of_another_width(job_folder):
    X, y = labelled(60)
    job = job_folder("linear_learner")
    job.channel("validation", {"rows": encoded(X[:, :4].copy(), RECORDIO, y)}, RECORDIO)
    sentence = failure(job, encoded(X, RECORDIO, y), RECORDIO)
    assert "channel 'validation'" in sentence
    assert "expected 5 features, found 4" in sentence


def test_a_validation_channel_without_rows(job_folder):
    X, y = labelled(60)
    job = job_folder("linear_learner")
    job.channel("validation", {"rows": b""}, RECORDIO)
    assert failure(job, encoded(X, RECORDIO, y), RECORDIO) == (
        "ClientError: No data in channel 'validation'. Please verify that it points to files with at least one record."
    )
