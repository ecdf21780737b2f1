"""The guide's table "XGBoost Hyperparameters", what came later, and the rules between them."""

import pytest

from algorithms.errors import UserError
from algorithms.xgboost.constraints import check_width
from algorithms.xgboost.hyperparameters import XGBoostHyperparameters

INT_MAX = 2**31 - 1
POSITIVE = f"an integer in [1, {INT_MAX}]"
NATURAL = f"an integer in [0, {INT_MAX}]"
NO_INTEGERS = ("1.5", "abc", "", "nan", "inf", "2147483648")
NO_NUMBERS = ("abc", "", "nan", "inf", "1e400")
FLAGS = ("0", 0), ("1", 1), ("true", 1), ("false", 0), ("True", 1), ("False", 0), ('"1"', 1)
REQUIRED = object()


def flag(name, default=None):
    return (name, default, "one of 0, 1", FLAGS, ("2", "-1", "abc", ""), None)


def choice(name, default, *options):
    rule = f"one of {', '.join(options)}"
    return (name, default, rule, tuple((option, option) for option in options), ("", "x", options[0].upper()), None)


def share(name, tune):
    return (name, None, "a number > 0 and <= 1", (("1", 1.0), ("1e-05", 1e-05)), ("0", "1.1", "-1", *NO_NUMBERS), tune)


def unit(name, tune=None):
    return (name, None, "a number in [0, 1]", (("0", 0.0), ('"0.3"', 0.3)), ("-0.1", "1.1", *NO_NUMBERS), tune)


def half_line(name, tune=None, default=None):
    return (name, default, "a number >= 0", (("0", 0.0), ("1e3", 1000.0)), ("-1", *NO_NUMBERS), tune)


def above_zero(name):
    return (name, None, "a number > 0", (("1", 1.0), ("0.5", 0.5)), ("0", "-1", *NO_NUMBERS), None)


def positive(name, default=None, tune=None):
    return (name, default, POSITIVE, (("1", 1), ('"7"', 7)), ("0", "-1", *NO_INTEGERS), tune)


# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
GUIDE = [
    ("num_class", None, f"an integer in [2, {INT_MAX}]", (), ("1", "0", *NO_INTEGERS), None),
    positive("num_round", REQUIRED, [1, 4000]),
    half_line("alpha", [0, 1000], 0.0),
    ("base_score", None, "a number", (("0", 0.0), ("-2", -2.0)), NO_NUMBERS, None),
    choice("booster", "gbtree", "gbtree", "gblinear", "dart"),
    share("colsample_bylevel", [0.1, 1]),
    share("colsample_bytree", [0.5, 1]),
    flag("csv_weights", 0),
    positive("early_stopping_rounds"),
    unit("eta", [0.1, 0.5]),
    ("eval_metric", None, "a JSON list of text", (), ("", "[]", ","), None),
    half_line("gamma", [0, 5]),
    choice("grow_policy", None, "depthwise", "lossguide"),
    half_line("lambda", [0, 1000]),
    unit("lambda_bias"),
    ("max_bin", None, f"an integer in [2, {INT_MAX}]", (("2", 2),), ("1", "0", *NO_INTEGERS), None),
    half_line("max_delta_step", [0, 10]),
    ("max_depth", None, NATURAL, (("0", 0), ("6", 6)), ("-1", *NO_INTEGERS), [0, 10]),
    ("max_leaves", None, NATURAL, (("0", 0),), ("-1", *NO_INTEGERS), None),
    half_line("min_child_weight", [0, 120]),
    choice("normalize_type", None, "tree", "forest"),
    positive("nthread"),
    flag("one_drop"),
    unit("rate_drop"),
    flag("refresh_leaf"),
    choice("sample_type", None, "uniform", "weighted"),
    half_line("scale_pos_weight"),
    (
        "seed",
        0,
        f"an integer in [-{INT_MAX}, {INT_MAX}]",
        (("-5", -5), (str(-INT_MAX), -INT_MAX)),
        (str(-(2**31)), *NO_INTEGERS),
        None,
    ),
    flag("silent"),
    ("sketch_eps", None, "a number > 0 and < 1", (("0.03", 0.03),), ("0", "1", *NO_NUMBERS), None),
    unit("skip_drop"),
    share("subsample", [0.5, 1]),
    choice("tree_method", "auto", "auto", "exact", "approx", "hist", "gpu_hist"),
    ("tweedie_variance_power", None, "a number > 1 and < 2", (("1.5", 1.5),), ("1", "2", *NO_NUMBERS), None),
]
LATER = [
    share("colsample_bynode", [0.1, 1]),
    positive("num_parallel_tree"),
    ("verbosity", None, "an integer in [0, 3]", (("0", 0), ("3", 3)), ("4", "-1", "x", ""), None),
    choice("dsplit", None, "row", "col"),
    choice("predictor", None, "auto", "cpu_predictor", "gpu_predictor"),
    choice("sampling_method", None, "uniform", "gradient_based"),
    flag("deterministic_histogram"),
    above_zero("prob_buffer_row"),
    flag("use_dask_gpu_training"),
    flag("save_model_on_termination"),
    choice("aft_loss_distribution", None, "normal", "logistic", "extreme"),
    above_zero("aft_loss_distribution_scale"),
    above_zero("huber_slope"),
    positive("max_cached_hist_node"),
    choice("lambdarank_pair_method", None, "topk", "mean"),
    positive("lambdarank_num_pair_per_sample"),
    *(flag(f"lambdarank_{what}") for what in ("normalization", "score_normalization", "unbiased")),
    half_line("lambdarank_bias_norm"),
    flag("ndcg_exp_gain"),
    ("top_k", None, NATURAL, (("0", 0),), ("-1", *NO_INTEGERS), None),
    ("_kfold", None, f"an integer in [2, {INT_MAX}]", (("2", 2),), ("1", *NO_INTEGERS), None),
    positive("_num_cv_round"),
]
TABLE = [
    (name, default, rule, [pair for pair in allowed if (name, pair[1]) != ("dsplit", "col")], refused, tune)
    for name, default, rule, allowed, refused, tune in GUIDE + LATER
]
ELSEWHERE = {
    *("objective", "process_type", "updater", "monotone_constraints", "interaction_constraints", "quantile_alpha"),
    *("feature_selector", "_tuning_objective_metric"),
}


