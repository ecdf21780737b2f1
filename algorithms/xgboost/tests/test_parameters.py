"""The library is asked whether it knows what it is given: small boosters are trained, and a warning is an error."""

import numpy as np
import pytest
import xgboost

from algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from algorithms.xgboost.parameters import default_metric, library_parameters, split_metrics, watched_metric

OBJECTIVES = XGBoostHyperparameters.model_json_schema()["properties"]["objective"]["enum"]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)).astype(np.float32)
LABELS = {
    "reg": np.exp(X[:, 0]),
    "count": np.exp(X[:, 0]),
    "survival": np.exp(X[:, 0]),
    "binary": (X[:, 0] > 0).astype(np.float32),
    "rank": (X[:, 0] > 0).astype(np.float32),
    "multi": RANDOM.integers(0, 3, 60).astype(np.float32),
}
EVERYTHING = {
    "gbtree": {
        "gamma": "0.1",
        "max_depth": "3",
        "max_leaves": "8",
        "min_child_weight": "0.5",
        "max_delta_step": "1",
        "subsample": "0.9",
        "sampling_method": "gradient_based",
        "colsample_bytree": "0.9",
        "eta": "0.2",
        "colsample_bylevel": "0.9",
        "colsample_bynode": "0.9",
        "tree_method": "approx",
        "sketch_eps": "0.1",
        "grow_policy": "lossguide",
        "max_cached_hist_node": "64",
        "num_parallel_tree": "2",
        "alpha": "0.1",
        "lambda": "2",
        "process_type": "default",
        "refresh_leaf": "1",
        "monotone_constraints": "(1,0,-1)",
        "interaction_constraints": "[[0,1],[2]]",
        "max_bin": "64",
    },
    "dart": {
        "sample_type": "weighted",
        "normalize_type": "forest",
        "rate_drop": "0.2",
        "one_drop": "1",
        "skip_drop": "0.1",
    },
    "gblinear": {"updater": "coord_descent", "feature_selector": "greedy", "top_k": "2", "lambda": "1", "eta": "0.3"},
}
OF_OBJECTIVES = {
    "scale_pos_weight": "2",
    "tweedie_variance_power": "1.3",
    "huber_slope": "2",
    "quantile_alpha": "0.5",
    "aft_loss_distribution": "extreme",
    "aft_loss_distribution_scale": "2",
    "lambdarank_pair_method": "mean",
    "lambdarank_num_pair_per_sample": "3",
    "lambdarank_normalization": "0",
    "lambdarank_unbiased": "1",
    "lambdarank_score_normalization": "0",
    "lambdarank_bias_norm": "2",
    "ndcg_exp_gain": "0",
}
GONE = {
    "silent": "0",
    "lambda_bias": "0.5",
    "dsplit": "row",
    "predictor": "gpu_predictor",
    "prob_buffer_row": "2",
    "deterministic_histogram": "1",
    "use_dask_gpu_training": "true",
    "save_model_on_termination": "false",
}


def parse(**given: str) -> XGBoostHyperparameters:
    if given.get("objective", "").startswith("multi:"):
        given["num_class"] = "3"
    if given.get("objective") == "reg:quantileerror":
        given.setdefault("quantile_alpha", "0.5")
    return XGBoostHyperparameters.parse({"num_round": "3", "nthread": "1", **given})


def matrix(objective: str = "reg:squarederror") -> xgboost.DMatrix:
    task = objective.partition(":")[0]
    labels = LABELS[task]
    if objective == "reg:logistic":
        labels = LABELS["binary"]
    data = xgboost.DMatrix(X, labels, qid=np.repeat(np.arange(4), 15) if task == "rank" else None)
    if objective == "survival:aft":
        data.set_float_info("label_lower_bound", labels)
        data.set_float_info("label_upper_bound", labels)
    return data


def trained(parameters: dict[str, object], rounds: int = 3) -> tuple[xgboost.Booster, dict[str, list[float]]]:
    """With warnings turned into errors by the test runner: the library must know every parameter."""
    data, results = matrix(str(parameters["objective"])), {}
    booster = xgboost.train(
        {**parameters, "verbosity": 1}, data, rounds, evals=[(data, "train")], evals_result=results, verbose_eval=False
    )
    return booster, results.get("train", {})


def test_only_what_the_user_has_set():
    assert library_parameters(XGBoostHyperparameters.parse({"num_round": "3", "csv_weights": "1"})) == (
        {"objective": "reg:squarederror", "booster": "gbtree", "seed": 0},
        [],
    )


