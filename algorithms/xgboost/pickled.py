"""Models that older containers pickled: what a Booster's pickle holds, read without running what else it asks for.

The hosted containers up to 1.2 wrote `pickle.dump(booster)`. A pickle is a program; of what it may call, only what
those pickles call is admitted, and the Booster itself is a stand-in that keeps its state.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
from dataclasses import dataclass
from typing import Any

from formats import FormatError

_ADVICE = "Please save the model with `Booster.save_model` and deploy that file"
# Before the model itself a snapshot of XGBoost 1.0 to 1.2 has these bytes and, in 8 bytes, where its settings begin.
_OFFSET = b"CONFIG-offset:"
_UBJSON_MODEL = b"L\0\0\0\0\0\0\0\x05Model{"
_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a pickled Booster holds.

    model: as `save_model` of its version wrote it: UBJSON, JSON or the old binary format
    trees: `best_ntree_limit`, how many trees of each class the hosted container answered with; None means all
    """

    model: bytes
    trees: int | None


def is_pickle(content: bytes) -> bool:
    """Whether a file may be a pickle: protocol 2 and later say so, of protocol 0 it is how a Booster begins."""
    return (content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")) or content[:2] in (b"cc", b"cx")


def read(content: bytes) -> Pickled:
    """What is in a pickled Booster.

    Raises FormatError for anything else, before it has done any harm.
    """
    try:
        for opcode, argument, _ in pickletools.genops(content):
            # the memo is an array as long as its greatest index, whether the rest is used or not
            if opcode.name in ("PUT", "LONG_BINPUT") and (argument or 0) > len(content):
                raise FormatError(f"the pickle is damaged: it has a memo of {argument} entries")
        found = _Restricted(io.BytesIO(content), encoding="latin1").load()
    except FormatError:
        raise
    except _BROKEN as error:
        raise FormatError(f"the pickle is damaged or no Booster's: {str(error)[:200]}. {_ADVICE}") from None
    if not (isinstance(found, _Booster) and isinstance(found.state, dict)):
        raise FormatError(f"the pickle holds no Booster but {_kind(found)}. {_ADVICE}")
    snapshot = found.state.get("handle")
    if not isinstance(snapshot, bytes | bytearray):
        raise FormatError(f"the pickled Booster holds no model: its handle is {_kind(snapshot)}. {_ADVICE}")
    trees = found.state.get("best_ntree_limit")
    return Pickled(_model(bytes(snapshot)), trees if isinstance(trees, int) and 0 < trees < 2**31 else None)


def _model(snapshot: bytes) -> bytes:
    """The model without the settings of the process that made the snapshot (threads, GPU), which are not ours."""
    if snapshot.startswith(_OFFSET):
        start = len(_OFFSET) + 8
        return snapshot[start : start + int.from_bytes(snapshot[len(_OFFSET) : start], "little")]
    if snapshot.startswith(b'{"'):  # XGBoost 1.3 to 1.5
        try:
            parts = json.loads(snapshot)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"the pickled Booster is damaged: {error}") from None
        return json.dumps(parts["Model"]).encode() if "Model" in parts else snapshot
    start = snapshot.find(_UBJSON_MODEL)
    if snapshot.startswith(b"{") and start >= 0:
        return snapshot[start + len(_UBJSON_MODEL) - 1 : -1]
    return snapshot


class _Booster:
    """What `xgboost.core.Booster` becomes: nothing but the state that was pickled."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Restricted(pickle.Unpickler):
    """Admits a Booster and how Python 2 and 3 pickled its bytes."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "xgboost.core", "Booster":
                return _Booster
            case "builtins" | "__builtin__", "bytearray" | "bytes":
                return self._bytes
            case "_codecs", "encode":
                return self._bytes
            case "copyreg" | "copy_reg", "_reconstructor":
                return self._instance
            case "builtins" | "__builtin__", "object":
                return None
        raise FormatError(f"the pickle must hold an XGBoost Booster and nothing else, found {module}.{name}. {_ADVICE}")

    def _bytes(self, value: bytes | str = b"", encoding: str = "latin-1") -> bytes:
        """Bytes as themselves, or as the text of those code points that protocols 0 to 2 made of them."""
        if isinstance(value, bytes):
            return value
        if not (isinstance(value, str) and encoding in ("latin1", "latin-1")):
            raise TypeError("bytes must be pickled as bytes or as latin-1 text")
        return value.encode("latin-1")

    def _instance(self, kind: object, base: object, state: object) -> _Booster:
        """A new object of Python 2, before it has a state."""
        if kind is not _Booster:
            raise TypeError("only a Booster can be rebuilt")
        return _Booster()


def _kind(value: object) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__.lstrip('_')}"