def parse(**given: object) -> XGBoostHyperparameters:
    return XGBoostHyperparameters.parse({"num_round": "10", **given})


def refusal(**given: object) -> str:
    with pytest.raises(UserError) as error:
        parse(**given)
    return str(error.value)


def test_the_names_are_the_tables():
    assert set(XGBoostHyperparameters.names()) == {row[0] for row in TABLE} | ELSEWHERE


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tune"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, allowed, refused, tune):
    python, field = next(
        (python, field)
        for python, field in XGBoostHyperparameters.model_fields.items()
        if name in (python, field.alias)
    )
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        assert getattr(parse(), python) == default
    for text, value in allowed:
        found = getattr(parse(**{name: text}), python)
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        assert refusal(**{name: text}) == f"hyperparameter '{name}' must be {rule}, got '{text}'"
    assert (field.json_schema_extra or {}).get("tune") == tune
    assert field.description


def test_num_round_is_all_that_is_required():
    with pytest.raises(UserError, match="hyperparameter 'num_round' is required: an integer"):
        XGBoostHyperparameters.parse({})


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"learning_rate": "0.2"}, "eta", 0.2),
        ({"min_split_loss": "2"}, "gamma", 2.0),
        ({"reg_lambda": "3"}, "lambda", 3.0),
        ({"reg_alpha": "4"}, "alpha", 4.0),
        ({"max_bins": "16"}, "max_bin", 16),
    ],
)
def test_synonyms(given, name, value):
    assert parse(**given).values()[name] == value
    (other,) = given
    sentence = refusal(**given, **{name: "1"})
    assert f"hyperparameters '{name}' and '{other}' are the same; please set one of them" in sentence


def test_a_refused_synonym_is_named_as_the_guide_has_it():
    assert refusal(learning_rate="2") == "hyperparameter 'eta' must be a number in [0, 1], got '2'"


@pytest.mark.parametrize("sent", [True, "true", 1, "1"])
def test_flags_of_json(sent):
    assert parse(csv_weights=sent).csv_weights == 1


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("rmse", ["rmse"]),
        ("rmse,mae", ["rmse", "mae"]),
        (" rmse , mae ,", ["rmse", "mae"]),
        ('["rmse", "mae"]', ["rmse", "mae"]),
        (["rmse"], ["rmse"]),
        ("rmse,rmse", ["rmse"]),
        ("error@0.50,error@.7,error@1e-3", ["error", "error@0.7", "error@0.001"]),
        ("ndcg@05-,ndcg-,map@3,pre@2", ["ndcg@5-", "ndcg-", "map@3", "pre@2"]),
        ("tweedie-nloglik@1.50", ["tweedie-nloglik@1.5"]),
    ],
)
def test_eval_metric(sent, value):
    assert parse(eval_metric=sent).eval_metric == value


