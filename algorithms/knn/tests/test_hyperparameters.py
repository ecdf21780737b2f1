"""The guide's table "K-Nearest Neighbors Hyperparameters", row by row, and the rules between its rows."""

import pytest

from algorithms.errors import UserError
from algorithms.knn.hyperparameters import KNNHyperparameters

POSITIVE, POSITIVE_OR_AUTO = "an integer >= 1", "an integer >= 1 or auto"
NO_POSITIVE_INTEGERS = ("0", "-1", "1.5", "abc", "", "nan", "inf", "1e400")
PQ_M = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)
METRICS, INDEXES = ("L2", "INNER_PRODUCT", "COSINE"), ("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ")
REQUIRED = object()
GIVEN = {"k": "10", "predictor_type": "classifier", "sample_size": "2000000000", "feature_dim": "100"}
# what a field needs beside it to be allowed
BESIDE = {
    "dimension_reduction_type": {"dimension_reduction_target": "10"},
    "dimension_reduction_target": {"dimension_reduction_type": "sign"},
    "faiss_index_pq_m": {"index_type": "faiss.IVFPQ"},
    "faiss_index_ivf_nlists": {"index_type": "faiss.IVFFlat"},
}

# name, default, rule, allowed text -> value, refused texts, the guide's tuning range
TABLE = [
    ("feature_dim", "auto", POSITIVE_OR_AUTO, {"11": 11, "784": 784, "auto": "auto"}, NO_POSITIVE_INTEGERS, None),
    ("k", REQUIRED, POSITIVE, {"1": 1, "1024": 1024}, (*NO_POSITIVE_INTEGERS, "auto"), [1, 1024]),
    (
        "predictor_type",
        REQUIRED,
        "one of classifier, regressor",
        {"classifier": "classifier", "regressor": "regressor"},
        ("", "Classifier", "binary_classifier"),
        None,
    ),
    ("sample_size", REQUIRED, POSITIVE, {"10": 10, "20000000": 20000000}, NO_POSITIVE_INTEGERS, [256, 20000000]),
    ("dimension_reduction_type", None, "one of none, sign, fjlt", {"sign": "sign", "fjlt": "fjlt"}, ("pca", ""), None),
    ("dimension_reduction_target", None, "an integer > 0", {"1": 1, "99": 99}, NO_POSITIVE_INTEGERS, None),
    ("faiss_index_ivf_nlists", "auto", POSITIVE_OR_AUTO, {"auto": "auto", "500": 500}, NO_POSITIVE_INTEGERS, None),
    (
        "faiss_index_pq_m",
        8,
        f"one of {', '.join(map(str, PQ_M))}",
        {str(m): m for m in PQ_M},
        ("0", "5", "6", "97", "auto", "", "8.5"),
        None,
    ),
    ("index_metric", "L2", f"one of {', '.join(METRICS)}", {name: name for name in METRICS}, ("l2", "", "L1"), None),
    ("index_type", "faiss.Flat", f"one of {', '.join(INDEXES)}", {name: name for name in INDEXES}, ("Flat", ""), None),
    ("mini_batch_size", 5000, POSITIVE, {"1": 1, "15000": 15000}, NO_POSITIVE_INTEGERS, None),
]  # fmt: skip
OURS = {"seed", "nprobe", "ties"}


def parse(**given: object) -> KNNHyperparameters:
    return KNNHyperparameters.parse(GIVEN | given)


def refusal(**given: object) -> str:
    with pytest.raises(UserError) as error:
        parse(**given)
    return str(error.value)


def test_the_names_are_the_tables_and_three_more():
    assert set(KNNHyperparameters.model_fields) == {row[0] for row in TABLE} | OURS


