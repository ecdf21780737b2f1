"""One ZIP of JSON objects and of MXNet's arrays, which some hosted algorithms call `model_algo-1`: writing, reading."""

from __future__ import annotations

import errno
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.errors import UserError
from formats import FormatError, ndarray
from formats._finite import first_not_finite
from formats.batch import Dense

MAX_JSON = 1 << 20  # bytes; ours have a few thousand
MAX_RATIO = 20  # bytes that a byte of a packed file may become, beside what it may become whatever its size
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, NotImplementedError)


def write(path: Path, objects: Mapping[str, object], parameters: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Writes the members by name: JSON of each object, and the arrays in the one called `parameters`.

    Nothing is packed and all dates are one, so that the same model has the same bytes. C-contiguous arrays are not
    copied.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name in sorted([*objects, parameters]):
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, wherever this runs: it says how to read the next line
            member.external_attr = 0o644 << 16
            if name != parameters:
                file.writestr(member, json.dumps(objects[name], indent=2) + "\n")
                continue
            # the room for the size is laid out before it is known; besides the numbers less than 1 MiB is written
            large = sum(array.nbytes for array in arrays.values()) + (1 << 20) > zipfile.ZIP64_LIMIT
            with file.open(member, "w", force_zip64=large) as target:
                ndarray.write(target, arrays)


def graph(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    """The graph of these nodes, of which the last one is the output, as `Symbol.tojson` of MXNet 1.9.1 has it.

    A node's inputs are [number of the node, number of its output, version]; an argument's operator is "null".
    """
    return {
        "nodes": nodes,
        "arg_nodes": [number for number, node in enumerate(nodes) if node["op"] == "null"],
        "node_row_ptr": list(range(len(nodes) + 1)),
        "heads": [[len(nodes) - 1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }


@dataclass(frozen=True)
class Members:
    """The members of an open ZIP. What is wrong with one is a UserError that says what `kind` of model it should be.

    largest: bytes that arrays may have when unpacked, whatever the size of the file, in which zeros take little
    """

    path: Path
    kind: str
    largest: int
    file: zipfile.ZipFile

    def refusal(self, rule: str) -> UserError:
        """The sentence for a file that breaks a rule."""
        return UserError(f"{self.path} is not a {self.kind}: {rule}")

    def require(self, *names: str) -> None:
        """Raises UserError for the first of these members that is missing."""
        for name in names:
            if name not in self.file.namelist():
                raise self.refusal(f"'{name}' is missing in it")

    def object(self, name: str) -> dict[str, Any]:
        """A JSON object, without fields where the member is missing."""
        if name not in self.file.namelist():
            return {}
        content = self.file.read(self._checked(name, MAX_JSON))
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise self.refusal(f"'{name}' in it must be a JSON object")
        return found

    def arrays(self, name: str) -> dict[str, Dense]:
        """The arrays by name, or by their numbers where they have no names; as float32, C-contiguous and finite."""
        member = self._checked(name, self.largest + MAX_RATIO * self.path.stat().st_size)
        with self.file.open(member) as file:
            try:
                found = ndarray.read(file, member.file_size)
            except FormatError as error:
                while file.read(ndarray.PIECE):
                    pass  # to the checksum: where it is another one, the file is damaged, and that is said instead
                raise self.refusal(f"'{name}' in it: {error}") from None
        arrays = found if isinstance(found, dict) else {str(number): array for number, array in enumerate(found)}
        with np.errstate(over="ignore"):  # float64 beyond float32 is infinite, and refused as such
            converted = {key: np.asarray(arrays.pop(key), np.float32, order="C") for key in list(arrays)}
        if any(first_not_finite(array.reshape(-1).view(np.uint32)) >= 0 for array in converted.values()):
            raise self.refusal("it holds NaN or infinite numbers")
        return converted

    def _checked(self, name: str, most: int) -> zipfile.ZipInfo:
        """The entry of a member, of which `zipfile` unpacks no more than it declares."""
        member = self.file.getinfo(name)
        if member.file_size > most:
            raise self.refusal(f"'{name}' in it must have at most {most} bytes, got {member.file_size}")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.refusal(f"'{name}' in it must be stored or deflated, not encrypted")
        return member


@contextmanager
def opened(path: Path, kind: str, largest: int) -> Iterator[Members]:
    """The members of a ZIP, packed or not. Raises UserError, here or in the block, for a file that is none."""
    broken = f"{path} is not a {kind}: it must be a ZIP archive"
    try:
        with zipfile.ZipFile(path) as file:
            yield Members(path, kind, largest, file)
    except FileNotFoundError:
        raise UserError(f"no {kind} in {path.parent}: '{path.name}' is missing") from None
    except _BROKEN as error:
        raise UserError(f"{broken} ({str(error)[:100]})") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise UserError(f"{broken} (a place in it is before its beginning)") from None