def test_as_the_library_wants_it_written():
    parameters, lines = library_parameters(
        parse(
            monotone_constraints="[1, 0, -1]",
            interaction_constraints="[[0, 1], [2]]",
            objective="reg:quantileerror",
            quantile_alpha="0.1, 0.9",
            reg_lambda="2",
            seed="-3",
        )
    )
    assert lines == []
    assert parameters == {
        "objective": "reg:quantileerror",
        "booster": "gbtree",
        "seed": -3,
        "nthread": 1,
        "monotone_constraints": "(1,0,-1)",
        "interaction_constraints": "[[0,1],[2]]",
        "quantile_alpha": "[0.1,0.9]",
        "lambda": 2.0,
    }
    trained(parameters)


def test_the_library_complains_of_what_it_does_not_know():
    parameters, _ = library_parameters(parse())
    with pytest.warns(UserWarning, match="sketch_eps.* are not used"):
        trained(parameters | {"sketch_eps": 0.1})


@pytest.mark.parametrize("booster", EVERYTHING)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_library_knows_all_it_is_given(objective, booster):
    given = {**EVERYTHING["gbtree"], **EVERYTHING[booster]} if booster == "dart" else EVERYTHING[booster]
    parameters, _ = library_parameters(parse(booster=booster, objective=objective, **given, **OF_OBJECTIVES, **GONE))
    trained(parameters)


def test_the_library_uses_all_that_is_left_for_a_linear_booster_that_was_meant_to_be_trees():
    given = {name: value for name, value in EVERYTHING["gbtree"].items() if "constraints" not in name}
    parameters, lines = library_parameters(parse(booster="gblinear", **given, **EVERYTHING["dart"]))
    assert "hyperparameter 'max_depth' has no effect with booster 'gblinear'" in lines
    assert "hyperparameter 'rate_drop' has no effect with booster 'gblinear'" in lines
    assert parameters.keys() == {"objective", "booster", "seed", "nthread", "eta", "alpha", "lambda"}
    trained(parameters)


@pytest.mark.parametrize(
    ("given", "wanted", "lines"),
    [
        (
            {"objective": "reg:linear"},
            {"objective": "reg:squarederror"},
            ["objective 'reg:linear' is called 'reg:squarederror' now"],
        ),
        ({"silent": "1"}, {"verbosity": 0}, ["hyperparameter 'silent' is called 'verbosity' now: it is 0"]),
        ({"silent": "0"}, {}, ["hyperparameter 'silent' is called 'verbosity' now: it is 1"]),
        (
            {"silent": "1", "verbosity": "2"},
            {"verbosity": 2},
            ["hyperparameter 'silent' is called 'verbosity' now: it is 2"],
        ),
        (
            {"tree_method": "gpu_hist"},
            {"tree_method": "hist"},
            ["tree_method 'gpu_hist' is called 'hist' now"],
        ),
        (
            {"tree_method": "approx", "sketch_eps": "0.03"},
            {"tree_method": "approx", "max_bin": 33},
            ["hyperparameter 'sketch_eps' is called 'max_bin' now: it is 33"],
        ),
        (
            {"tree_method": "hist", "sketch_eps": "0.03"},
            {"tree_method": "hist"},
            ["hyperparameter 'sketch_eps' has no effect: only tree_method 'approx' without max_bin uses it"],
        ),
        (
            {"updater": "grow_colmaker,prune"},
            {"tree_method": "exact"},
            ["updater 'grow_colmaker,prune' is called tree_method 'exact' now"],
        ),
        (
            {"updater": "grow_local_histmaker, sync, prune", "tree_method": "hist"},
            {"tree_method": "approx"},
            [
                "updater 'grow_local_histmaker,sync,prune' is called tree_method 'approx' now",
                "hyperparameter 'tree_method' has no effect: 'updater' says how trees are grown",
            ],
        ),
        (
            {"updater": "grow_skmaker,refresh"},
            {"updater": "grow_histmaker,refresh"},
            ["updater 'grow_skmaker' is called 'grow_histmaker' now"],
        ),
        ({"updater": "grow_colmaker"}, {"updater": "grow_colmaker"}, []),
        (
            {"booster": "gblinear", "updater": "gpu_coord_descent"},
            {"booster": "gblinear", "updater": "coord_descent"},
            ["updater 'gpu_coord_descent' is called 'coord_descent' now"],
        ),
        ({"dsplit": "row"}, {}, ["hyperparameter 'dsplit' has no effect any more: hosts share the rows"]),
        (
            {"rate_drop": "0.1"},
            {},
            ["hyperparameter 'rate_drop' has no effect with booster 'gbtree'"],
        ),
        (
            {"objective": "binary:hinge", "scale_pos_weight": "2"},
            {"objective": "binary:hinge"},
            ["hyperparameter 'scale_pos_weight' has no effect with objective 'binary:hinge'"],
        ),
        ({"eta": "1e-300", "gamma": "1e300"}, {"eta": 0.0, "gamma": float(np.finfo(np.float32).max)}, []),
    ],
)
@pytest.mark.filterwarnings("ignore:.*manually specified the `updater`")
def test_old_names(given, wanted, lines):
    parameters, said = library_parameters(parse(**given))
    assert said == lines
    always = {"objective": "reg:squarederror", "booster": "gbtree", "seed": 0, "nthread": 1}
    assert parameters == {**always, **wanted}
    trained(parameters)


