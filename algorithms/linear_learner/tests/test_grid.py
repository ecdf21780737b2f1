"""The settings of the models that are trained at once, and their learning rates from step to step."""

import math

import numpy as np
import pytest

from algorithms.linear_learner.grid import Schedule, Setting, settings

BINARY = {"predictor_type": "binary_classifier"}
PLAIN = Setting("adam", 0.1, 0.0, 0.0, 10, 0.5, 0.02)


@pytest.fixture
def of(configure):
    """`of(num_models=4, ...)`: the settings of a binary classifier with these hyperparameters."""
    return lambda **given: settings(configure(**BINARY | given), np.random.default_rng(given.get("seed", 0)))


def test_the_32_settings_as_observed(of):
    """Index = 8 decay + 4 rate + 2 minimum + step, from the logs of the hosted service."""
    found = of()
    assert len(found) == 32
    for i, each in enumerate(found):
        assert each.optimizer == "adam"
        assert each.wd == (0.0001, 0.01, 1.0, 100.0)[i // 8]
        assert each.learning_rate == (0.005, 0.1)[i // 4 % 2]
        assert each.lr_scheduler_minimum_lr == (1e-4, 1e-5)[i // 2 % 2]
        assert each.lr_scheduler_step == (10, 100)[i % 2]
        assert (each.lr_scheduler_factor, each.l1) == (0.99, 0)


def test_the_log_of_the_best_model(of):
    """The line that the hosted service printed for its model 0, without anything of ours."""
    assert of()[0].shown() == {
        "optimizer": "adam",
        "learning_rate": 0.005,
        "wd": 0.0001,
        "l1": 0.0,
        "lr_scheduler_step": 10,
        "lr_scheduler_factor": 0.99,
        "lr_scheduler_minimum_lr": 0.0001,
    }
    assert of(positive_example_weight_mult="auto")[0].shown() == of()[0].shown()


GIVEN = {
    "wd": (0.5, 8),
    "learning_rate": (0.3, 16),
    "lr_scheduler_minimum_lr": (0.001, 16),
    "lr_scheduler_step": (7, 16),
    "lr_scheduler_factor": (0.5, 32),
    "l1": (0.25, 32),
    "optimizer": ("sgd", 32),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_given_value_is_that_of_all_models(of, name):
    """The others vary as before, so that fewer models are left of the grid."""
    value, models = GIVEN[name]
    found = of(**{name: value})
    assert [getattr(each, name) for each in found] == [value] * models
    assert len(set(found)) == models
    assert len(of(**{name: value}, num_models=40)) == 40
    assert {getattr(each, name) for each in of(**{name: value}, num_models=40)} == {value}


def test_all_given(of):
    assert len(of(wd=0, learning_rate=0.1, lr_scheduler_minimum_lr=1e-5, lr_scheduler_step=10)) == 1
    same = of(wd=0, learning_rate=0.1, lr_scheduler_minimum_lr=1e-5, lr_scheduler_step=10, num_models=3)
    assert len(same) == 3
    assert len(set(same)) == 1


def test_without_a_schedule(of):
    """Rates stay as they are, which leaves eight models."""
    found = of(use_lr_scheduler=False)
    assert [(each.wd, each.learning_rate) for each in found] == [
        (wd, rate) for wd in (1e-4, 1e-2, 1.0, 100.0) for rate in (0.005, 0.1)
    ]
    assert Schedule(found).rates(10**6).tolist() == np.array([0.005, 0.1] * 4, np.float32).tolist()


@pytest.mark.parametrize(("models", "chosen"), [(1, [0]), (2, [0, 16]), (4, [0, 8, 16, 24]), (3, [0, 10, 21])])
def test_fewer_models_are_spread_over_the_grid(of, models, chosen):
    assert of(num_models=models) == [of()[i] for i in chosen]


def test_more_models_are_drawn_from_the_ranges(of):
    """The grid comes first; the draw is the seed's."""
    found = of(num_models=100)
    assert found[:32] == of()
    assert len(set(found)) == 100
    assert found == of(num_models=100)
    assert found[32:] != of(num_models=100, seed=1)[32:]
    for each in found[32:]:
        assert 1e-4 <= each.wd <= 100
        assert 0.005 <= each.learning_rate <= 0.1
        assert 1e-5 <= each.lr_scheduler_minimum_lr <= 1e-4
        assert 10 <= each.lr_scheduler_step <= 100
        assert isinstance(each.lr_scheduler_step, int)
    middle = np.median([math.log10(each.wd) for each in of(num_models=1032)[32:]])
    assert middle == pytest.approx(-1, abs=0.3)  # uniform in the logarithm, from -4 to 2


def test_a_tuning_job_trains_one_model(of):
    assert of(num_models=32, _tuning_objective_metric="train:objective_loss") == [of()[0]]


@pytest.mark.parametrize(
    ("models", "balance"),
    [(1, [1]), (2, [0, 1]), (3, [0, 1 / 2, 1]), (4, [0, 1 / 3, 2 / 3, 1]), (6, [0, 1 / 3, 2 / 3, 1, 0, 1 / 3])],
)
def test_weights_of_positive_examples(of, models, balance):
    """Where they are `auto`: powers of the balanced weight, from 0 (all rows weigh 1) to 1 (balanced)."""
    found = of(num_models=models, positive_example_weight_mult="auto")
    assert [each.balance for each in found] == balance
    for given in (1.0, 3.0, "balanced"):
        assert {each.balance for each in of(num_models=models, positive_example_weight_mult=given)} == {0}


def test_a_schedule_by_hand():
    """0.1, halved every ten steps, and no less than 0.02."""
    rates = Schedule([PLAIN])
    found = [rates.rates(step).tolist() for step in (0, 9, 10, 19, 20, 29, 30, 10**9)]
    expected = np.array([0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.02, 0.02], np.float32)
    assert found == [[value] for value in expected]
    assert rates.rates(0).dtype == np.float32


def test_every_model_has_its_own_schedule():
    """A minimum above the rate does not raise it; a step of 0 is no schedule."""
    chosen = [
        PLAIN,
        Setting("adam", 0.1, 0.0, 0.0, 5, 0.1, 1e-5),
        Setting("adam", 0.01, 0.0, 0.0, 10, 0.5, 0.02),
        Setting("adam", 0.3, 0.0, 0.0, 0, 1.0, 0.0),
    ]
    np.testing.assert_allclose(Schedule(chosen).rates(0), [0.1, 0.1, 0.01, 0.3], rtol=1e-6)
    np.testing.assert_allclose(Schedule(chosen).rates(12), [0.05, 0.001, 0.01, 0.3], rtol=1e-6)
    np.testing.assert_allclose(Schedule(chosen).rates(1000), [0.02, 1e-5, 0.01, 0.3], rtol=1e-6)
