"""What training refuses, in one sentence that says what was found and what to do; never a model of NaN."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.factorization_machines.fit import evaluate, fit
from algorithms.factorization_machines.tests.test_fit import BINARY, FIT, REGRESSOR, WIDTH, planted
from formats import Batch
from tests.examples import CSV, LIBSVM
from tests.hosts import on_hosts

READING = "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-1', row 8: "
KINDS = pytest.mark.parametrize("given", [BINARY, REGRESSOR], ids=["binary", "regressor"])


@pytest.fixture
def refused(make_job, configure) -> Callable[..., str]:
    """`refused((features, labels), ..., epochs=5)`: the sentence with which training on these files ends."""

    def sentence(*parts: tuple[np.ndarray, np.ndarray | None], **given: object) -> str:
        with pytest.raises(UserError) as error:
            fit(make_job(*parts), configure(**(BINARY | given)))
        assert "\n" not in str(error.value)
        return str(error.value)

    return sentence


@pytest.fixture
def refused_text(job_of, configure) -> Callable[..., str]:
    """`refused_text(content_type, content)`: the same of a file of text."""

    def sentence(content_type: str, content: str, **given: object) -> str:
        with pytest.raises(UserError) as error:
            fit(job_of(content_type, content.encode()), configure(**(BINARY | given)))
        return str(error.value)

    return sentence


def binary(n, seed=0):
    return planted(n, "binary_classifier", seed)


# labels


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("value", [-1, 2, 0.5])
def test_labels_that_are_not_0_or_1(refused, dense, value):
    (X, y), (others, labels) = binary(30), binary(50, seed=1)
    labels[7] = value
    if dense:
        X, others = X.toarray(), others.toarray()
    assert refused((X, y), (others, labels)) == (
        f"{READING}the label must be 0 or 1 for predictor_type 'binary_classifier', got {value:g}"
    )


@KINDS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_labels_that_are_not_finite(refused, given, value):
    parts = binary(30), binary(50, seed=1)
    parts[1][1][7] = value
    assert refused(*parts, **given).startswith(f"{READING}the label is missing (NaN) or infinite")


@KINDS
def test_records_without_labels(refused, given):
    assert refused((binary(30)[0], None), **given) == (
        "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0', row 1: the rows have "
        "no labels; please give every row one, in CSV as its first column."
    )


@pytest.mark.parametrize("value", [-7.5, 0, 1e9])
def test_a_regressor_takes_any_number(make_job, configure, value):
    X, y = planted(100)
    y[5] = value
    assert np.isfinite(fit(make_job((X, y)), configure(**REGRESSOR)).margins(X)).all()


@pytest.mark.parametrize("channel", ["test"])
def test_labels_of_the_test_channel(make_job, configure, channel):
    X, y = binary(100)
    job, given = make_job((X, y)), configure(**BINARY)
    model = fit(job, given)
    wrong = y.copy()
    wrong[20] = 3
    with pytest.raises(UserError) as error:
        evaluate(job, given, model, iter([Batch(X[:15], y[:15]), Batch(X[15:], wrong[15:])]))
    assert str(error.value) == (
        "channel 'test': row 21: the label must be 0 or 1 for predictor_type 'binary_classifier', got 3"
    )
    with pytest.raises(UserError, match=r"^channel 'test': row 1: the rows have no labels"):
        evaluate(job, given, model, iter([Batch(X)]))


# features


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dense", [True, False])
def test_features_that_are_not_finite(refused, dense, value):
    (X, y), (others, labels) = binary(30), binary(50, seed=1)
    others.data[2 * 7] = value
    if dense:
        X, others = X.toarray(), others.toarray()
    sentence = refused((X, y), (others, labels))
    assert sentence.startswith(f"{READING}feature ")
    assert "missing (NaN) or infinite" in sentence


@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1])
@pytest.mark.parametrize("dense", [True, False])
def test_rows_of_another_width_than_feature_dim(refused, dense, width):
    X, y = binary(30)
    sentence = refused((X.toarray() if dense else X, y), feature_dim=width)
    assert sentence.endswith(
        f"file 'part-0', row 1: expected {width} features, found {WIDTH}; give all records the same number"
    )


def test_a_key_beyond_feature_dim(refused):
    """A record whose shape is right and one of whose keys is not."""
    (X, y), (others, labels) = binary(30), binary(50, seed=1)
    others.indices[2 * 7 + 1] = WIDTH + 9
    sentence = refused((X, y), (others, labels))
    assert sentence == (
        f"{READING}expected keys below the number of features, {WIDTH}, found key {WIDTH + 9}; keys count from 0"
    )


def test_an_index_of_libsvm_beyond_feature_dim(refused_text):
    sentence = refused_text(LIBSVM, f"1 0:1 3:1\n0 2:1 {WIDTH}:1\n")
    assert "line 2" in sentence or "row 2" in sentence
    assert str(WIDTH) in sentence


@pytest.mark.parametrize("cells", [WIDTH, WIDTH + 2])
def test_lines_of_csv_of_another_width(refused_text, cells):
    sentence = refused_text(CSV, ",".join(["1"] * cells) + "\n")
    assert "file 'part-0', row 1" in sentence
    assert str(WIDTH) in sentence


def test_a_missing_value_of_csv(refused_text):
    line = ["1"] * (WIDTH + 1)
    line[4] = ""
    sentence = refused_text(CSV, ",".join(["0"] * (WIDTH + 1)) + "\n" + ",".join(line) + "\n")
    assert "row 2, column 5: feature 4 of 50 is a missing (NaN) value" in sentence


def test_no_rows(refused):
    X, y = binary(30)
    sentence = "No data in channel 'train'. Please verify that it points to files with at least one record."
    assert refused((X[:0], y[:0])) == sentence


def test_no_rows_on_any_host(make_job, configure):
    X, y = binary(30)
    with pytest.raises(UserError, match=r"^No data in channel 'train'"):
        on_hosts(2, lambda cluster: fit(make_job((X[:0], y[:0]), cluster=cluster), configure(**BINARY)))


# memory


def test_a_model_that_does_not_fit(refused, monkeypatch):
    monkeypatch.setattr(FIT, "free_memory", lambda: 3.0 * 2**30)
    assert refused(binary(30), feature_dim=10_000_000, num_factors=1000) == (
        "the model of 10000000 features with 1000 factors each and its optimizer take 111.9 GiB of memory, there are "
        "3.0 GiB. Please set num_factors or feature_dim lower, or use a larger instance."
    )


def test_a_model_that_no_file_can_hold(refused, monkeypatch):
    """MXNet's arrays have fewer than 2**31 numbers: what was trained could not be served."""
    monkeypatch.setattr(FIT, "free_memory", lambda: float("inf"))
    assert refused(binary(30), feature_dim=2**25, num_factors=64) == (
        "feature_dim times num_factors must be at most 2147483647, the most numbers that an array of a model file can "
        "have, got 2147483648. Please set num_factors or feature_dim lower."
    )


