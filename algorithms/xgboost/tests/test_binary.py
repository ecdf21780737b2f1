"""The old binary format: one model by hand, real files of eight versions, and a sentence for every damaged byte."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import xgboost

from algorithms.xgboost import binary, pickled, structure, ubjson, upgrade
from formats import FormatError

ARTIFACTS = Path(__file__).parent / "artifacts"
EXPECTED = json.loads((ARTIFACTS / "expected.json").read_text())
FILES = [name for name in EXPECTED if name.endswith(".model")]
LOGIT = np.float32(np.log(3 / 7))  # of 0.3


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def node(parent: int, left: int, right: int, split: int, value: float) -> bytes:
    return struct.pack("<IiiIf", parent, left, right, split, value)


STUMP = struct.pack("<6i124x", 1, 3, 0, 1, 2, 0)
# x[1] < 0.5 -> -1, else and missing -> 3
RIGHT = node(0xFFFFFFFF, 1, 2, 1, 0.5) + node(0x80000000, -1, -1, 0, -1.0) + node(0, -1, -1, 0, 3.0)
LEFT = RIGHT[:12] + struct.pack("<I", 0x80000001) + RIGHT[16:]  # the same, and missing -> -1
STATISTICS = struct.pack("<fffi", 0.0, 1.0, 0.0, 0) * 3


def stumps(
    objective: str = "reg:linear", base: float = 0.5, tail: bytes = b"", flags: tuple[int, int] = (0, 0)
) -> bytes:
    """As XGBoost 0.90 writes two trees over two features."""
    learner = struct.pack("<fIiii116x", base, 2, 0, *flags) + text(objective) + text("gbtree")
    forest = struct.pack("<6iii128x", 2, 1, 2, 0, 0, 0, 1, 0)
    return learner + forest + STUMP + RIGHT + STATISTICS + STUMP + LEFT + STATISTICS + bytes(8) + tail


def load(content: bytes) -> xgboost.Booster:
    converted = binary.to_ubjson(content)
    structure.check(ubjson.parse(converted))
    with xgboost.config_context(verbosity=0):
        return xgboost.Booster(model_file=bytearray(converted))


def margins(content: bytes, rows: list[list[float]]) -> list[float]:
    found: list[float] = load(content).predict(xgboost.DMatrix(np.array(rows)), output_margin=True).tolist()
    return found


def test_two_stumps_by_hand() -> None:
    rows = [[9.0, 0.0], [9.0, 1.0], [9.0, np.nan]]
    assert margins(stumps(), rows) == [-1.5, 6.5, 2.5]
    assert margins(b"binf" + stumps(), rows) == [-1.5, 6.5, 2.5]
    assert binary.is_binary(stumps())
    assert binary.is_binary(b"binf" + stumps())


def test_what_follows_the_trees() -> None:
    attributes = struct.pack("<Q", 3) + text("best_iteration") + text("1") + text("count_poisson_max_delta_step")
    attributes += text("0.7") + text("SAVED_PARAM_predictor") + text("cpu_predictor")
    tail = attributes + text("0.7") + struct.pack("<Q", 2) + text("mae") + text("rmse")
    booster = load(stumps("count:poisson", 0.0, tail, (1, 1)))
    assert booster.attributes() == {"best_iteration": "1", "best_ntree_limit": "2"}
    assert margins(stumps("count:poisson", 0.0, tail, (1, 1)), [[0.0, 1.0]]) == [6.0]


@pytest.mark.parametrize("objective", ["reg:linear", "gpu:reg:linear", "reg:squarederror"])
def test_old_names_of_an_objective(objective: str) -> None:
    learner = json.loads(load(stumps(objective)).save_config())["learner"]
    assert learner["objective"]["name"] == "reg:squarederror"


@pytest.mark.parametrize("file", FILES)
def test_real_files(file: str) -> None:
    rows = np.array(EXPECTED[file]["rows"], np.float32)
    answers = load((ARTIFACTS / file).read_bytes()).predict(xgboost.DMatrix(rows))
    exact = file.startswith(("1.3", "1.7"))  # versions up to 1.2 add up the trees in another order
    np.testing.assert_allclose(
        answers, EXPECTED[file]["predictions"], rtol=0 if exact else 3e-7, atol=0 if exact else 1e-7
    )


@pytest.mark.parametrize(
    "file", [*FILES, *(name for name in EXPECTED if name.startswith(("0", "1.0", "1.2")) and name.endswith(".pkl"))]
)
def test_real_files_are_told_from_others(file: str) -> None:
    content = (ARTIFACTS / file).read_bytes()
    assert binary.is_binary(pickled.read(content).model if pickled.is_pickle(content) else content)


@pytest.mark.parametrize("file", ["1.0.2.json", "1.7.6.ubj", "1.7.6.pkl", "0.90.pkl", "README.md"])
def test_other_files_are_not_binary(file: str) -> None:
    assert not binary.is_binary((ARTIFACTS / file).read_bytes())


def test_pruned_nodes_stay_deleted() -> None:
    document = binary.document((ARTIFACTS / "0.90-pruned.model").read_bytes())
    trees = document["learner"]["gradient_booster"]["model"]["trees"]
    deleted = [int(tree["tree_param"]["num_deleted"]) for tree in trees]
    assert sum(deleted) > 0
    assert deleted == [int((tree["split_indices"] == upgrade.DELETED).sum()) for tree in trees]


@pytest.mark.parametrize(
    ("objective", "version", "stored", "expected"),
    [
        ("reg:squarederror", (0, 90), 0.3, 0.3),
        ("multi:softprob", (0, 90), 0.3, 0.3),
        ("binary:hinge", (0, 90), 0.3, 0.3),
        ("rank:pairwise", (0, 90), 0.3, 0.3),
        ("binary:logistic", (0, 90), LOGIT, 0.3),
        ("binary:logistic", (1, 0), 0.3, 0.3),
        ("binary:logistic", (0, 90), -0.0, 0.5),
        ("reg:tweedie", (0, 90), np.log(np.float32(0.3)), 0.3),
        ("reg:gamma", (1, 7), 0.3, 0.3),
        ("binary:logitraw", (0, 90), LOGIT, LOGIT),  # the margin
        ("binary:logitraw", (1, 2), 0.3, LOGIT),  # its logit was the margin
        ("binary:logitraw", (1, 3), 0.3, 0.3),
    ],
)
def test_base_score(objective: str, version: tuple[int, int], stored: float, expected: float) -> None:
    np.testing.assert_allclose(upgrade.base_score(stored, objective, version), np.float32(expected), rtol=2e-7)


@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson"])
@pytest.mark.parametrize("margin", [-13.8155, -1.0, -0.8472978, 0.1, 1.3])
def test_the_library_gets_the_margin_back(objective: str, margin: float) -> None:
    tail = text("0.7") if objective == "count:poisson" else b""
    (found,) = margins(stumps(objective, margin, tail), [[0.0, np.nan]])
    np.testing.assert_allclose(found, margin + 2, atol=1e-6 + abs(margin) * 2e-7)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (stumps()[:-1], "the model is cut short or damaged: 8 bytes must follow byte "),
        (stumps()[:8] + b"\0\0\0\x7f" + stumps()[12:], "it is damaged: it has 2130706432 classes or targets and 2"),
        (stumps()[:100], "the model is cut short or damaged: 136 bytes must follow byte 0"),
        (stumps() + b"\0", "expected the end of the model at byte "),
        (stumps(base=np.nan), "it is damaged: its base score is nan"),
        (stumps(base=np.inf), "it is damaged: its base score is inf"),
        (stumps().replace(b"gbtree", b"gbmany"), "its booster must be gbtree, dart or gblinear, found 'gbmany'"),
        (stumps().replace(b"reg:linear", b"reg:\xff\xffnear"), "the model is damaged: the text before byte "),
        (stumps().replace(STUMP, struct.pack("<6i124x", 2, 3, 0, 1, 2, 0)), "tree 0 is damaged: it has 2 roots"),
        (stumps().replace(STUMP, struct.pack("<6i124x", 1, -3, 0, 1, 2, 0)), "tree 0 is damaged: it has 1 roots, -3"),
        (stumps().replace(STUMP, struct.pack("<6i124x", 1, 3, 1, 1, 2, 0)), "tree 0 is damaged: its deleted nodes"),
        (stumps().replace(LEFT, LEFT[:20] + b"\3\0\0\0" + LEFT[24:]), "tree 1 is damaged: it has 3 nodes and a parent"),
        (stumps().replace(struct.pack("<ii", 1, 0) + bytes(128), struct.pack("<ii", 1, 4) + bytes(128)), "its leaves"),
        (stumps(tail=struct.pack("<Q", 2**63), flags=(1, 0)), "the model is cut short or damaged: 8 bytes must follow"),
        (
            stumps(tail=struct.pack("<QQ", 1, 2**63), flags=(1, 0)),
            "the model is cut short or damaged: 9223372036854775",
        ),
    ],
)
def test_damage_is_named(content: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as refused:
        binary.to_ubjson(content)
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", FILES)
def test_no_damaged_byte_ends_the_process(file: str) -> None:
    content = (ARTIFACTS / file).read_bytes()
    rng = np.random.default_rng(0)
    for size in rng.integers(0, len(content), 20):
        with pytest.raises(FormatError):
            binary.to_ubjson(content[:size])
    refused = 0
    for at in np.concatenate([rng.integers(0, 320, 20), rng.integers(0, len(content), 60)]):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(0, 8)
        try:
            booster = load(bytes(damaged))
            if booster.num_features() == 4:
                booster.predict(xgboost.DMatrix(np.zeros((3, 4), np.float32)))
        except (FormatError, xgboost.core.XGBoostError, UnicodeDecodeError):
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"objective": {}}, "it is no XGBoost model, or damaged: KeyError 'name'"),
        ({"objective": None}, "it is no XGBoost model, or damaged: TypeError "),
        ({"attributes": None}, "it is no XGBoost model, or damaged: TypeError "),
        ({"learner_model_param": {"base_score": "x"}}, "it is no XGBoost model, or damaged: ValueError "),
        ({"learner_model_param": {"base_score": "nan", "num_class": "0"}}, "it is damaged: its base score is nan"),
    ],
)
def test_a_damaged_document_is_named(change: dict[str, object], problem: str) -> None:
    document = json.loads((ARTIFACTS / "1.0.2.json").read_text())
    document["learner"].update(change)
    with pytest.raises(FormatError) as refused:
        upgrade.mend(document)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize("version", [None, [], [1], [1, 5, 0], [2, 0, 0], [3, 2, 0], ["1", 0, 0]])
def test_newer_documents_are_left_alone(version: object) -> None:
    document = json.loads((ARTIFACTS / "1.0.2.json").read_text()) | {"version": version}
    before = json.dumps(document)
    assert not upgrade.mend(document)
    assert json.dumps(document) == before
