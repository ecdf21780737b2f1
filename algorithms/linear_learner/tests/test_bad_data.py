"""What training refuses, in one sentence that says what was found and what to do; never a model of NaN."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.linear_learner.fit import fit
from algorithms.linear_learner.tests.test_fit import BINARY, MULTICLASS, REGRESSOR, labelled
from tests.hosts import on_hosts

READING = "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-1', row 8: "


@pytest.fixture
def refused(make_job, configure) -> Callable[..., str]:
    """`refused((features, labels), ..., epochs=5)`: the sentence with which training on these files ends."""

    def sentence(*parts: tuple[np.ndarray, np.ndarray | None], **given: object) -> str:
        with pytest.raises(UserError) as error:
            fit(make_job(*parts), configure(**(BINARY | given)))
        assert "\n" not in str(error.value)
        return str(error.value)

    return sentence


# labels


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [-1, 2, 0.5])
def test_labels_that_are_not_0_or_1(refused, kind, value):
    """The row is counted in its file, and may come in a later batch than the first."""
    (X, y), (others, labels) = labelled(30), labelled(50, seed=1)
    labels[7] = value
    assert refused((kind(X), y), (kind(others), labels)) == (
        f"{READING}the label must be 0 or 1 for predictor_type 'binary_classifier', got {value:g}"
    )


@pytest.mark.parametrize("value", [-1, 3, 1.5, 1e9])
def test_labels_that_are_no_class(refused, value):
    parts = labelled(30, "multiclass_classifier"), labelled(50, "multiclass_classifier", seed=1)
    parts[1][1][7] = value
    assert refused(*parts, **MULTICLASS) == (
        f"{READING}the label must be an integer in [0, 2], as num_classes is 3, got {value:g}"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("given", [BINARY, MULTICLASS, REGRESSOR], ids=["binary", "multiclass", "regressor"])
def test_labels_that_are_not_finite(refused, given, value):
    parts = labelled(30, given["predictor_type"]), labelled(50, given["predictor_type"], seed=1)
    parts[1][1][7] = value
    sentence = refused(*parts, **given)
    assert sentence.startswith(f"{READING}the label is missing (NaN) or infinite")


@pytest.mark.parametrize("given", [BINARY, MULTICLASS, REGRESSOR], ids=["binary", "multiclass", "regressor"])
def test_records_without_labels(refused, given):
    assert refused((labelled(30)[0], None), **given) == (
        "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0', row 1: the rows have "
        "no labels; please give every row one, in CSV as its first column."
    )


def test_labels_that_end(refused):
    sentence = refused(labelled(300), (labelled(30)[0], None))
    assert "file 'part-1', row 1: the rows have no labels" in sentence


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_only(refused, value):
    assert refused((labelled(100)[0], np.full(100, value, np.float32))) == (
        f"all labels of channel 'train' are {value}: a classifier needs rows of two classes at least. "
        "Please provide rows of the others, too."
    )


@pytest.mark.parametrize("mult", ["balanced", "auto"])
def test_one_class_only_that_is_to_be_balanced(refused, mult):
    """The weight of a class that is not there is finite, and the sentence the same."""
    labels = np.zeros(100, np.float32)
    assert "all labels of channel 'train' are 0:" in refused(
        (labelled(100)[0], labels), positive_example_weight_mult=mult
    )


def test_one_class_of_many(refused):
    labels = np.full(100, 2, np.float32)
    assert "'train' are 2:" in refused((labelled(100)[0], labels), **MULTICLASS, balance_multiclass_weights=True)


def test_two_classes_of_three_will_do(make_job, configure):
    """A class without rows: its weight is finite, and the model too."""
    X, y = labelled(200)
    model = fit(make_job((X, y)), configure(**MULTICLASS, balance_multiclass_weights=True))
    assert np.isfinite(model.weights).all()
    assert model.weights.shape == (3, 5)


def test_each_host_has_another_class(make_job, configure):
    """All rows together count, not those of one host."""
    X, _ = labelled(200)
    for values, fails in (((0, 1), False), ((1, 1), True)):

        def train(cluster, values=values):
            job = make_job((X, np.full(200, values[cluster.rank], np.float32)), cluster=cluster, replicated=False)
            return fit(job, configure(**BINARY))

        if fails:
            with pytest.raises(UserError, match="all labels of channel 'train' are 1"):
                on_hosts(2, train)
        else:
            assert np.isfinite(on_hosts(2, train)[0].weights).all()


def test_regression_of_one_value(make_job, configure):
    """No mistake: the model says this value."""
    X, _ = labelled(200)
    given = REGRESSOR | {"epochs": 30}
    model = fit(make_job((X, np.full(200, 7, np.float32))), configure(**given))
    np.testing.assert_allclose(model.margins(X), 7, atol=0.05)


# features


@pytest.mark.parametrize("value", [0, 0.1, -3e20])
def test_a_constant_feature(make_job, configure, lines, value):
    """Nothing is learned of it: a weight of exactly 0, so that another value in a request changes no answer."""
    X, y = labelled(200)
    X[:, 2] = value
    model = fit(make_job((X, y)), configure(**BINARY))
    assert model.weights[0, 2] == 0
    assert np.all(model.weights[0, [0, 1, 3, 4]] != 0)
    assert np.isfinite(model.bias).all()
    assert "1 of 5 features are constant in the first 200 rows: 3" in lines


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_constant_feature_of_sparse_rows(make_job, configure, lines, optimizer):
    X, y = labelled(200)
    X[:, 2] = 0
    model = fit(make_job((sparse.csr_array(X), y)), configure(**BINARY, optimizer=optimizer))
    assert model.weights[0, 2] == 0
    assert any(line.endswith(": 3") and "are constant" in line for line in lines)


def test_many_constant_features(make_job, configure, lines):
    """The log names the first ten of them."""
    X, y = labelled(200)
    wide = np.hstack([X, np.ones((200, 20), np.float32)])
    model = fit(make_job((wide, y)), configure(**BINARY))
    assert np.all(model.weights[0, 5:] == 0)
    (line,) = [line for line in lines if "are constant" in line]
    assert line.startswith("20 of 25 features")
    assert line.endswith(": 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, ...")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_features_that_are_not_finite(refused, kind, value):
    (X, y), (others, labels) = labelled(30), labelled(50, seed=1)
    others[7, 3] = value
    sentence = refused((kind(X), y), (kind(others), labels))
    assert sentence.startswith(READING)
    assert "missing (NaN) or infinite" in sentence
    assert "4" in sentence.partition("row 8:")[2]


def test_files_of_different_widths(refused):
    X, y = labelled(30)
    sentence = refused((X, y), (X[:, :4].copy(), y))
    assert "file 'part-1', row 1: expected 5 features, found 4" in sentence


@pytest.mark.parametrize("width", [4, 6])
def test_another_width_than_feature_dim(refused, width):
    assert f"file 'part-0', row 1: expected {width} features, found 5" in refused(labelled(30), feature_dim=width)


def test_hosts_of_different_widths(make_job, configure):
    X, y = labelled(100)

    def train(cluster):
        mine = X[:, : 5 - cluster.rank].copy()
        return fit(make_job((mine, y), cluster=cluster, replicated=False), configure(**BINARY))

    with pytest.raises(UserError) as error:
        on_hosts(2, train)
    assert str(error.value) == (
        "the hosts must read rows of the same number of features in channel 'train', got [4, 5]"
    )


def test_no_rows(refused):
    X, y = labelled(30)
    sentence = "No data in channel 'train'. Please verify that it points to files with at least one record."
    assert refused((X[:0], y[:0])) == sentence
    assert refused((X[:0], y[:0]), feature_dim=5) == sentence


def test_no_rows_on_any_host(make_job, configure):
    X, y = labelled(30)
    with pytest.raises(UserError, match=r"^No data in channel 'train'"):
        on_hosts(2, lambda cluster: fit(make_job((X[:0], y[:0]), cluster=cluster), configure(**BINARY)))


# what does not converge


@pytest.mark.parametrize("given", [BINARY, MULTICLASS, REGRESSOR], ids=["binary", "multiclass", "regressor"])
@pytest.mark.parametrize("models", [1, 4])
def test_training_that_diverges(refused, given, models):
    parts = [labelled(400, given["predictor_type"])]
    wild = {"optimizer": "sgd", "learning_rate": 1e30, "normalize_data": False, "num_models": models}
    sentence = refused(*parts, **given | wild)
    assert sentence.startswith("training diverged: the loss of every model was infinite or NaN in epoch ")
    assert "lower learning_rate (1e+30 now)" in sentence


def test_features_beyond_what_squares_hold(refused):
    """1e30 fits float32, and its square does not."""
    X, y = labelled(400, "regressor")
    X[::7] *= 1e30
    sentence = refused((X, y), **REGRESSOR, normalize_data=False)
    assert sentence.startswith("training diverged")
    assert "extreme values" in sentence


def test_features_that_are_far_apart_are_scaled(make_job, configure):
    """No fault where they are normalised."""
    X, y = labelled(400, zeros=0.0)
    model = fit(make_job((X * np.float32(1e30), y)), configure(**BINARY))
    assert np.isfinite(model.weights).all()
    assert np.any(model.weights != 0)


def test_some_models_that_diverge_are_left_out(make_job, configure, lines):
    """A decay of 100 times a rate of .1 multiplies weights by -9 a step, which 40 steps do not survive."""
    X, y = labelled(2000, zeros=0.0)
    given = BINARY | {"optimizer": "sgd", "learning_rate": 0.1, "num_models": "auto", "epochs": 3}
    model = fit(make_job((X, y)), configure(**given))
    assert any("4 of 16 models diverged and are left out." in line for line in lines)
    assert np.isfinite(model.weights).all()
    assert np.mean((model.margins(X)[:, 0] > 0) == y) > 0.9
    (best,) = [line for line in lines if line.startswith("Best model found")]
    assert '"wd": 100' not in best


# channels


@pytest.mark.parametrize("channel", ["validation", "test"])
def test_a_tuning_job_s_channel_that_is_missing(refused, channel):
    objective = f"{channel}:objective_loss"
    assert refused(labelled(100), _tuning_objective_metric=objective) == (
        f"channel '{channel}' is missing: hyperparameter '_tuning_objective_metric' is '{objective}'. "
        "Please provide the channel, or tune for a metric of channel 'train'."
    )
