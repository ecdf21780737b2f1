"""What training refuses, in one sentence that says what was found and what to do; all of it is exit code 2."""

from collections.abc import Callable

import numpy as np
import pytest

from algorithms.errors import UserError
from algorithms.knn.fit import fit
from algorithms.knn.tests.test_search import normal
from tests.examples import CSV, RECORDIO, encoded
from tests.job_folder import JobFolder

GIVEN = {"k": "3", "predictor_type": "classifier", "sample_size": "300"}
LABELS = (np.arange(400) % 3).astype(np.float32)


@pytest.fixture
def refused(make_job, configure) -> Callable[..., str]:
    """`refused((features, labels), ..., k=5)`: the sentence with which training on these files ends."""

    def sentence(*parts: tuple[np.ndarray, np.ndarray | None], **given: object) -> str:
        with pytest.raises(UserError) as error:
            fit(make_job(*parts), configure(**(GIVEN | given)))
        assert "\n" not in str(error.value)
        return str(error.value)

    return sentence


def test_records_without_labels(refused):
    sentence = refused((normal(400, 4), None))
    assert "'train'" in sentence
    assert "label" in sentence


def test_labels_that_end(refused):
    sentence = refused((normal(400, 4), LABELS), (normal(10, 4), None))
    assert "'train'" in sentence
    assert "label" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_not_finite(refused, value):
    labels = LABELS.copy()
    labels[5] = value
    assert refused((normal(400, 4), labels)) == (
        "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0', row 6: "
        "the label is missing (NaN) or infinite. Please give every row a finite label."
    )


def test_classes_that_float32_does_not_tell_apart(refused):
    labels = LABELS.copy()
    labels[7] = 20180601
    sentence = refused((normal(400, 4), labels))
    assert "row 8: a class must be between -16777215 and 16777215, got about 20180600" in sentence


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_rows_than_neighbours(refused, n):
    assert refused((normal(n, 4), LABELS[:n])).startswith(
        f"hyperparameter 'k' must be at most the number of rows in channel 'train', got 3 for {n} row"
    )


def test_no_rows(refused):
    assert refused((normal(0, 4), LABELS[:0])) == (
        "No data in channel 'train'. Please verify that it points to files with at least one record."
    )


@pytest.mark.parametrize(("kind", "target"), [("sign", 4), ("fjlt", 4), ("sign", 5)])
def test_a_target_that_reduces_nothing(refused, kind, target):
    """feature_dim is auto: that the target is too large is known with the first row."""
    given = {"dimension_reduction_type": kind, "dimension_reduction_target": target}
    sentence = refused((normal(400, 4), LABELS), **given)
    assert "'dimension_reduction_target'" in sentence
    assert "4" in sentence
    assert str(target) in sentence


def test_files_of_different_widths(refused):
    """feature_dim is auto: the first row of the first file says it for all."""
    sentence = refused((normal(400, 4), LABELS), (normal(10, 5), LABELS[:10]))
    assert "'train'" in sentence
    assert "'part-1'" in sentence
    assert "4" in sentence
    assert "5" in sentence


@pytest.mark.parametrize("width", [3, 5])
def test_another_width_than_feature_dim(refused, width):
    sentence = refused((normal(400, width), LABELS), feature_dim=4)
    assert sentence.startswith("Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0'")
    assert f"row 1: expected 4 features, found {width}" in sentence


def test_more_lists_than_rows(refused):
    given = {"index_type": "faiss.IVFFlat", "faiss_index_ivf_nlists": 301}
    assert "'faiss_index_ivf_nlists'" in refused((normal(400, 4), LABELS), **given)


@pytest.mark.parametrize("given", [{"sample_size": 255}, {}])
def test_too_few_rows_to_pack(refused, given):
    sentence = refused((normal(255, 4), LABELS[:255]), index_type="faiss.IVFPQ", **given)
    assert "256" in sentence
    assert "255" in sentence


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT", "COSINE"])
def test_rows_of_zeros_train(make_job, configure, metric):
    """They have no direction, and are not a mistake."""
    model = fit(make_job((np.zeros((50, 4), np.float32), LABELS[:50])), configure(**GIVEN, index_metric=metric))
    assert model.width == 4


def test_a_sample_that_memory_has_no_room_for(refused, monkeypatch):
    """Said before it is allocated, with the bytes and the remedies of the hosted service's log line."""
    monkeypatch.setattr("algorithms.knn.sample.free_memory", lambda: 3000.0)
    sentence = refused((normal(400, 4), LABELS))
    assert "memory" in sentence
    assert "3000 bytes" in sentence
    for remedy in ("larger instance type", "dimension reduction", "sample_size"):
        assert remedy in sentence


def failure(job: JobFolder, content: bytes, content_type: str, **given: object) -> str:
    """The failure file of the real program."""
    job.hyperparameters = GIVEN | {name: str(value) for name, value in given.items()}
    job.channel("train", {"data": content} if content else {}, content_type)
    ended = job.train()
    assert ended.exit_code == 2, ended.log
    assert "Traceback" not in ended.log
    assert ended.failure is not None
    return ended.failure


def test_csv_without_labels(job_folder):
    """`label_size=0` says that there are none; k-NN cannot learn without."""
    sentence = failure(job_folder("knn"), encoded(normal(400, 4), CSV), "text/csv;label_size=0")
    assert sentence.startswith("ClientError: ")
    assert "'train'" in sentence
    assert "label" in sentence


def test_an_empty_channel(job_folder):
    assert failure(job_folder("knn"), b"", RECORDIO) == (
        "ClientError: No data in channel 'train'. Please verify that it points to files with at least one record."
    )


def test_the_faults_of_hyperparameters(job_folder):
    given = {"k": 400, "faiss_index_pq_m": 5, "mini_batch_siz": 4}
    sentence = failure(job_folder("knn"), encoded(normal(400, 4), RECORDIO, LABELS), RECORDIO, **given)
    assert sentence.startswith("ClientError: unknown hyperparameter 'mini_batch_siz'; did you mean 'mini_batch_size'?")
    assert "hyperparameter 'faiss_index_pq_m' must be one of 1, 2, 3, 4, 8, 12, " in sentence


def test_a_test_channel_without_labels(job_folder):
    job = job_folder("knn")
    job.channel("test", {"data": encoded(normal(9, 4), CSV)}, "text/csv;label_size=0")
    sentence = failure(job, encoded(normal(400, 4), CSV, LABELS), CSV)
    assert "'test'" in sentence
    assert "label" in sentence


def test_a_test_channel_of_another_width(job_folder):
    job = job_folder("knn")
    job.channel("test", {"data": encoded(normal(9, 3), RECORDIO, LABELS[:9])}, RECORDIO)
    sentence = failure(job, encoded(normal(400, 4), RECORDIO, LABELS), RECORDIO)
    assert "channel 'test'" in sentence
    assert "expected 4 features, found 3" in sentence
