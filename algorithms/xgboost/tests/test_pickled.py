"""Pickles: a Booster's state comes out whole, and nothing that a pickle asks for is done."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
import xgboost

from algorithms.xgboost import pickled
from formats import FormatError

ARTIFACTS = Path(__file__).parent / "artifacts"


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def touch(path: str) -> None:
    Path(path).touch()


@pytest.mark.parametrize(
    ("file", "beginning", "trees"),
    [
        ("0.72.1-pairwise.pkl", b"\x9a\x99\x99>\4\0\0\0", 2),
        ("0.90-early.pkl", b"\0\0\0?\4\0\0\0", 2),  # one round of two trees
        ("0.90-python2.pkl", b"\0\0\0\x80\4\0\0\0", 3),  # the old binary format: base margin -0, 4 features
        ("0.90.pkl", b"\0\0\0\x80\4\0\0\0", 3),
        ("1.0.2.pkl", b"\0\0\0?\4\0\0\0", 3),
        ("1.2.1.pkl", b"binf\0\0\0?\4\0\0\0", 3),
        ("1.3.3.pkl", b'{"learner": {', 3),
        ("1.7.6.pkl", b"{L\0\0\0\0\0\0\0\7learner{", 3),
        ("1.7.6-protocol2.pkl", b"{L\0\0\0\0\0\0\0\7learner{", 3),
        ("2.1.4.pkl", b"{L\0\0\0\0\0\0\0\7learner{", None),
    ],
)
def test_real_pickles(file: str, beginning: bytes, trees: int | None) -> None:
    content = (ARTIFACTS / file).read_bytes()
    assert pickled.is_pickle(content)
    found = pickled.read(content)
    assert found.model.startswith(beginning)
    assert found.trees == trees


def test_a_pickle_of_the_installed_library() -> None:
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix([[0.0], [1.0]], label=[0.0, 1.0]), 2)
    for protocol in range(2, 6):
        content = pickle.dumps(booster, protocol)
        assert pickled.is_pickle(content)
        assert pickled.read(content) == pickled.Pickled(bytes(booster.save_raw("ubj")), None)
        again = xgboost.Booster(model_file=bytearray(pickled.read(content).model))
        assert again.save_raw() == booster.save_raw()


@pytest.mark.parametrize("file", ["0.90.model", "1.7.6.model", "1.0.2.json", "1.7.6.ubj", "README.md"])
def test_other_files_are_no_pickles(file: str) -> None:
    assert not pickled.is_pickle((ARTIFACTS / file).read_bytes())


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_called(protocol: int, tmp_path: Path) -> None:
    import os
    import subprocess

    witness = tmp_path / "witness"
    calls = [
        Call(os.system, f"touch {witness}"),
        Call(eval, f"open({str(witness)!r}, 'w')"),
        Call(subprocess.check_call, ["touch", str(witness)]),
        Call(touch, str(witness)),
        Call(getattr, os, "system"),
        Call(__import__, "os"),
    ]
    for call in calls:
        for content in (pickle.dumps(call, protocol) if call.function is not getattr else b"cc",):
            with pytest.raises(FormatError):
                pickled.read(content)
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"cposix\nsystem\n(S'true'\ntR.", "posix.system"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        (b"\x80\x04\x8c\x0cxgboost.core\x8c\x10Booster.__init__\x93.", "xgboost.core.Booster.__init__"),
        (b"\x80\x04\x8c\x0cxgboost.core\x8c\x06ctypes\x93.", "xgboost.core.ctypes"),
        (b"\x80\x04\x8c\x0fxgboost.sklearn\x8c\x0dXGBClassifier\x93)\x81.", "xgboost.sklearn.XGBClassifier"),
    ],
)
def test_other_names_are_refused(content: bytes, found: str) -> None:
    with pytest.raises(FormatError) as refused:
        pickled.read(content)
    assert str(refused.value) == (
        f"the pickle must hold an XGBoost Booster and nothing else, found {found}. Please save the model with "
        "`Booster.save_model` and deploy that file"
    )


def test_the_wrapper_of_scikit_learn_is_refused() -> None:
    with pytest.raises(
        FormatError, match=r"nothing else, found xgboost\.sklearn\.XGBRegressor\. Please save the model"
    ):
        pickled.read(pickle.dumps(xgboost.XGBRegressor()))


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({}, "the pickled Booster holds no model: its handle is nothing"),
        ({"handle": None}, "the pickled Booster holds no model: its handle is nothing"),
        ({"handle": "text"}, "the pickled Booster holds no model: its handle is an object of type str"),
        ({"handle": 7}, "the pickled Booster holds no model: its handle is an object of type int"),
        ([1], "the pickle holds no Booster but an object of type Booster"),
        ({"handle": bytearray(b'{"Config')}, "the pickled Booster is damaged: "),
    ],
)
def test_a_booster_of_an_odd_state_is_refused(state: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xgboost.Booster, "__getstate__", lambda booster: state)
    content = pickle.dumps(xgboost.Booster())
    with pytest.raises(FormatError) as refused:
        pickled.read(content)
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"\x80\x04]\x94(K\x01K\x02e.",
        b"\x80\x04\x8e\0\0\0\0\0\0\0\x10.",  # bytes of 2**60
        b"\x80\x04\x8a\xff" + b"\xff" * 255 + b".",
        b"\x80\x04}r\xff\xff\xff\x7f.",  # a memo of 2**31 entries
        b"\x80\x04}p4294967295\n.",
        b"\x80\x04" + b"]\x94" * 100 + b"a" * 99 + b".",
        b"\x80\x04\x82\x01.",  # the extension registry
        b"\x80\x04K\x01Q.",  # a persistent id
        b"\x80\x02cxgboost.core\nBooster\n(K\x01tR.",
        b"c__builtin__\nbytearray\n(I1000000000000\ntR.",
        b"c_codecs\nencode\n(S'YQ=='\nS'base64'\ntR.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\nbytearray\nc__builtin__\nobject\nNtR.",
        b"ccopy_reg\n_reconstructor\n(dS'__defaults__'\nI1\nsb.",
        b"cc",
        b"\x80\x05" + b"\xff" * 100,
    ],
)
def test_broken_and_odd_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        pickled.read(content)


def test_truncated_pickles_are_refused() -> None:
    content = (ARTIFACTS / "1.3.3.pkl").read_bytes()
    for size in range(2, len(content), 211):
        with pytest.raises(FormatError):
            pickled.read(content[:size])


def test_one_pickle_cannot_change_how_the_next_is_read() -> None:
    good = (ARTIFACTS / "0.90.pkl").read_bytes()
    before = pickled.read(good)
    for name in ("__setstate__", "_bytes", "__defaults__", "state"):
        for target in (b"cxgboost.core\nBooster\n", b"c__builtin__\nbytearray\n", b"ccopy_reg\n_reconstructor\n"):
            for state in (b"(dS'%s'\nNs" % name.encode(), b"(N(dS'%s'\nNst" % name.encode()):
                content = target + state + b"b."
                assert any(opcode.name == "BUILD" for opcode, _, _ in pickletools.genops(content))
                with pytest.raises(FormatError):
                    pickled.read(content)
    assert pickled.read(good) == before
