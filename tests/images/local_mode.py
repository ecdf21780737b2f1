"""Drives an image as its users do, through the SageMaker SDK's local mode; conftest.py runs it, the tests judge.

Usage: python local_mode.py FOLDER, with a Python that has `sagemaker<3`. FOLDER holds the files of the plan and
`plan.json`:

    image
    jobs: name -> {estimator, instances, hyperparameters, channels: name -> {source, content_type}}; the estimator is
        one of the SDK's for built-in algorithms or null, for the one that takes any image; a source that is a .npz file
        (features, labels) is written as RecordIO by the SDK, any other is a folder that is given as it is
    endpoints: name -> {job, environment, asked (a .npz file), formats}; the format `as deployed` is that of the SDK's
        predictor of a built-in algorithm
    transforms: name -> {job, source, content_type, split_type, strategy, accept, assemble_with}

What the SDK gave back is left there: the models in `model-JOB/`, all answers in `answers.json` by these names.
"""

from __future__ import annotations

import functools
import io
import json
import os
import socket
import sys
import tarfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Local mode asks nobody, but boto3 wants a region and keys. Before the SDK is imported.
os.environ.update(
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="none",
    AWS_SECRET_ACCESS_KEY="none",
    SAGEMAKER_SUPPRESS_V2_WARNING="1",
)

import numpy as np
import sagemaker
from sagemaker import deserializers, serializers
from sagemaker.amazon import common
from sagemaker.amazon.amazon_estimator import AmazonAlgorithmEstimatorBase, RecordSet
from sagemaker.amazon.hyperparameter import Hyperparameter
from sagemaker.estimator import Estimator, EstimatorBase
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession, data, entities, local_session
from sagemaker.model import Model

RECORDIO = "application/x-recordio-protobuf"
# The SDK's only way to say that it must not report each call to its makers, over a network that may be absent.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
with socket.socket() as probe:
    probe.bind(("", 0))
    PORT = probe.getsockname()[1]  # free when we began; 8080, local mode's own, may be another's
FORMATS = {
    "csv": (serializers.CSVSerializer, deserializers.JSONDeserializer),
    "csv to csv": (serializers.CSVSerializer, deserializers.CSVDeserializer),
    "json": (serializers.JSONSerializer, deserializers.JSONDeserializer),
    "json lines": (serializers.JSONLinesSerializer, deserializers.JSONLinesDeserializer),
    "libsvm": (serializers.LibSVMSerializer, deserializers.JSONDeserializer),
    "recordio": (serializers.RecordSerializer, deserializers.RecordDeserializer),
}


class Frame(bytes):
    """A record of a file, in its frame; local mode can add it to the empty text that a request begins with."""

    def __radd__(self, before: bytes | str) -> bytes:
        return bytes(before or b"") + bytes(self)


def whole_records(path: str) -> Iterator[Frame]:
    """The records of a file, as the platform divides it.

    Local mode takes each out of its frame and cannot put several in one request: it ends in a TypeError.
    """
    with open(path, "rb") as file:
        for record in common.read_recordio(file):
            framed = io.BytesIO()
            common._write_recordio(framed, record)
            yield Frame(framed.getvalue())


def say(step: str) -> None:
    """Writes what comes next between what the SDK and the containers print."""
    sys.stdout.write(f"=== {step}\n")


def built_in(name: str, image: str) -> type[AmazonAlgorithmEstimatorBase]:
    """The SDK's own estimator of an algorithm; it takes no `image_uri`, so a user's script needs these two methods."""

    class Ours(getattr(sagemaker, name)):
        def training_image_uri(self) -> str:
            return image

        def create_model(self, **options: Any) -> Model:
            model = super().create_model(**options)
            model.image_uri = image
            return model

    return Ours


def estimator(image: str, folder: Path, name: str, job: dict[str, Any]) -> EstimatorBase:
    """A job, its artifact below `folder`."""
    session = LocalSession()
    session.config = {"local": {"local_code": True, "container_root": str(folder), "serving_port": PORT}}
    options = {
        "role": "arn:aws:iam::000000000000:role/none",
        "instance_count": job["instances"],
        "instance_type": "local",
        "output_path": f"file://{folder}/output-{name}",
        "sagemaker_session": session,
    }
    settings = job["hyperparameters"]
    if job["estimator"] is None:
        return Estimator(image_uri=image, hyperparameters=settings, **options)
    kind = built_in(job["estimator"], image)
    arguments = {
        known.name: argument for argument, known in attributes(kind).items() if isinstance(known, Hyperparameter)
    }
    named = {arguments[key]: value for key, value in settings.items() if key != "mini_batch_size"}
    return kind(data_location="s3://none", **named, **options)  # where it would put rows, had it to


def attributes(kind: type) -> dict[str, Any]:
    """All of a class and of those it is derived from."""
    return {name: value for each in reversed(kind.__mro__) for name, value in vars(each).items()}


def channel(folder: Path, source: str, content_type: str | None) -> TrainingInput:
    """A channel on files of this folder, written here if they are arrays."""
    return TrainingInput(f"file://{written(folder / source)}", content_type=content_type)