@pytest.mark.parametrize(
    ("name", "default", "rule", "allowed", "refused", "tune"), TABLE, ids=[row[0] for row in TABLE]
)
def test_row_of_the_table(name, default, rule, allowed, refused, tune):
    field, beside = KNNHyperparameters.model_fields[name], BESIDE.get(name, {})
    assert field.is_required() == (default is REQUIRED)
    if default is not REQUIRED:
        bare = {key: value for key, value in GIVEN.items() if key != name}
        assert getattr(KNNHyperparameters.parse(bare), name) == default
    for text, value in allowed.items():
        found = getattr(parse(**beside, **{name: text}), name)
        assert found == value
        assert type(found) is type(value)
    for text in refused:
        wanted = f"hyperparameter '{name}' must be {rule}, got '{text}'"
        assert refusal(**beside, **{name: text}) == wanted
    assert (field.json_schema_extra or {}).get("tune") == tune
    assert field.description


@pytest.mark.parametrize("name", ["k", "predictor_type", "sample_size"])
def test_required(name):
    with pytest.raises(UserError) as error:
        KNNHyperparameters.parse({key: value for key, value in GIVEN.items() if key != name})
    assert str(error.value) == f"hyperparameter '{name}' is required: {KNNHyperparameters.rule(name)}"


def test_the_hosted_services_hidden_names_pass():
    assert parse(_faiss_index_nprobe="12").nprobe == 12
    assert parse().nprobe == 5
    rule = "an integer in [1, 2147483647]"
    assert refusal(_faiss_index_nprobe="0") == f"hyperparameter '_faiss_index_nprobe' must be {rule}, got '0'"
    parse(_kvstore="dist_async", _num_kv_servers="1", _enable_profiler="false", _tuning_objective_metric="test:mse")


PQ = {"index_type": "faiss.IVFPQ"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"k": "11", "sample_size": "10"}, "'k' must be at most sample_size, 10, got 11"),
        (
            {"dimension_reduction_type": "sign"},
            "'dimension_reduction_target' is required for dimension_reduction_type 'sign'",
        ),
        (
            {"dimension_reduction_target": "10"},
            "'dimension_reduction_type' is required where dimension_reduction_target is set",
        ),
        (
            {"dimension_reduction_target": "100", "dimension_reduction_type": "sign"},
            "'dimension_reduction_target' must be less than feature_dim, 100, got 100",
        ),
        (
            {"dimension_reduction_target": "999", "dimension_reduction_type": "fjlt"},
            "'dimension_reduction_target' must be less than feature_dim, 100, got 999",
        ),
        ({"index_metric": "COSINE"} | PQ, "'index_metric' must be L2 for index_type 'faiss.IVFPQ', got 'COSINE'"),
        (
            {"index_metric": "INNER_PRODUCT"} | PQ,
            "'index_metric' must be L2 for index_type 'faiss.IVFPQ', got 'INNER_PRODUCT'",
        ),
        ({"sample_size": "255"} | PQ, "'sample_size' must be >= 256 for index_type 'faiss.IVFPQ', got 255"),
        (
            {"sample_size": "20", "faiss_index_ivf_nlists": "21", "index_type": "faiss.IVFFlat"},
            "'faiss_index_ivf_nlists' must be at most sample_size, 20, got 21",
        ),
    ],
)
def test_rules_between_fields(given, sentence):
    assert refusal(**given) == f"hyperparameter {sentence}"


def test_the_rules_end_where_they_say():
    assert parse(k="10", sample_size="10").k == 10
    assert parse(sample_size="256", **PQ).sample_size == 256
    assert parse(dimension_reduction_type="sign", dimension_reduction_target="99").dimension_reduction_target == 99
    assert parse(sample_size="20", faiss_index_ivf_nlists="20", index_type="faiss.IVFFlat").faiss_index_ivf_nlists == 20
    assert parse(dimension_reduction_type="none").dimension_reduction_target is None


def test_a_target_for_a_width_that_is_not_known_yet():
    found = parse(feature_dim="auto", dimension_reduction_type="sign", dimension_reduction_target="5000")
    assert found.dimension_reduction_target == 5000


def test_settings_of_indexes_that_are_not_asked_for_pass():
    """A tuner or an old script sends them all."""
    assert parse(faiss_index_ivf_nlists="20", faiss_index_pq_m="16").index_type == "faiss.Flat"


def test_all_faults_between_fields_at_once():
    sentence = refusal(k="3", sample_size="2", index_metric="COSINE", index_type="faiss.IVFPQ")
    assert "'k'" in sentence
    assert "'index_metric'" in sentence