# what does not converge


def test_training_that_diverges(refused):
    """Of the rates those beyond their defaults are named."""
    sentence = refused(planted(300), **REGRESSOR | {"bias_lr": 3e38, "linear_lr": 0.001, "factors_lr": 0})
    assert sentence.startswith("training diverged: the loss of mini-batch ")
    assert " of epoch 0 was infinite or NaN. Please lower bias_lr (3e+38 now), or look for extreme values" in sentence


@KINDS
def test_features_beyond_what_products_hold(refused, given):
    """1e30 fits float32, and its square does not; with rates that are no higher than their defaults all are named."""
    X, y = planted(300, given["predictor_type"])
    X.data[200:] = 1e30
    rates = {"linear_lr": 0.001, "factors_lr": 0.0001}
    sentence = refused((X, y), **given | rates)
    assert sentence == (
        "training diverged: the loss of mini-batch 2 of epoch 0 was infinite or NaN. Please lower factors_lr (0.0001 "
        "now), linear_lr (0.001 now), bias_lr (0.1 now), or look for extreme values among features and labels."
    )


def test_divergence_on_one_host_is_told_by_all(make_job, configure):
    X, y = planted(300)
    X.data[400:] = 1e30

    def train(cluster):
        part = slice(0, 150) if cluster.rank == 0 else slice(150, 300)
        job = make_job((X[part], y[part]), cluster=cluster, replicated=False)
        with pytest.raises(UserError) as error:
            fit(job, configure(**REGRESSOR))
        return str(error.value)

    sentences = on_hosts(2, train)
    assert len(set(sentences)) == 1
    assert "mini-batch 1 of epoch 0" in sentences[0]


def test_a_last_step_that_overflows(refused):
    """No mini-batch shows it, but the model is not finite."""
    X, y = planted(50)
    sentence = refused((X, y), **REGRESSOR | {"epochs": 1, "linear_lr": 3e38, "linear_init_sigma": 1e38})
    assert sentence.startswith("training diverged: ")


@pytest.mark.parametrize("outlier", ["feature", "label"])
def test_gradients_whose_squares_overflow(refused, outlier):
    """Loss and weights are finite, but Adam divides by the root of infinity: some weights would silently stay."""
    X, y = planted(300)
    if outlier == "feature":
        X.data[::2] = 1.5e12  # a time in milliseconds
    else:
        y[3] = 3e30
    sentence = refused((X, y), **REGRESSOR | {"epochs": 1, "linear_lr": 0.001, "factors_lr": 0.0001})
    assert sentence == (
        "training diverged: the square of a gradient was beyond float32, so that its weight learned no more. Please "
        "lower factors_lr (0.0001 now), linear_lr (0.001 now), bias_lr (0.1 now), or look for extreme values among "
        "features and labels."
    )


def test_gradients_of_a_term_that_does_not_learn_may_overflow(make_job, configure):
    X, y = planted(300)
    y[3] = 3e30
    rates = {"bias_lr": 0, "factors_lr": 0, "use_linear": False, "epochs": 1}
    assert np.isfinite(fit(make_job((X, y)), configure(**REGRESSOR | rates)).margins(X)).all()


def test_a_test_channel_beyond_what_products_hold(make_job, configure):
    X, y = planted(100)
    job, given = make_job((X, y)), configure(**REGRESSOR | {"epochs": 1})
    model = fit(job, given)
    large = X.copy()
    large.data[40] = large.data[41] = 1e30
    with pytest.raises(UserError) as error:
        evaluate(job, given, model, iter([Batch(X[:15], y[:15]), Batch(large[15:], y[15:])]))
    assert str(error.value).startswith("channel 'test': rows 16 to 100: the values are too large")


def test_sparse_rows_are_made_of_one_array(make_job, configure):
    """Keys of a record in any order, as clients write them."""
    X, y = planted(60)
    backwards = sparse.csr_array((X.data, X.indices.reshape(-1, 2)[:, ::-1].ravel(), X.indptr), shape=X.shape)
    given = configure(**REGRESSOR | {"epochs": 1})
    assert np.array_equal(fit(make_job((X, y)), given).factors, fit(make_job((backwards, y)), given).factors)