def written(source: Path) -> Path:
    """The folder of a source; arrays are written by the SDK, once."""
    folder = source.with_suffix("")
    if source.suffix == ".npz" and not folder.exists():
        folder.mkdir()
        arrays = np.load(source)
        with (folder / "rows.pbr").open("wb") as file:
            common.write_numpy_to_dense_tensor(file, arrays["features"], arrays.get("labels"))
    return folder


def record_set(folder: Path, name: str, source: str) -> RecordSet:
    """A channel as the built-in estimators want it; their `record_set()` would write it to S3."""
    n, d = np.load(folder / source)["features"].shape
    place = f"file://{written(folder / source)}"
    return RecordSet(place, n, d, s3_data_type="S3Prefix", channel=name, distribution="FullyReplicated")


def fit(job: EstimatorBase, folder: Path, name: str, plan: dict[str, Any]) -> None:
    """Trains, and unpacks the artifact."""
    if plan["estimator"] is None:
        job.fit({key: channel(folder, **value) for key, value in plan["channels"].items()})
    else:
        sets = [record_set(folder, key, value["source"]) for key, value in plan["channels"].items()]
        job.fit(sets, mini_batch_size=plan["hyperparameters"].get("mini_batch_size"))
    with tarfile.open(job.model_data.removeprefix("file://")) as archive:
        archive.extractall(folder / f"model-{name}", filter="data")


def predict(job: EstimatorBase, rows: np.ndarray, environment: dict[str, str], formats: list[str]) -> dict[str, Any]:
    """The same rows asked about in each format: the answers as the SDK gives them, by the format's name."""
    # wait=False here and below: local mode has waited for /ping and for the answers, more waiting is for the platform
    predictor = job.deploy(1, "local", env=environment, wait=False)
    records = [{"features": row} for row in rows.tolist()]
    bodies = {
        "as deployed": rows,
        "json": {"instances": records},
        "json lines": records,
        "libsvm": "\n".join(" ".join(f"{i}:{value}" for i, value in enumerate(row)) for row in rows.tolist()),
        "recordio": rows,
    }

    def ask(name: str) -> Any:
        if name != "as deployed":
            predictor.serializer, predictor.deserializer = (each() for each in FORMATS[name])
        answer = predictor.predict(bodies.get(name, rows.tolist()))
        return plain(answer) if bodies.get(name) is rows else answer

    try:
        return {name: ask(name) for name in formats} | {"predictor": type(predictor).__name__}
    finally:
        predictor.delete_endpoint()


def plain(records: list[Any]) -> list[dict[str, list[float]]]:
    """The labels of records, by their names."""
    return [{name: list(value.float32_tensor.values) for name, value in one.label.items()} for one in records]


def transform(job: EstimatorBase, folder: Path, name: str, plan: dict[str, Any]) -> Any:
    """Batch transform of a file, in requests of at most 1 MB: the text that it assembled, or the records."""
    output = folder / f"transformed-{name}"
    transformer = job.transformer(
        1,
        "local",
        strategy=plan["strategy"],
        assemble_with=plan["assemble_with"],
        accept=plan["accept"],
        max_payload=1,
        output_path=f"file://{output}",
    )
    transformer.transform(
        f"file://{written(folder / plan['source'])}",
        content_type=plan["content_type"],
        split_type=plan["split_type"],
        logs=False,  # the container's go to the terminal anyway, the SDK would look for them in CloudWatch
        wait=False,
    )
    (answer,) = output.rglob("*.out")
    if plan["accept"] != RECORDIO:
        return answer.read_text()
    with answer.open("rb") as file:
        return plain(common.read_records(file))


def impatient() -> None:
    """Local mode asks the engine where it is before each request, and a server each five seconds if it is ready."""
    entities.get_docker_host = local_session.get_docker_host = functools.cache(entities.get_docker_host)
    entities.time = SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 10))
    entities.HEALTH_CHECK_TIMEOUT_LIMIT *= 50  # attempts, for a slow machine five times what they would take


def main(folder: Path) -> None:
    """All of it, in the order in which a user does it."""
    (folder / "defaults.yaml").write_text(json.dumps(DEFAULTS))  # JSON is YAML
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(folder / "defaults.yaml")
    impatient()
    plan = json.loads((folder / "plan.json").read_text())

    jobs = {name: estimator(plan["image"], folder, name, job) for name, job in plan["jobs"].items()}
    for name, job in jobs.items():
        say(f"fit {name}")
        fit(job, folder, name, plan["jobs"][name])
    answers: dict[str, Any] = {}
    for name, each in plan["endpoints"].items():
        say(f"deploy {name}")
        rows = np.load(folder / each["asked"])["features"]
        answers[name] = predict(jobs[each["job"]], rows, each["environment"], each["formats"])
    unframed = data.RecordIOSplitter.split
    for name, each in plan["transforms"].items():
        say(f"transform {name}")
        multiple = each["strategy"] == "MultiRecord"
        data.RecordIOSplitter.split = (lambda _, path: whole_records(path)) if multiple else unframed
        answers[name] = transform(jobs[each["job"]], folder, name, each)
    say("done")
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # not `raise`: the thread of a container that still serves would keep the process
