"""The guide's table "Linear Learner Hyperparameters", row by row, and the rules between its rows."""

import pytest

from algorithms.errors import UserError
from algorithms.linear_learner.hyperparameters import LOSSES, LinearLearnerHyperparameters

COUNT, COUNT_OR_AUTO, BOOLEAN = "an integer >= 1", "an integer >= 1 or auto", "true or false"
UP_TO_A_MILLION = "an integer in [1, 1000000]"
POSITIVE, POSITIVE_OR_AUTO, NOT_NEGATIVE_OR_AUTO = "a number > 0", "a number > 0 or auto", "a number >= 0 or auto"
NO_NUMBERS = ("abc", "", "nan", "inf", "-inf", "1e400", "None")
NO_COUNTS = ("0", "-1", "1.5", "1_0", *NO_NUMBERS)
NO_POSITIVES = ("0", "-1e-9", *NO_NUMBERS)
BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
NO_BOOLEANS = ("", "x", "2", "None")
TYPES = ("binary_classifier", "multiclass_classifier", "regressor")
CRITERIA = ("accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function")
REQUIRED = object()
GIVEN = {"predictor_type": "binary_classifier"}
# what a field needs beside it to be allowed
BESIDE = {"predictor_type": {"num_classes": "3"}}


def counts(name: str, default: object, tune: list[float] | None = None, auto: bool = True) -> tuple:
    """A row for an integer of at least 1."""
    rule, word = (COUNT_OR_AUTO, {"auto": "auto"}) if auto else (COUNT, {})
    return (name, default, rule, {"1": 1, "784": 784} | word, (*NO_COUNTS, *(() if auto else ("auto",))), tune)


def positive(name: str, default: object, tune: list[float] | None = None, auto: bool = False) -> tuple:
    """A row for a number above 0."""
    rule, word = (POSITIVE_OR_AUTO, {"auto": "auto"}) if auto else (POSITIVE, {})
    allowed = {"1e-9": 1e-9, "0.5": 0.5, "7": 7.0} | word
    return (name, default, rule, allowed, (*NO_POSITIVES, *(() if auto else ("auto",))), tune)


def not_negative(name: str, tune: list[float] | None = None) -> tuple:
    """A row for a number of at least 0, or auto."""
    allowed = {"0": 0.0, "0.0": 0.0, "1e-7": 1e-7, "10": 10.0, "auto": "auto"}
    return (name, "auto", NOT_NEGATIVE_OR_AUTO, allowed, ("-1e-9", *NO_NUMBERS), tune)


def decay(name: str) -> tuple:
    """A row for a number in [0, 1), or auto."""
    allowed = {"0": 0.0, "0.9": 0.9, "0.999999": 0.999999, "auto": "auto"}
    return (name, "auto", "a number >= 0 and < 1 or auto", allowed, ("-0.1", "1", "1.0", *NO_NUMBERS), None)


def boolean(name: str, default: bool, tune: list[str] | None = None) -> tuple:
    return (name, default, BOOLEAN, BOOLEANS, (*NO_BOOLEANS, "auto"), tune)


def boolean_or_auto(name: str, default: object) -> tuple:
    return (name, default, "true or false or auto", BOOLEANS | {"auto": "auto"}, (*NO_BOOLEANS, "Auto"), None)


def choice(name: str, default: object, names: tuple[str, ...], refused: tuple[str, ...]) -> tuple:
    return (name, default, f"one of {', '.join(names)}", {each: each for each in names}, ("", *refused), None)


# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
TABLE = [
    counts("feature_dim", "auto"),
    choice("predictor_type", REQUIRED, TYPES, ("Regressor", "classifier", "auto")),
    ("num_classes", 1, UP_TO_A_MILLION, {"3": 3, "1000000": 1_000_000}, ("1000001", "auto", *NO_COUNTS), None),
    boolean("force_dense", True),
    counts("epochs", 15, auto=False),
    counts("mini_batch_size", 1000, [100, 5000], auto=False),
    counts("num_models", "auto"),
    counts("early_stopping_patience", 3, auto=False),
    positive("early_stopping_tolerance", 0.001),
    positive("margin", 1.0),
    ("quantile", 0.5, "a number > 0 and < 1", {"0.01": 0.01, "0.9": 0.9}, ("1", "1.5", "auto", *NO_POSITIVES), None),
    positive("loss_insensitivity", 0.01),
    positive("huber_delta", 1.0),
    (
        "positive_example_weight_mult",
        1.0,
        "a number > 0 or one of balanced, auto",
        {"0.00001": 1e-5, "3": 3.0, "balanced": "balanced", "auto": "auto"},
        ("Balanced", *NO_POSITIVES),
        [1e-5, 1e5],
    ),
    boolean("balance_multiclass_weights", False),
    not_negative("wd", [1e-7, 1]),
    not_negative("l1", [1e-7, 1]),
    boolean("use_bias", True, ["True", "False"]),
    positive("bias_lr_mult", "auto", auto=True),
    not_negative("bias_wd_mult"),
    choice("optimizer", "auto", ("auto", "adam", "sgd", "rmsprop"), ("Adam", "adagrad")),
    positive("learning_rate", "auto", [1e-5, 1], auto=True),
    decay("momentum"),
    decay("beta_1"),
    decay("beta_2"),
    boolean("use_lr_scheduler", True),
    counts("lr_scheduler_step", "auto"),
    (
        "lr_scheduler_factor",
        "auto",
        "a number > 0 and < 1 or auto",
        {"0.01": 0.01, "0.99": 0.99, "auto": "auto"},
        ("1", "1.5", *NO_POSITIVES),
        None,
    ),
    positive("lr_scheduler_minimum_lr", "auto", auto=True),
    choice("init_method", "uniform", ("uniform", "normal"), ("gaussian", "auto")),
    positive("init_scale", 0.07),
    positive("init_sigma", 0.01),
    ("init_bias", 0.0, "a number", {"0": 0.0, "-1.5": -1.5, "2": 2.0}, ("auto", *NO_NUMBERS), None),
    boolean_or_auto("normalize_data", True),
    boolean_or_auto("normalize_label", "auto"),
    boolean_or_auto("unbias_data", "auto"),
    boolean_or_auto("unbias_label", "auto"),
    counts("num_point_for_scaler", 10_000, auto=False),
    choice(
        "binary_classifier_model_selection_criteria",
        "accuracy",
        (*CRITERIA, "f1", "cross_entropy_loss"),
        ("auc", "Accuracy", "auto"),
    ),
    ("target_recall", 0.8, "a number > 0 and <= 1", {"0.9": 0.9, "1": 1.0}, ("1.01", "auto", *NO_POSITIVES), None),
    ("target_precision", 0.8, "a number > 0 and <= 1", {"0.9": 0.9, "1": 1.0}, ("1.01", "auto", *NO_POSITIVES), None),
    positive("f_beta", 1.0),
    ("accuracy_top_k", 3, UP_TO_A_MILLION, {"1": 1, "5": 5}, ("1000001", "auto", *NO_COUNTS), None),
    counts("num_calibration_samples", "auto"),
]  # fmt: skip
# with a rule of its own for each predictor type, and one that the platform sets
OTHERS = {"loss", "seed", "_tuning_objective_metric"}


def parse(**given: object) -> LinearLearnerHyperparameters:
    return LinearLearnerHyperparameters.parse(GIVEN | given)


def refusal(**given: object) -> str:
    with pytest.raises(UserError) as error:
        parse(**given)
    return str(error.value)


def test_the_names_are_the_tables():
    assert set(LinearLearnerHyperparameters.names()) == {row[0] for row in TABLE} | OTHERS


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tune"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, allowed, refused, tune):
    field, beside = LinearLearnerHyperparameters.model_fields[name], BESIDE.get(name, {})
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        assert getattr(parse(), name) == default
        assert type(getattr(parse(), name)) is type(default)
    for text, value in allowed.items():
        found = getattr(parse(**beside, **{name: text}), name)
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        wanted = f"hyperparameter '{name}' must be {rule}, got '{text}'"
        assert refusal(**beside, **{name: text}) == wanted
    assert (field.json_schema_extra or {}).get("tune") == tune
    assert field.description


def test_the_predictor_type_is_all_that_is_required():
    with pytest.raises(UserError) as error:
        LinearLearnerHyperparameters.parse({})
    assert str(error.value) == f"hyperparameter 'predictor_type' is required: one of {', '.join(TYPES)}"


def test_what_the_hosted_service_logs_as_its_defaults_passes():
    parse(
        _kvstore="auto",
        _num_gpus="auto",
        _num_kv_servers="auto",
        _enable_profiler="false",
        _log_level="info",
        _data_format="record",
        force_dense="true",
        num_classes="1",
        unbias_label="auto",
    )


@pytest.mark.parametrize("value", [32, "32", '"32"'])
def test_spellings_of_an_integer(value):
    assert parse(num_models=value).num_models == 32


