"""Training, whole: several hosts, sparse rows, units, weights of classes, L1, and what regressors say."""

import re

import numpy as np
import pytest
from scipy import sparse

from algorithms.cluster import Cluster
from algorithms.linear_learner.fit import fit
from formats import Batch
from tests.hosts import on_hosts

BINARY = {"predictor_type": "binary_classifier", "mini_batch_size": 20, "num_models": 4, "epochs": 2}
REGRESSOR = BINARY | {"predictor_type": "regressor"}
MULTICLASS = BINARY | {"predictor_type": "multiclass_classifier", "num_classes": 3}


def rows(n: int, d: int = 5, seed: int = 0, zeros: float = 0.4) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(3, 2, size=(n, d)) * (random.random((n, d)) >= zeros)).astype(np.float32)


def labelled(n: int, kind: str = "binary_classifier", seed: int = 0, zeros: float = 0.4) -> tuple[np.ndarray, ...]:
    """Features and labels that depend on them, with some noise."""
    X, random = rows(n, seed=seed, zeros=zeros), np.random.default_rng(seed + 1)
    target = X @ [1, -1, 0.5, 0, 0.25] - 1 + random.normal(scale=0.5, size=n)
    if kind == "binary_classifier":
        target = target > 0
    elif kind == "multiclass_classifier":
        target = np.digitize(target, [-1, 1])
    return X, target.astype(np.float32)


# hosts


