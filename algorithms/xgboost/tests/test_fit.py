"""Training as a whole, in the real program: rounds, early stopping, weights, queries, stops."""

import signal
import time
from collections.abc import Callable

import numpy as np
import pytest
import xgboost

from algorithms.xgboost.tests.tables import booster_of, csv, libsvm, log_of, rmse, rounds_of, table, trees_of
from tests.job_folder import JobFolder

Make = Callable[..., JobFolder]


def test_round_lines(train: Make) -> None:
    job = train(train=csv(table(300)), validation=csv(table(100, 1)), num_round=3, eval_metric="mae,rmse")
    found: dict[str, dict[str, float]] = {}
    rows, others = table(300), table(100, 1)
    watched = [(xgboost.DMatrix(rows[:, 1:], rows[:, 0]), "train"), (xgboost.DMatrix(others[:, 1:], others[:, 0]), "v")]
    settings = {"eval_metric": ["mae", "rmse"], "nthread": 1}
    xgboost.train(settings, watched[0][0], 3, evals=watched, evals_result=found, verbose_eval=False)
    assert rounds_of(job) == [
        f"[{i}]\ttrain-mae:{found['train']['mae'][i]:.5f}\ttrain-rmse:{found['train']['rmse'][i]:.5f}"
        f"\tvalidation-mae:{found['v']['mae'][i]:.5f}\tvalidation-rmse:{found['v']['rmse'][i]:.5f}"
        for i in range(3)
    ]


def test_early_stopping_keeps_the_best_round_without_an_eval_metric(train: Make) -> None:
    data = {"train": csv(table(300)), "validation": csv(table(200, 1))}
    job = train(**data, num_round=200, eta=0.5, early_stopping_rounds=4)
    scores = [float(line.rpartition(":")[2]) for line in rounds_of(job)]
    best = int(np.argmin(scores))
    booster = booster_of(job)
    assert len(scores) == best + 5 < 200
    assert booster.num_boosted_rounds() == best + 1
    assert booster.attributes() == {"best_iteration": str(best), "best_score": booster.attr("best_score")}
    assert f"Early stop condition met: round {best} was the best." in log_of(job)
    short = train(**data, num_round=best + 1, eta=0.5)
    assert trees_of(booster) == trees_of(booster_of(short))


