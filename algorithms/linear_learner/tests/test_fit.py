"""Training, whole: real jobs against a slow twin in float64, hosts, sparse rows, and what the log says."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, softmax

from algorithms.channel import Channel
from algorithms.cluster import Cluster
from algorithms.job import ChannelConfig, Job, NothingLearned
from algorithms.linear_learner.fit import fit, raw_loss
from algorithms.linear_learner.grid import Setting, settings
from algorithms.linear_learner.scaler import Scaler
from algorithms.linear_learner.trainer import Trainer
from formats import Batch
from formats.recordio import encode_features
from tests.hosts import on_hosts

BINARY = {"predictor_type": "binary_classifier", "mini_batch_size": 20, "num_models": 4, "epochs": 2}
REGRESSOR = BINARY | {"predictor_type": "regressor"}
MULTICLASS = BINARY | {"predictor_type": "multiclass_classifier", "num_classes": 3}
# settings that take no decision: one model, no schedule, no decay, and weights that begin as good as 0
PLAIN = {"num_models": 1, "epochs": 1, "wd": 0, "use_lr_scheduler": False, "init_scale": 1e-30}


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


# a slow twin of training


def slopes(name: str, scores: np.ndarray, y: np.ndarray) -> np.ndarray:
    """d loss / d score in float64, (n, m) or (n, m, C)."""
    if name == "softmax_loss":
        return softmax(scores, axis=2) - np.eye(scores.shape[2])[y.astype(int)][:, None, :]
    y = y[:, None]
    return {
        "logistic": lambda: expit(scores) - y,
        "hinge_loss": lambda: np.where((2 * y - 1) * scores < 1, 1 - 2 * y, 0.0),
        "squared_loss": lambda: 2 * (scores - y),
        "absolute_loss": lambda: np.sign(scores - y),
    }[name]()


class Twin:
    """Weights of all columns (d + 1, c), the last row the bias, and the optimisers' papers in plain NumPy."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray, chosen: list[Setting], outputs: int, **decay: float):
        self.w = np.vstack([weights, bias]).astype(float)
        self.m, self.v, self.t, self.most = np.zeros_like(self.w), np.zeros_like(self.w), 0, 0
        self.chosen, self.outputs, self.decay = chosen, outputs, decay

    def columns(self, value: Callable[[Setting], float], bias: float) -> np.ndarray:
        """(d + 1, c): a number of each model, and for the bias that many times it."""
        row = np.repeat([value(each) for each in self.chosen], self.outputs)
        return np.vstack([np.tile(row, (len(self.w) - 1, 1)), row * bias])

    def step(self, loss: str, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> None:
        ones = np.column_stack([X.astype(float), np.ones(len(X))])
        scores = ones @ self.w
        if loss == "softmax_loss":
            slope = slopes(loss, scores.reshape(len(X), -1, self.outputs), y)
        else:
            slope = slopes(loss, scores, y)[:, :, None]
        if weights is not None:
            slope = slope * weights[y.astype(int)][:, :, None]
        self.most = max(self.most, len(X))
        self.descend(ones.T @ slope.reshape(len(X), -1) / self.most)

    def descend(self, g: np.ndarray) -> None:
        g = g + self.columns(lambda s: s.wd, 0) * self.w
        rate = self.columns(lambda s: self.rate(s), 10)
        self.t += 1
        name = self.chosen[0].optimizer
        if name == "adam":
            b1, b2 = 0.9, 0.999
            self.m, self.v = b1 * self.m + (1 - b1) * g, b2 * self.v + (1 - b2) * g * g
            length = rate * np.sqrt(1 - b2**self.t) / (1 - b1**self.t) / (np.sqrt(self.v) + 1e-8)
            self.w -= length * self.m
        elif name == "rmsprop":
            self.v = 0.9 * self.v + 0.1 * g * g
            length = rate / np.sqrt(self.v + 1e-8)
            self.w -= length * g
        else:
            length = rate
            self.m = self.decay.get("momentum", 0) * self.m - rate * g
            self.w += self.m
        least = length * self.columns(lambda s: s.l1, 0)
        taken = np.clip(self.w, -least, least)
        self.w -= taken
        if name == "sgd":  # the velocity is the step that was made, the threshold's part too
            self.m -= taken

    def rate(self, s: Setting) -> float:
        fallen = s.learning_rate * s.lr_scheduler_factor ** (self.t // max(s.lr_scheduler_step, 1))
        return max(fallen, min(s.lr_scheduler_minimum_lr, s.learning_rate))


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("loss", ["logistic", "hinge_loss", "squared_loss", "absolute_loss", "softmax_loss"])
def test_steps_of_all_models(configure, optimizer, loss):
    """Schedule, decay, L1, the bias's own rate, class weights, a short last batch: 25 steps of eight models."""
    kind = {"softmax_loss": "multiclass_classifier", "logistic": "binary_classifier"}.get(loss, "regressor")
    kind = "binary_classifier" if loss == "hinge_loss" else kind
    given = {"predictor_type": kind, "loss": loss, "optimizer": optimizer, "num_models": 8, "l1": 0.01, "wd": 0.1}
    given |= {"momentum": 0.5} if optimizer == "sgd" else {}
    given |= {"num_classes": 3} if kind == "multiclass_classifier" else {}
    h, random = configure(**given | {"learning_rate": 0.02}), np.random.default_rng(1)
    chosen = settings(h, random)
    weights = None if kind == "regressor" else np.array([[1.0], [3.0], [0.5]], np.float32)
    shift, scale = np.array([1, -1, 0, 2, 0.5], np.float32), np.array([0.5, 1, 2, 0.25, 1], np.float32)
    scaler = Scaler(shift, scale, 0.25, 2.0) if kind == "regressor" else Scaler(shift, scale)
    trainer = Trainer(h, chosen, raw_loss(h), scaler, np.zeros(5, bool), weights, random)
    twin = Twin(trainer.weights, trainer.bias, chosen, trainer.outputs, momentum=0.5)
    X, y = labelled(25 * 20 - 13, kind)
    for start in range(0, len(X), 20):
        part, labels = X[start : start + 20], y[start : start + 20]
        trainer.step(Cluster(), part, labels)
        labels = (labels - 0.25) / 2 if kind == "regressor" else labels
        twin.step(loss, (part - shift) * scale, labels, weights)
    np.testing.assert_allclose(np.vstack([trainer.weights, trainer.bias]), twin.w, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("loss", ["logistic", "squared_loss", "softmax_loss"])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_whole_job(make_job, configure, loss, kind):
    """One epoch of 95 rows in batches of 10: moments, labels, steps and the way back to raw features."""
    given = {"logistic": BINARY, "squared_loss": REGRESSOR, "softmax_loss": MULTICLASS}[loss]
    X, y = labelled(95, given["predictor_type"])
    h = configure(**given | PLAIN | {"mini_batch_size": 10, "optimizer": "sgd", "learning_rate": 0.02})
    model = fit(make_job((kind(X), y)), h)

    c = 3 if loss == "softmax_loss" else 1
    mean = X.mean(axis=0, dtype=float) * (kind is np.asarray)
    deviation = X.std(axis=0, dtype=float)
    label_mean, label_deviation = (y.mean(), y.std()) if loss == "squared_loss" else (0, 1)
    twin = Twin(np.zeros((5, c)), np.zeros((1, c)), settings(h, np.random.default_rng()), c)
    scaled, labels = (X - mean) / deviation, (y - label_mean) / label_deviation
    for start in range(0, 95, 10):
        twin.step(loss, scaled[start : start + 10], labels[start : start + 10])
    weights = twin.w[:5] / deviation[:, None] * label_deviation
    np.testing.assert_allclose(model.weights.T, weights, rtol=1e-4, atol=1e-5)
    bias = twin.w[5] * label_deviation + label_mean - mean @ weights
    np.testing.assert_allclose(model.bias, bias, rtol=1e-4, atol=1e-5)


def test_one_step_by_hand(make_job, configure):
    """Labels 0 and 1 at x = -1 and 1, p = 1/2: the gradient of the weight is -1/2, and that of the bias 0."""
    h = configure(**BINARY | PLAIN | {"optimizer": "sgd", "learning_rate": 0.5, "mini_batch_size": 2})
    model = fit(make_job((np.array([[-1], [1]], np.float32), np.array([0, 1], np.float32))), h)
    assert model.weights.tolist() == [[0.25]]
    assert model.bias.tolist() == [0]


def test_a_short_last_batch_counts_as_its_rows(make_job, configure):
    """Three rows x = 1 of label 2 in batches of two: the second gradient is of one row, and still divided by two."""
    given = {"optimizer": "sgd", "learning_rate": 0.125, "mini_batch_size": 2, "use_bias": False}
    given |= {"normalize_data": False, "normalize_label": False}
    model = fit(
        make_job((np.ones((3, 1), np.float32), np.full(3, 2, np.float32))), configure(**REGRESSOR | PLAIN | given)
    )
    # w = 0 + 0.125 * 4 = 0.5; then the slope is 2 * (0.5 - 2) = -3, over two rows -1.5
    assert model.weights[0, 0] == pytest.approx(0.5 + 0.125 * 1.5)
    assert model.bias.tolist() == [0]


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


# the log


@pytest.fixture
def with_validation(make_job, tmp_path: Path) -> Callable[..., Job]:
    """`with_validation(train, validation)`: a job with both channels, (features, labels) each."""

    def make(train: tuple[np.ndarray, ...], validation: tuple[np.ndarray, ...], **rest: Callable[[], bool]) -> Job:
        job = make_job(train, **rest)
        folder = tmp_path / "host-0-of-1" / "validation"
        folder.mkdir(exist_ok=True)
        (folder / "part-0").write_bytes(encode_features(*validation))
        config = ChannelConfig("validation")
        content_type = "application/x-recordio-protobuf"
        channel = Channel(config, folder.parent, content_type, job.report, job.stopped, allows_missing=False)
        return replace(job, channels={**job.channels, "validation": channel})

    return make


def test_the_log_with_validation(with_validation, configure, lines):
    fit(with_validation(labelled(200), labelled(100, seed=5)), configure(**BINARY))
    text = "\n".join(lines)
    number = r"\d+\.\d+(e-?\d+)?"
    objective = "binary_classification_cross_entropy_objective"
    for epoch in (0, 1):
        for line in (
            rf"#quality_metric: host=algo-1, epoch={epoch}, train {objective} <loss>={number}",
            rf"#quality_metric: host=algo-1, epoch={epoch}, validation {objective} <loss>={number}",
            rf"#early_stopping_criteria_metric: host=algo-1, epoch={epoch}, criteria={objective}, value={number}",
            rf"Epoch {epoch}: Loss improved\. Updating best model",
            rf"Saving model for epoch: {epoch}",
            rf"#progress_metric: host=algo-1, completed {50 * (epoch + 1)} % of epochs",
        ):
            assert len(re.findall(f"^{line}$", text, re.M)) == 1, line
    for name in (
        objective,
        "binary_classification_accuracy",
        r"binary_f_1\.000",
        "precision",
        "recall",
        "roc_auc_score",
    ):
        kind = "loss" if name == objective else "score"
        assert re.search(rf"^#validation_score \(algo-1\) : \('{name}', {number}\)$", text, re.M), name
        assert re.search(rf"^#quality_metric: host=algo-1, validation {name} <{kind}>={number}$", text, re.M), name
    assert "#train_score" not in text
    assert re.search(r"^#throughput_metric: host=algo-1, train throughput=\d+\.?\d* records/second$", text, re.M)
    (best,) = re.findall(r"^Best model found for hyperparameters: (\{.*\})$", text, re.M)
    assert list(json.loads(best)) == [
        "optimizer",
        "learning_rate",
        "wd",
        "l1",
        "lr_scheduler_step",
        "lr_scheduler_factor",
        "lr_scheduler_minimum_lr",
    ]


def test_metrics_of_every_model(with_validation, configure, lines):
    """One `#metrics` line a model, epoch and channel; model 0 is the quality metric, the least the criterion."""
    fit(with_validation(labelled(200), labelled(100, seed=5)), configure(**BINARY))
    found = {}
    for line in lines:
        if line.startswith("#metrics "):
            content = json.loads(line.removeprefix("#metrics "))
            for name, values in content["Metrics"].items():
                if name.endswith("_objective"):
                    at = content["Dimensions"]["epoch"], name.partition("_")[0], content["Dimensions"]["model"]
                    assert at not in found
                    found[at] = values["sum"]
    assert set(found) == {(e, c, m) for e in (0, 1) for c in ("train", "validation") for m in range(4)}
    text = "\n".join(lines)
    for epoch in (0, 1):
        for channel in ("train", "validation"):
            (first,) = re.findall(rf"epoch={epoch}, {channel} \S+ <loss>=(\S+)", text)
            assert float(first) == found[epoch, channel, 0]
        (least,) = re.findall(rf"epoch={epoch}, criteria=\S+, value=(\S+)", text)
        assert float(least) == min(found[epoch, "validation", m] for m in range(4))


def test_the_criterion_of_early_stopping_as_given(with_validation, configure, lines):
    """A criterion the user set is watched on the validation rows: the greatest of all models, not its negative."""
    given = BINARY | {"binary_classifier_model_selection_criteria": "f_beta"}
    fit(with_validation(labelled(200), labelled(100, seed=5)), configure(**given))
    watched = re.findall(r"criteria=f_beta, value=(\S+)", "\n".join(lines))
    assert len(watched) == 2
    assert all(0.5 < float(value) <= 1 for value in watched)


def test_training_scores_without_validation(make_job, configure, lines):
    X, y = labelled(200, "multiclass_classifier")
    model = fit(make_job((X, y)), configure(**MULTICLASS))
    scores = dict(re.findall(r"#train_score \(algo-1\) : \('(\S+)', (\S+)\)", "\n".join(lines)))
    assert list(scores) == [
        "multiclass_cross_entropy_objective",
        "multiclass_accuracy",
        "multiclass_top_k_accuracy_3",
        "dcg",
        "macro_recall",
        "macro_precision",
        "macro_f_1.000",
        "multiclass_balanced_accuracy",
        "multiclass_log_loss",
    ]
    right = np.mean(model.predict(Batch(X))["predicted_label"] == y)
    assert float(scores["multiclass_accuracy"]) == pytest.approx(right, abs=1e-6)


def test_the_threshold_is_the_criterion_s(make_job, configure, lines):
    """Recall of at least .95 on the training rows, and the precision that the log says."""
    X, y = labelled(500)
    given = {"binary_classifier_model_selection_criteria": "precision_at_target_recall", "target_recall": 0.95}
    model = fit(make_job((X, y)), configure(**BINARY | given))
    called = model.predict(Batch(X))["predicted_label"]
    scores = dict(re.findall(r"#train_score \(algo-1\) : \('(\S+)', (\S+)\)", "\n".join(lines)))
    assert called[y == 1].mean() >= 0.95
    assert float(scores["recall"]) == pytest.approx(called[y == 1].mean())
    assert float(scores["precision"]) == pytest.approx(y[called == 1].mean())


def test_it_stops_early(make_job, configure, lines):
    """Labels that nothing can be learned of: the loss soon stops to improve."""
    X = rows(400)
    y = np.random.default_rng(3).integers(0, 2, 400).astype(np.float32)
    fit(make_job((X, y)), configure(**BINARY | {"epochs": 60, "early_stopping_patience": 2}))
    assert "Early stop condition met. Stopping training." in lines
    done = [line for line in lines if line.startswith("#progress_metric")]
    assert 3 <= len(done) < 60
    stale = [line for line in lines if re.fullmatch(r"Epoch \d+: Loss has not improved for \d epochs\.", line)]
    assert len(done) - sum("Loss improved. Updating best model" in line for line in lines) == len(stale)


def test_one_model_in_a_tuning_job(make_job, configure, lines):
    given = BINARY | {"num_models": "auto", "_tuning_objective_metric": "train:objective_loss"}
    fit(make_job(labelled(200)), configure(**given))
    models = {json.loads(line[9:])["Dimensions"].get("model") for line in lines if line.startswith("#metrics ")}
    assert models - {None} == {0}


def test_told_to_stop_before_the_first_row(make_job, configure):
    with pytest.raises(NothingLearned):
        fit(make_job(labelled(200), stopped=lambda: True), configure(**BINARY))


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("looks", [0, 1, 2, 3, 4, 6, 8, 10])
def test_told_to_stop_later(make_job, with_validation, configure, lines, validated, looks):
    """Whenever it is noticed after some epochs, also between two of them: the best model so far, of finite weights."""
    left = looks

    def stopped() -> bool:
        nonlocal left
        left -= any("completed 20 % of epochs" in line for line in lines)
        return left < 0

    rest = {"stopped": stopped}
    job = with_validation(labelled(200), labelled(90), **rest) if validated else make_job(labelled(200), **rest)
    model = fit(job, configure(**BINARY | {"epochs": 10}))
    assert np.isfinite(model.weights).all()
    assert np.mean((model.margins(labelled(200)[0])[:, 0] > 0) == labelled(200)[1]) > 0.6
    assert not any("completed 60 %" in line for line in lines)
    assert any("without calibration" in line for line in lines)
