"""Drives an image as its users do, through the SageMaker SDK's local mode; conftest.py runs it, the tests judge.

Usage: python local_mode.py FOLDER, with a Python that has `sagemaker<3`. FOLDER holds the files of the plan and
`plan.json`:

    image
    jobs: name -> {instances, hyperparameters, channels: name -> {source, content_type}}; a source that is a .npz file
        (features, labels) is written as RecordIO by the SDK, any other is a folder that is given as it is
    endpoints: name -> {job, environment, asked (a .npz file), formats}
    transforms: name -> {job, source (a folder of CSV), strategy, assemble_with}

What the SDK gave back is left there: the models in `model-JOB/`, all answers in `answers.json` by these names.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

# Local mode asks nobody, but boto3 wants a region and keys. Before the SDK is imported.
os.environ.update(
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="none",
    AWS_SECRET_ACCESS_KEY="none",
    SAGEMAKER_SUPPRESS_V2_WARNING="1",
)

import numpy as np
from sagemaker.amazon.common import RecordDeserializer, RecordSerializer, write_numpy_to_dense_tensor
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession
from sagemaker.serializers import CSVSerializer, JSONSerializer, LibSVMSerializer

RECORDIO = "application/x-recordio-protobuf"
# The SDK's only way to say that it must not report each call to its makers, over a network that may be absent.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
FORMATS = {
    "csv": (CSVSerializer, JSONDeserializer),
    "csv to csv": (CSVSerializer, CSVDeserializer),
    "json": (JSONSerializer, JSONDeserializer),
    "libsvm": (LibSVMSerializer, JSONDeserializer),
    "recordio": (RecordSerializer, RecordDeserializer),
}


def say(step: str) -> None:
    """Writes what comes next between what the SDK and the containers print."""
    sys.stdout.write(f"=== {step}\n")


def estimator(image: str, folder: Path, name: str, job: dict[str, Any]) -> Estimator:
    """A job, its artifact below `folder`."""
    session = LocalSession()
    session.config = {"local": {"local_code": True, "container_root": str(folder)}}
    return Estimator(
        image_uri=image,
        role="arn:aws:iam::000000000000:role/none",
        instance_count=job["instances"],
        instance_type="local",
        output_path=f"file://{folder}/output-{name}",
        sagemaker_session=session,
        hyperparameters=job["hyperparameters"],
    )


def channel(folder: Path, source: str, content_type: str | None) -> TrainingInput:
    """A channel on files of this folder, written here if they are arrays."""
    data = folder / source
    if data.suffix == ".npz":
        arrays, data = np.load(data), data.with_suffix("")
        data.mkdir(exist_ok=True)
        with (data / "rows.pbr").open("wb") as file:
            write_numpy_to_dense_tensor(file, arrays["features"], arrays.get("labels"))
    return TrainingInput(f"file://{data}", content_type=content_type)


def fit(job: Estimator, channels: dict[str, TrainingInput], model: Path) -> None:
    """Trains, and unpacks the artifact."""
    job.fit(channels)
    with tarfile.open(job.model_data.removeprefix("file://")) as archive:
        archive.extractall(model, filter="data")


def predict(job: Estimator, rows: np.ndarray, environment: dict[str, str], formats: list[str]) -> dict[str, Any]:
    """The same rows asked about in each format: the answers as the SDK gives them, by the format's name."""
    # wait=False here and below: local mode has waited for /ping and for the answers, more waiting is for the platform
    predictor = job.deploy(1, "local", env=environment, wait=False)
    bodies = {
        "json": {"instances": [{"features": row} for row in rows.tolist()]},
        "libsvm": "\n".join(" ".join(f"{i}:{value}" for i, value in enumerate(row)) for row in rows.tolist()),
        "recordio": rows,
    }

    def ask(name: str) -> Any:
        predictor.serializer, predictor.deserializer = (each() for each in FORMATS[name])
        answer = predictor.predict(bodies.get(name, rows.tolist()))
        if name != "recordio":
            return answer
        return [{name: list(value.float32_tensor.values) for name, value in one.label.items()} for one in answer]

    try:
        return {name: ask(name) for name in formats}
    finally:
        predictor.delete_endpoint()


def transform(job: Estimator, source: Path, output: Path, strategy: str, assemble_with: str | None) -> str:
    """Batch transform of a CSV file, split by lines, in requests of at most 1 MB; the text that it assembled."""
    transformer = job.transformer(
        1,
        "local",
        strategy=strategy,
        assemble_with=assemble_with,
        accept="text/csv",
        max_payload=1,
        output_path=f"file://{output}",
    )
    # logs=False: the container's go to the terminal anyway, the SDK would look for them in CloudWatch
    transformer.transform(f"file://{source}", content_type="text/csv", split_type="Line", logs=False, wait=False)
    (answer,) = output.rglob("*.out")
    return answer.read_text()


def main(folder: Path) -> None:
    """All of it, in the order in which a user does it."""
    (folder / "defaults.yaml").write_text(json.dumps(DEFAULTS))  # JSON is YAML
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(folder / "defaults.yaml")
    plan = json.loads((folder / "plan.json").read_text())

    jobs = {name: estimator(plan["image"], folder, name, job) for name, job in plan["jobs"].items()}
    for name, job in jobs.items():
        say(f"fit {name}")
        fit(
            job,
            {key: channel(folder, **value) for key, value in plan["jobs"][name]["channels"].items()},
            folder / f"model-{name}",
        )
    answers: dict[str, Any] = {}
    for name, each in plan["endpoints"].items():
        say(f"deploy {name}")
        rows = np.load(folder / each["asked"])["features"]
        answers[name] = predict(jobs[each["job"]], rows, each["environment"], each["formats"])
    for name, each in plan["transforms"].items():
        say(f"transform {name}")
        answers[name] = transform(
            jobs[each["job"]], folder / each["source"], folder / name, each["strategy"], each["assemble_with"]
        )
    say("done")
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