@pytest.mark.parametrize("given", [BINARY, REGRESSOR, MULTICLASS], ids=["binary", "regressor", "multiclass"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("replicated", [True, False])
def test_two_hosts_are_one_with_the_doubled_batch(make_job, configure, given, kind, replicated):
    X, y = labelled(390, given["predictor_type"])
    alone = fit(make_job((kind(X), y)), configure(**given | {"mini_batch_size": 40}))

    def part(cluster: Cluster) -> tuple[np.ndarray, np.ndarray]:
        mine = slice(None) if replicated else slice(cluster.rank, None, 2)
        return kind(X[mine]), y[mine]

    first, second = on_hosts(
        2, lambda cluster: fit(make_job(part(cluster), cluster=cluster, replicated=replicated), configure(**given))
    )
    assert first.weights.tobytes() == second.weights.tobytes()
    assert (first.bias.tobytes(), first.threshold) == (second.bias.tobytes(), second.threshold)
    np.testing.assert_allclose(first.weights, alone.weights, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(first.bias, alone.bias, rtol=1e-5, atol=1e-5)
    assert first.threshold == pytest.approx(alone.threshold, abs=1e-5)


def test_hosts_with_shares_of_different_size(make_job, configure):
    """One of them has nothing at all, another half a batch in the last step: all get the same model."""
    X, y = labelled(130)
    parts = [(X[:100], y[:100]), (X[100:], y[100:]), (X[:0], y[:0])]
    models = on_hosts(
        3,
        lambda cluster: fit(
            make_job(parts[cluster.rank], cluster=cluster, replicated=False), configure(**BINARY | {"epochs": 4})
        ),
    )
    assert len({model.weights.tobytes() for model in models}) == 1
    assert np.mean(models[0].predict(Batch(X))["predicted_label"] == y) > 0.85


# properties


def test_same_seed_same_weights(make_job, configure):
    job = [make_job(labelled(200)) for _ in range(3)]
    models = [fit(each, configure(**BINARY, seed=seed)) for each, seed in zip(job, (7, 7, 8), strict=True)]
    assert models[0].weights.tobytes() == models[1].weights.tobytes()
    assert models[0].weights.tobytes() != models[2].weights.tobytes()


@pytest.mark.parametrize("given", [BINARY, REGRESSOR, MULTICLASS], ids=["binary", "regressor", "multiclass"])
def test_sparse_rows_are_dense_ones_without_shift(make_job, configure, given):
    X, y = labelled(300, given["predictor_type"])
    dense = fit(make_job((X, y)), configure(**given, unbias_data=False))
    for unbias in ("auto", True, False):
        thin = fit(make_job((sparse.csr_array(X), y)), configure(**given, unbias_data=unbias))
        np.testing.assert_allclose(thin.weights, dense.weights, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(thin.bias, dense.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", ["dense first", "sparse first"])
def test_files_sparse_and_dense(make_job, configure, order):
    """What is known of the first rows decides whether features are shifted; later rows of the other kind follow."""
    X, y = labelled(300)
    halves = [(X[:150], y[:150]), (X[150:], y[150:])]
    turned = 1 if order == "dense first" else 0
    mixed = [
        (sparse.csr_array(part), labels) if i == turned else (part, labels) for i, (part, labels) in enumerate(halves)
    ]
    for points, shifted in ((60, order == "dense first"), (300, False)):
        given = BINARY | {"num_point_for_scaler": points}
        found = fit(make_job(*mixed), configure(**given))
        dense = fit(make_job(*halves), configure(**given, unbias_data=shifted))
        np.testing.assert_allclose(found.weights, dense.weights, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.bias, dense.bias, rtol=1e-4, atol=1e-5)


def test_the_unit_of_features_does_not_matter(make_job, configure):
    """Normalised: a feature in millimetres, far from 0, gives the model of metres."""
    X, y = labelled(300, zeros=0.0)
    units, origin = np.array([1, 1024, 1 / 1024, 1, 8], np.float32), np.array([0, 64, 0, 0, -8], np.float32)
    metres = fit(make_job((X, y)), configure(**BINARY))
    others = fit(make_job((X * units + origin, y)), configure(**BINARY))
    np.testing.assert_allclose(others.weights * units, metres.weights, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(others.margins(X * units + origin), metres.margins(X), rtol=1e-3, atol=1e-3)


def test_balanced_is_the_number_that_it_stands_for(make_job, configure):
    X, y = labelled(400)
    y[np.flatnonzero(y)[25:]] = 0
    many = (400 - 25) / 25
    given = BINARY | {"binary_classifier_model_selection_criteria": "loss_function"}
    balanced = fit(make_job((X, y)), configure(**given, positive_example_weight_mult="balanced"))
    number = fit(make_job((X, y)), configure(**given, positive_example_weight_mult=many))
    plain = fit(make_job((X, y)), configure(**given))
    assert balanced.weights.tobytes() == number.weights.tobytes()
    assert balanced.margins(X).mean() > plain.margins(X).mean() + 0.5


def test_classes_weigh_the_same(make_job, configure, lines):
    """Of 240, 50 and 10 rows: the rarest class is called more often than by a model that counts every row alike."""
    X, _ = labelled(300, zeros=0.0)
    y = np.repeat([0, 1, 2], [240, 50, 10]).astype(np.float32)
    X[:, 0] += y * 0.7
    order = np.random.default_rng(0).permutation(300)
    X, y = X[order], y[order]
    given = MULTICLASS | {"epochs": 8}
    plain = fit(make_job((X, y)), configure(**given))
    balanced = fit(make_job((X, y)), configure(**given, balance_multiclass_weights=True))
    assert any("Weights of the classes: [0.41666" in line and ", 2.0, 10.0]" in line for line in lines)
    assert any("train multiclass_weighted_cross_entropy_objective <loss>=" in line for line in lines)
    called = [(model.predict(Batch(X))["predicted_label"] == 2).sum() for model in (plain, balanced)]
    assert called[1] > called[0]


def test_weights_auto_are_of_each_model(make_job, configure, lines):
    """The loss stays unweighted, or models of different weights could not be compared."""
    X, y = labelled(300)
    y[np.flatnonzero(y)[20:]] = 0
    fit(make_job((X, y)), configure(**BINARY, positive_example_weight_mult="auto"))
    assert not any("weighted_cross_entropy" in line for line in lines)
    assert any("train binary_classification_cross_entropy_objective <loss>=" in line for line in lines)


def test_l1_gives_exact_zeros(make_job, configure):
    X, y = labelled(1000, "regressor", zeros=0.0)
    given = REGRESSOR | {"num_models": 1, "l1": 0.2, "wd": 0, "learning_rate": 0.05, "epochs": 20}
    model = fit(make_job((X, y)), configure(**given))
    assert (model.weights[0] == 0).tolist() == [False, False, False, True, False]
    assert np.all(fit(make_job((X, y)), configure(**given | {"l1": 0})).weights != 0)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_quantile_is_of_labels_below_the_prediction(make_job, configure, quantile):
    """P(label < prediction) = quantile, as in the guide of 2018."""
    X, _ = labelled(2000, "regressor", zeros=0.0)
    y = (X @ [1, -1, 0.5, 0, 0.25] + np.random.default_rng(1).exponential(4, 2000)).astype(np.float32)
    given = REGRESSOR | {"loss": "quantile_loss", "quantile": quantile, "wd": 0, "num_models": 2, "epochs": 12}
    model = fit(make_job((X, y)), configure(**given | {"mini_batch_size": 100}))
    assert np.mean(y < model.margins(X)[:, 0]) == pytest.approx(quantile, abs=0.03)


def test_a_regressor_speaks_the_unit_of_its_labels(make_job, configure, lines):
    """Labels around 5,000: scores are raw, the objective while training is of scaled labels."""
    X, y = labelled(1000, "regressor", zeros=0.0)
    y = 5000 + 300 * y
    model = fit(make_job((X, y)), configure(**REGRESSOR | {"num_models": 8, "epochs": 10}))
    error = model.predict(Batch(X))["score"].astype(float) - y
    assert np.sqrt(np.mean(error**2)) < 0.56 * 300
    scores = dict(re.findall(r"#train_score \(algo-1\) : \('(\w+)', ([\d.e+-]+)\)", "\n".join(lines)))
    for name in ("mse", "mse_objective"):
        assert float(scores[name]) == pytest.approx(np.mean(error**2), rel=1e-4)
    assert float(scores["rmse"]) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    assert float(scores["absolute_loss"]) == pytest.approx(np.mean(np.abs(error)), rel=1e-3)
    learned = re.findall(r"epoch=\d+, train mse_objective <loss>=([\d.e+-]+)", "\n".join(lines))
    assert len(learned) == 10
    assert max(map(float, learned)) < 3