@pytest.mark.parametrize("value", [False, "false", "False", '"false"'])
def test_spellings_of_false_where_auto_is_allowed_too(value):
    assert parse(unbias_data=value).unbias_data is False


def test_true_is_not_a_number():
    assert refusal(wd=True) == f"hyperparameter 'wd' must be {NOT_NEGATIVE_OR_AUTO}, got 'true'"


@pytest.mark.parametrize(
    ("predictor_type", "auto"), [(TYPES[0], "logistic"), (TYPES[1], "softmax_loss"), (TYPES[2], "squared_loss")]
)
def test_losses_of_a_predictor_type(predictor_type, auto):
    given = {"predictor_type": predictor_type, "num_classes": "3"}
    assert parse(**given).loss_function == parse(**given, loss="auto").loss_function == auto
    for loss in LOSSES[predictor_type]:
        assert parse(**given, loss=loss).loss_function == loss
    for loss in {each for losses in LOSSES.values() for each in losses} - set(LOSSES[predictor_type]):
        allowed = f"one of auto, {', '.join(LOSSES[predictor_type])} for predictor_type '{predictor_type}'"
        assert refusal(**given, loss=loss) == f"hyperparameter 'loss' must be {allowed}, got '{loss}'"


def test_each_loss_that_is_allowed_belongs_to_one_predictor_type():
    names = ["auto", *(loss for losses in LOSSES.values() for loss in losses)]
    rule = LinearLearnerHyperparameters.rule("loss")
    assert sorted(rule.removeprefix("one of ").split(", ")) == sorted(names)
    assert refusal(loss="log") == f"hyperparameter 'loss' must be {rule}, got 'log'"


def test_the_number_of_classes():
    multiclass = {"predictor_type": "multiclass_classifier"}
    of = "for predictor_type 'multiclass_classifier'"
    rule = "an integer in [3, 1000000]"
    assert refusal(**multiclass) == f"hyperparameter 'num_classes' is required {of}: {rule}"
    for classes in "12":
        wanted = f"hyperparameter 'num_classes' must be {rule} {of}, got {classes}"
        assert refusal(**multiclass, num_classes=classes) == wanted
    assert parse(**multiclass, num_classes="3").num_classes == 3
    for predictor_type in ("binary_classifier", "regressor"):
        assert parse(predictor_type=predictor_type, num_classes="2").num_classes == 2  # ignored


def test_the_weight_of_positive_examples_by_its_two_names():
    assert parse(positive_example_weight="balanced").positive_example_weight_mult == "balanced"
    assert parse(positive_example_weight="2.5").values()["positive_example_weight_mult"] == 2.5
    both = refusal(positive_example_weight="2", positive_example_weight_mult="2")
    assert both == (
        "hyperparameters 'positive_example_weight_mult' and 'positive_example_weight' are the same; "
        "please set one of them"
    )


def test_criteria_by_the_guides_names():
    criteria = "binary_classifier_model_selection_criteria"
    for name in CRITERIA:
        assert parse(**{criteria: name}).criterion == name
    assert parse(**{criteria: "cross_entropy_loss"}).criterion == "loss_function"
    assert parse(**{criteria: "f1"}).criterion == "f_beta"
    assert parse(**{criteria: "f1", "f_beta": "1.0"}).f_beta == 1
    wrong = refusal(**{criteria: "f1", "f_beta": "0.5"})
    assert wrong == "hyperparameter 'f_beta' must be 1 for the criterion 'f1', got 0.5"
    assert parse(**{criteria: "f1", "f_beta": "0.5", "predictor_type": "regressor"}).f_beta == 0.5


def test_a_criterion_that_is_set_is_told_from_the_default():
    assert not parse().criterion_given
    assert parse(binary_classifier_model_selection_criteria="accuracy").criterion_given


def test_a_tuning_job_trains_one_model():
    assert parse().models == "auto"
    assert parse(num_models="8").models == 8
    tuned = parse(num_models="8", _tuning_objective_metric="validation:objective_loss")
    assert (tuned.models, tuned.num_models) == (1, 8)
    assert parse(num_models="8", _tuning_objective_metric="").models == 8


def test_all_faults_at_once():
    sentence = refusal(loss="softmax_loss", binary_classifier_model_selection_criteria="f1", f_beta="2")
    assert "'loss'" in sentence
    assert "'f_beta'" in sentence
    sentence = refusal(epochs="0", wd="-1", lerning_rate="1")
    assert "'epochs'" in sentence
    assert "'wd'" in sentence
    assert "did you mean 'learning_rate'?" in sentence
