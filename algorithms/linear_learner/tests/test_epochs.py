"""What is said and decided after every epoch: the log as observed, early stopping, a stop by the platform."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from algorithms.channel import Channel
from algorithms.job import ChannelConfig, Job, NothingLearned
from algorithms.linear_learner.fit import fit
from algorithms.linear_learner.tests.test_fit import BINARY, MULTICLASS, labelled, rows
from formats import Batch
from formats.recordio import encode_features


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


def test_without_other_rows_the_loss_chooses_unless_told(make_job, configure, lines):
    """Of rows that are learned by heart, the model of the greatest accuracy is not the one of the least loss."""
    random = np.random.default_rng(3)
    X = random.standard_normal((60, 30)).astype(np.float32)
    y = (X[:, 0] + 2 * random.standard_normal(60) > 0).astype(np.float32)
    settings = {"predictor_type": "binary_classifier", "num_models": 32, "mini_batch_size": 10, "epochs": 5}
    found = []
    for given in ({}, {"binary_classifier_model_selection_criteria": "accuracy"}):
        lines.clear()
        fit(make_job((X, y)), configure(**settings | given))
        scores = dict(re.findall(r"#train_score \(algo-1\) : \('(\S+)', (\S+)\)", "\n".join(lines)))
        names = "binary_classification_cross_entropy_objective", "binary_classification_accuracy"
        found.append([float(scores[name]) for name in names])
    (loss, accuracy), (loss_of_accurate, best_accuracy) = found
    assert loss < loss_of_accurate
    assert accuracy < best_accuracy


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