def test_early_stopping_watches_the_tuned_metric(train: Make) -> None:
    rows, others = table(300), table(200, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, others[:, 0] > 0
    data = {"train": csv(rows), "validation": csv(others), "objective": "binary:logistic", "num_round": 60}
    asked = {"eval_metric": "auc,logloss", "_tuning_objective_metric": "validation:auc", "early_stopping_rounds": 5}
    job = train(**data, **asked)
    scores = [float(line.split("validation-auc:")[1].split()[0]) for line in rounds_of(job)]
    assert booster_of(job).attr("best_iteration") == str(int(np.argmax(scores)))


def test_early_stopping_by_a_metric_of_ours(train: Make) -> None:
    rows, others = table(300), table(200, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, others[:, 0] > 0
    settings = {"objective": "binary:logistic", "eval_metric": "f1", "early_stopping_rounds": 3, "num_round": 60}
    job = train(train=csv(rows), validation=csv(others), **settings)
    scores = [float(line.rpartition("validation-f1:")[2]) for line in rounds_of(job)]
    assert booster_of(job).attr("best_iteration") == str(int(np.argmax(scores)))


@pytest.mark.parametrize("booster", ["gblinear", "dart"])
def test_early_stopping_of_other_boosters(train: Make, booster: str) -> None:
    """Their first rounds are not what they were after them: dart scales earlier trees again."""
    others = table(200, 1)
    data = {"train": csv(table(300)), "validation": csv(others), "booster": booster}
    settings = {"eta": 0.9} if booster == "gblinear" else {"rate_drop": 0.3, "eta": 0.6}
    job = train(**data, **settings, num_round=100, early_stopping_rounds=3)
    best = int(booster_of(job).attr("best_iteration") or -1)
    assert 0 <= best < len(rounds_of(job)) - 1
    assert booster_of(job).num_boosted_rounds() == best + 1
    assert rmse(job, others) == pytest.approx(float(booster_of(job).attr("best_score") or 0), rel=1e-5)
    short = train(**data, **settings, num_round=best + 1)
    assert booster_of(job).get_dump() == booster_of(short).get_dump()


def test_early_stopping_without_validation_says_so(train: Make) -> None:
    job = train(train=csv(table(100)), num_round=8, early_stopping_rounds=1)
    assert len(rounds_of(job)) == 8
    assert "early_stopping_rounds is 1, but there is no channel 'validation' to watch: all 8 rounds are run." in log_of(
        job
    )


@pytest.mark.parametrize("first", [0, 1])
def test_libsvm_indices_count_as_in_training(train: Make, first: int) -> None:
    rows = table(200)
    job = train("text/libsvm", train=libsvm(rows, first), num_round=3)
    dense = train(train=csv(rows), num_round=3)
    assert booster_of(job).num_features() == 5
    assert booster_of(job).attr("first_index") == str(first)
    assert trees_of(booster_of(job)) == trees_of(booster_of(dense))


def test_weights_repeat_rows(train: Make) -> None:
    """A row of weight 2 counts as two rows do; in CSV and in LibSVM."""
    rows = table(120)
    weights = np.random.default_rng(3).integers(1, 4, len(rows)).astype(np.float32)
    settings = {"num_round": 3, "tree_method": "exact", "base_score": 0}
    repeated = train(train=csv(np.repeat(rows, weights.astype(int), axis=0)), **settings)
    weighted = np.column_stack([rows[:, :1], weights, rows[:, 1:]])
    of_csv = train(train=csv(weighted), csv_weights=1, **settings)
    lines = [
        line.replace(b" ", f":{weight} ".encode(), 1)
        for line, weight in zip(libsvm(rows).split(b"\n"), weights, strict=True)
    ]
    of_libsvm = train("text/libsvm", train=b"\n".join(lines), **settings)
    answers = [booster_of(job).predict(xgboost.DMatrix(rows[:, 1:])) for job in (repeated, of_csv, of_libsvm)]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answers[2], answers[1])


def test_queries_in_any_order(train: Make) -> None:
    """The rows of a query are brought together, and are not mixed with another's."""
    random = np.random.default_rng(0)
    rows = table(200)
    rows[:, 0] = random.integers(0, 4, 200)
    queries = np.repeat(np.arange(20), 10)
    lines = [
        line.replace(b" ", f" qid:{query} ".encode(), 1)
        for line, query in zip(libsvm(rows).split(b"\n"), queries, strict=True)
    ]
    settings = {"objective": "rank:ndcg", "num_round": 4}
    in_order = train("text/libsvm", train=b"\n".join(lines), **settings)
    order = np.argsort(np.arange(200) % 10, kind="stable")
    mixed = train("text/libsvm", train=b"\n".join(lines[i] for i in order), **settings)
    assert trees_of(booster_of(mixed)) == trees_of(booster_of(in_order))
    oracle = xgboost.train(
        {"objective": "rank:ndcg", "nthread": 1}, xgboost.DMatrix(rows[:, 1:], rows[:, 0], qid=queries), 4
    )
    assert trees_of(oracle) == trees_of(booster_of(in_order))


def test_a_metric_that_is_no_number_stops_nothing(train: Make) -> None:
    rows, others = table(100), table(50, 1)
    rows[:, 0], others[:, 0] = rows[:, 0] > 0, 1
    job = train(
        train=csv(rows),
        validation=csv(others),
        objective="binary:logistic",
        eval_metric="auc",
        num_round=6,
        early_stopping_rounds=2,
    )
    assert booster_of(job).num_boosted_rounds() == 6
    assert "validation-auc is not a number: there is no best round to stop at." in log_of(job)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"process_type": "update", "updater": "refresh"},
            "ClientError: hyperparameter 'process_type' must be default",
        ),
        ({"objective": "reg:tweedie"}, "ClientError: the score of row 1 is "),
    ],
)
def test_jobs_that_cannot_give_a_model(train: Make, settings: dict, sentence: str) -> None:
    rows = table(50)
    rows[:, 0] = 0
    job = train(train=csv(rows), num_round=3, expect=2, **settings)
    assert (job.base / "output" / "failure").read_text().startswith(sentence)
    assert job.artifact() == {}


def test_too_little_memory(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    job.channel("train", {"data": b"1 0:2\n0 2147483646:3\n"})
    job.hyperparameters = {"num_round": "2", "nthread": "1"}
    ended = job.train("sh", "-c", 'ulimit -v 6000000 && exec "$@"', "-")
    assert ended.exit_code == 3, ended.log
    assert (ended.failure or "").startswith("PlatformError: the machine has not enough memory: ")


def test_sigterm_saves_the_best_so_far(job_folder: Callable[[str], JobFolder]) -> None:
    job = job_folder("xgboost")
    job.channel("train", {"data": csv(table(3000))}, "text/csv")
    job.hyperparameters = {"num_round": "1000000"}
    process = job.start("train")
    job.wait_for_log("[20]\t")
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    ended = job.finish(process)
    assert time.monotonic() - started < 10
    assert (ended.exit_code, ended.failure) == (0, None)
    assert booster_of(job).num_boosted_rounds() == len(rounds_of(job)) > 20