@pytest.mark.parametrize(
    "name",
    [
        *("rmsee", "RMSE", "rmse@3", "auc@1", "ndcg@0", "ndcg@1.5", "ndcg@x", "ndcg@", "error@", "error@x"),
        *("error@1e999", "error@--1", "tweedie-nloglik@2", "tweedie-nloglik@0.9", "map--"),
    ],
)
def test_unknown_eval_metric(name):
    assert refusal(eval_metric=name).startswith(f"hyperparameter 'eval_metric' has the unknown metric '{name}'; ")


def test_the_nearest_metric():
    assert refusal(eval_metric="rmsee").endswith("; did you mean 'rmse'?")
    assert "; known are accuracy, aft-nloglik, auc, " in refusal(eval_metric="zzzzzz")


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("(1,-1,0)", [1, -1, 0]),
        ("[1, -1, 0]", [1, -1, 0]),
        ("1,-1,0", [1, -1, 0]),
        ('"(1,0)"', [1, 0]),
        ([1, 0], [1, 0]),
        ("(1,)", [1]),
        ("(1)", [1]),
        ("-1", [-1]),
    ],
)
def test_monotone_constraints(sent, value):
    assert parse(monotone_constraints=sent).monotone_constraints == value


@pytest.mark.parametrize("sent", ["(2,0)", "(1,a)", "", "()", "{'a': 1}", "__import__('os').getcwd()", "(0.5,1)"])
def test_refused_monotone_constraints(sent):
    wanted = f"hyperparameter 'monotone_constraints' must be a JSON list of -1, 0, 1, got '{sent}'"
    assert refusal(monotone_constraints=sent) == wanted


@pytest.mark.parametrize("sent", ["[[0,1],[2,3]]", "((0,1),(2,3))", "[(0, 1), (2, 3)]", "[0,1],[2,3]"])
def test_interaction_constraints(sent):
    assert parse(interaction_constraints=sent).interaction_constraints == [[0, 1], [2, 3]]


@pytest.mark.parametrize("sent", ["[0,1]", "[[-1]]", "[[0.5]]", "x", "[['a']]", "__import__('os').getcwd()"])
def test_refused_interaction_constraints(sent):
    rule = "a JSON list of lists of integers in [0, 2147483647]"
    assert refusal(interaction_constraints=sent) == (
        f"hyperparameter 'interaction_constraints' must be {rule}, got '{sent}'"
    )


@pytest.mark.parametrize(("sent", "value"), [("0.5", [0.5]), (0.5, [0.5]), ("[0.1, 0.9]", [0.1, 0.9])])
def test_quantile_alpha(sent, value):
    assert parse(objective="reg:quantileerror", quantile_alpha=sent).quantile_alpha == value


def test_constraints_and_the_width():
    given = parse(monotone_constraints="(1,0,-1)", interaction_constraints="[[0,1],[2]]")
    check_width(given, 3)
    check_width(parse(), 1)
    with pytest.raises(UserError, match="must have one value for each of the 4 features of the training data, got 3"):
        check_width(given, 4)
    with pytest.raises(UserError, match=r"must name features in \[0, 1\], as the training data have 2, got 2"):
        check_width(parse(interaction_constraints="[[0,1],[2]]"), 2)


