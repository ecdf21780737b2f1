"""The model folder: the algorithm's own file, as the hosted service writes it, and our `manifest.json` beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

import algorithms
from algorithms.algorithm import Algorithm, Model
from algorithms.errors import PlatformError, UserError
from algorithms.hyperparameters import Hyperparameters
from formats import Batch, Expected, json

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
_STAGING = ".partial"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model read from its folder; `sample` is the manifest's, None for a model of the hosted service."""

    algorithm: Algorithm
    model: Model
    sample: dict[str, Any] | None

    def self_test(self) -> None:
        """Answers the stored sample and raises RuntimeError unless the answer is the one given at training time."""
        if self.sample is None:
            return
        request = json.decode(orjson.dumps(self.sample["request"]), Expected(self.model.width))
        expected = self.sample["response"][self.algorithm.wrapper]
        answers = self.algorithm.self_test(self.model, request)
        for name, column in answers.items():
            wanted = np.array([row[name] for row in expected], np.float64)
            # another CPU rounds sums otherwise: by a share of the greatest term, however small the sum
            scale = max(1.0, float(np.abs(wanted).max()))
            if not np.allclose(column, wanted, rtol=1e-4, atol=1e-5 * scale):
                raise RuntimeError(
                    f"the model answers its stored sample with {name} = {column.tolist()}, at training time it was "
                    f"{wanted.tolist()}; the model files were changed or damaged"
                )


def save(
    directory: Path, algorithm: Algorithm, hyperparameters: Hyperparameters, model: Model, sample: Batch | None
) -> None:
    """Writes the whole artifact or, whatever happens, nothing. Raises PlatformError if the folder cannot be written."""
    manifest = {
        "suite": "inbuilt",
        "suite_version": version("inbuilt"),
        "format_version": FORMAT_VERSION,
        "algorithm": algorithm.name,
        "feature_dim": model.width,
        "hyperparameters": hyperparameters.values(),
    }
    if sample is not None:
        response = json.encode(algorithm.self_test(model, sample), algorithm.wrapper, None)
        manifest["sample"] = {"request": _request(sample), "response": orjson.loads(response)}
    before = _files_of(directory / MANIFEST)
    with staged(directory) as staging:
        model.save(staging)
        files = sorted(path.name for path in staging.iterdir())
        manifest["files"] = files
        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
        (staging / MANIFEST).write_bytes(orjson.dumps(manifest, option=options))
    for name in before.difference(files):
        (directory / name).unlink(missing_ok=True)  # of the job before, which had more of them


def _files_of(path: Path) -> set[str]:
    """The files of the model whose manifest this is; none if it is no manifest of ours."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        names = orjson.loads(path.read_bytes()).get("files", [])
        return {name for name in names if Path(name).name == name}
    return set()


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """A folder whose files move into `directory` when the block ends well, and vanish when it does not."""
    staging = directory / _STAGING
    moved: list[Path] = []
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a job that was killed while it saved
        staging.mkdir(parents=True)
        try:
            yield staging
            for path in sorted(staging.iterdir(), key=lambda path: path.name == MANIFEST):  # last: it says all is there
                target = directory / path.name
                path.replace(target)
                moved.append(target)
        except OSError:
            for path in moved:
                path.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise PlatformError(f"cannot write the model to {directory}: {error.strerror or error}") from error


def load(directory: Path, name: str) -> LoadedModel:
    """The model in a folder, of the algorithm `name` or, if that is empty, of the one that the manifest names.

    Raises UserError for a folder that holds no model of that algorithm.
    """
    manifest = _manifest(directory / MANIFEST)
    algorithm = algorithms.find(name or str(manifest.get("algorithm", "")))
    trained_by = manifest.get("algorithm", algorithm.name)
    if trained_by != algorithm.name:
        raise UserError(f"the model in {directory} was trained by {trained_by}; this container serves {algorithm.name}")
    found = manifest.get("format_version", FORMAT_VERSION)
    if not (isinstance(found, int) and found <= FORMAT_VERSION):
        raise UserError(
            f"{MANIFEST}: format_version must be at most {FORMAT_VERSION}, got {found}; "
            "serve this model with the version of Inbuilt that trained it, or a newer one"
        )
    try:
        return LoadedModel(algorithm, algorithm.load(directory), manifest.get("sample"))
    except OSError as error:
        raise UserError(f"cannot read the model in {directory}: {error}") from None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} must be a JSON object: {error}") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path} must be a JSON object, got {type(manifest).__name__}")
    return manifest


def _request(sample: Batch) -> dict[str, Any]:
    """The rows as a JSON request, sparse ones sparse."""
    if isinstance(sample.features, np.ndarray):
        return {"instances": [{"features": row} for row in sample.features]}
    rows = [sample.features[[i]] for i in range(len(sample))]
    tensors = [{"keys": row.indices, "shape": [sample.width], "values": row.data} for row in rows]
    return {"instances": [{"data": {"features": tensor}} for tensor in tensors]}