@pytest.mark.parametrize("name", ["grow_histmaker", "grow_quantile_histmaker", "grow_colmaker"])
@pytest.mark.filterwarnings("ignore:.*manually specified the `updater`")
def test_a_tree_method_stands_for_its_updaters(name):
    mapped, _ = library_parameters(parse(updater=f"{name},prune", gamma="0.5", max_depth="2"))
    assert "updater" not in mapped
    direct = {**mapped, "updater": f"{name},prune"}
    del direct["tree_method"]
    data = matrix()
    np.testing.assert_array_equal(trained(mapped)[0].predict(data), trained(direct)[0].predict(data))


@pytest.mark.parametrize("pairs", [{}, {"lambdarank_num_pair_per_sample": "5"}, {"lambdarank_pair_method": "mean"}])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_default_metric_is_the_librarys(objective, pairs):
    given = parse(objective=objective, tweedie_variance_power="1.25", **pairs)
    _, results = trained(library_parameters(given)[0])
    assert list(results) == [default_metric(given)] == [watched_metric(given)]


def test_logistic_scores_are_not_taken_for_probabilities():
    parameters, lines = library_parameters(parse(objective="binary:logitraw"))
    assert parameters["eval_metric"] == ["auc"]
    assert lines == ["objective 'binary:logitraw' is scored by 'auc', since 'logloss' is not defined for raw scores"]


@pytest.mark.parametrize(
    ("given", "library", "own", "watched"),
    [
        ({}, [], [], "rmse"),
        ({"eval_metric": "mae,rmse"}, ["mae", "rmse"], [], "rmse"),
        ({"eval_metric": "mse,mae"}, ["mae"], ["mse"], "mae"),
        ({"eval_metric": "mae,mse"}, ["mae"], ["mse"], "mse"),
        ({"eval_metric": "r2"}, [], ["r2"], "r2"),
        ({"_tuning_objective_metric": "validation:mae"}, ["mae"], [], "mae"),
        ({"eval_metric": "mae,mape", "_tuning_objective_metric": "train:mae"}, ["mae", "mape"], [], "mae"),
        ({"eval_metric": "mae", "_tuning_objective_metric": "validation:mse"}, ["mae"], ["mse"], "mse"),
        ({"eval_metric": "tweedie-nloglik"}, ["tweedie-nloglik@1.5"], [], "tweedie-nloglik@1.5"),
    ],
)
def test_metrics(given, library, own, watched):
    hyperparameters = parse(**given)
    assert split_metrics(hyperparameters) == (library, own)
    assert watched_metric(hyperparameters) == watched
    parameters, _ = library_parameters(hyperparameters)
    assert ("disable_default_eval_metric" in parameters) == (bool(own) and not library)
    assert list(trained(parameters)[1]) == (library or ([] if own else ["rmse"]))


@pytest.mark.parametrize(
    "names",
    [
        "error@0.50,error@.7,error@1e-3,error@0.123456789,error@-1",
        "ndcg@05,ndcg-,ndcg@3-,map@3,map-,pre@2,pre,pre@2-",
        "tweedie-nloglik@1.25,tweedie-nloglik",
    ],
)
def test_metrics_are_spelled_as_the_library_prints_them(names):
    parameters, _ = library_parameters(parse(objective="binary:logistic", eval_metric=names))
    assert list(trained(parameters)[1]) == parameters["eval_metric"]