MULTI = {"objective": "multi:softmax", "num_class": "3"}
GBLINEAR = {"booster": "gblinear"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"objective": "multi:softprob"}, "Require input for parameter 'num_class' for multi-classification"),
        (
            {"num_class": "2"},
            "Do not need to setup parameter 'num_class' for learning task other than multi classification.",
        ),
        ({"eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems."),
        ({"eval_metric": "aft-nloglik"}, "Metric 'aft-nloglik' can only be applied for 'survival:aft' objective."),
        ({"eval_metric": "merror"}, "Metric 'merror' can only be applied for multi-classification."),
        ({"eval_metric": "f1"}, "Metric 'f1' can only be applied for classification problems."),
        ({"eval_metric": "quantile"}, "Metric 'quantile' can only be applied for 'reg:quantileerror' objective."),
        (
            {**MULTI, "eval_metric": "rmse"},
            "Metric 'rmse' can only be applied for problems other than multi-classification.",
        ),
        ({**MULTI, "eval_metric": "recall"}, "Metric 'recall' can only be applied for binary classification."),
        (
            {"objective": "reg:quantileerror", "quantile_alpha": "[0.1,0.9]", "eval_metric": "mae"},
            "Metric 'mae' can only be applied to one prediction a row.",
        ),
        (
            {"objective": "reg:quantileerror"},
            "hyperparameter 'quantile_alpha' is required for objective 'reg:quantileerror'",
        ),
        (
            {"_tuning_objective_metric": "validation:auc"},
            "Metric 'auc' can only be applied for classification and ranking problems.",
        ),
        (
            {"_tuning_objective_metric": "validation:rsme"},
            "hyperparameter '_tuning_objective_metric' is the unknown metric 'validation:rsme'; "
            "did you mean 'validation:rmse'?",
        ),
        (
            {"objective": "binary:logistic", "base_score": "1"},
            "hyperparameter 'base_score' must be in (0, 1) for objective 'binary:logistic', got 1",
        ),
        (
            {"objective": "reg:gamma", "base_score": "0"},
            "hyperparameter 'base_score' must be > 0 for objective 'reg:gamma', got 0",
        ),
        ({"dsplit": "col"}, "hyperparameter 'dsplit' must be row, since hosts share the rows of a channel, got 'col'"),
        (
            {**GBLINEAR, "updater": "prune"},
            "Linear updater should be one of these options: 'shotgun', 'coord_descent'.",
        ),
        (
            {**GBLINEAR, "feature_selector": "greedy"},
            "feature_selector 'greedy' can only be used with updater 'coord_descent'",
        ),
        (
            {**GBLINEAR, "process_type": "update"},
            "process_type 'update' can only be used with a booster of trees, got booster 'gblinear'",
        ),
        (
            {**GBLINEAR, "monotone_constraints": "(1,)"},
            "monotone_constraints can be used only with a booster of trees, got booster 'gblinear'",
        ),
        (
            {"updater": "shotgun"},
            "updater 'shotgun' can only be used with booster 'gblinear', got booster 'gbtree'",
        ),
        ({"process_type": "update"}, "process_type 'update' can only be used with updater 'refresh' and 'prune'"),
        (
            {"process_type": "update", "updater": "grow_colmaker,prune"},
            "process_type 'update' can only be used with updater 'refresh' and 'prune'",
        ),
        (
            {"updater": "grow_colmaker,grow_histmaker"},
            "Only one tree grow plugin can be selected, got grow_colmaker, grow_histmaker",
        ),
        (
            {"updater": "prune,refresh"},
            "updater must begin with the one that grows a tree, such as grow_colmaker, got 'prune'",
        ),
        (
            {"tree_method": "exact", "max_depth": "0"},
            "hyperparameter 'max_depth' must be greater than 0 for tree_method 'exact', got 0",
        ),
        (
            {"updater": "grow_colmaker,prune", "sampling_method": "gradient_based"},
            "sampling_method 'gradient_based' can only be used with tree_method 'hist' or 'approx', got 'exact'",
        ),
    ],
)
def test_rules_between_hyperparameters(given, sentence):
    assert refusal(**given) == sentence


@pytest.mark.parametrize(
    "given",
    [
        {**MULTI, "eval_metric": "merror,mlogloss,auc,accuracy,f1,precision_macro"},
        {"objective": "binary:logistic", "eval_metric": "auc,aucpr,error@0.7,logloss,map,ndcg,f1_binary,precision"},
        {"objective": "rank:pairwise", "eval_metric": "auc,ndcg@5,map-"},
        {"objective": "survival:aft", "eval_metric": "aft-nloglik,interval-regression-accuracy"},
        {"objective": "reg:logistic", "eval_metric": "auc,accuracy", "base_score": "0.5"},
        {"eval_metric": "mse,r2,rmse,mape,ndcg"},
        {**GBLINEAR, "updater": "coord_descent", "feature_selector": "greedy", "top_k": "2"},
        {"process_type": "update", "updater": "refresh,prune"},
        {"max_depth": "0", "grow_policy": "lossguide", "max_leaves": "8"},
        {"tree_method": "approx", "monotone_constraints": "(1,)", "interaction_constraints": "[[0]]"},
        {"_tuning_objective_metric": ""},
        {"_tuning_objective_metric": "train:mae"},
    ],
)
def test_what_goes_together(given):
    parse(**given)


def test_all_rules_that_are_broken():
    assert refusal(num_class="2", eval_metric="auc,foo", dsplit="col").count("; ") == 4
