"""Drives an image as its users do, through the SageMaker SDK's local mode; test_local_mode.py runs it and judges.

Usage: python local_mode.py IMAGE FOLDER, with a Python that has `sagemaker<3`. FOLDER holds `digits.npy`, (n, 784);
what the SDK gave back is left there in `answers.json`.
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
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer, JSONSerializer

TRAIN = 1000  # rows trained on; the rest are asked about
ASKED = 5  # rows of a request; batch transform sends all
# The SDK's only way to say that it must not report each call to its makers, over a network that may be absent.
DEFAULTS = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def estimator(image: str, folder: Path, instances: int) -> Estimator:
    """A job of so many containers, its artifact below `folder`."""
    session = LocalSession()
    session.config = {"local": {"local_code": True, "container_root": str(folder)}}
    return Estimator(
        image_uri=image,
        role="arn:aws:iam::000000000000:role/none",
        instance_count=instances,
        instance_type="local",
        output_path=f"file://{folder}/output-{instances}",
        sagemaker_session=session,
        hyperparameters={"k": 10, "feature_dim": 784},
    )


def fit(job: Estimator, folder: Path) -> dict[str, Any]:
    """Trains on RecordIO that the SDK wrote and scores CSV; the names in the artifact."""
    job.fit(
        {
            "train": TrainingInput(f"file://{folder}/train", content_type="application/x-recordio-protobuf"),
            "test": TrainingInput(f"file://{folder}/test", content_type="text/csv;label_size=0"),
        }
    )
    with tarfile.open(job.model_data.removeprefix("file://")) as archive:
        return {"artifact": sorted(member.name for member in archive if member.isfile())}


def predict(job: Estimator, rows: np.ndarray) -> dict[str, Any]:
    """The same rows asked about in each format: (cluster, distance) of each row, by the format's name."""
    predictor: Predictor = job.deploy(1, "local")

    def ask(serializer: Any, deserializer: Any, body: Any) -> Any:
        predictor.serializer, predictor.deserializer = serializer, deserializer
        return predictor.predict(body)

    def pairs(answer: Any) -> list[list[float]]:
        return [[one["closest_cluster"], one["distance_to_cluster"]] for one in answer["predictions"]]

    def values(record: Any) -> list[float]:
        labels = (record.label[name].float32_tensor.values for name in ("closest_cluster", "distance_to_cluster"))
        return [float(value) for label in labels for value in label]

    instances = {"instances": [{"features": row} for row in rows.tolist()]}
    try:
        return {
            "csv": pairs(ask(CSVSerializer(), JSONDeserializer(), rows.tolist())),
            "json": pairs(ask(JSONSerializer(), JSONDeserializer(), instances)),
            "recordio": [values(record) for record in ask(RecordSerializer(), RecordDeserializer(), rows)],
            "csv to csv": [list(map(float, line)) for line in ask(CSVSerializer(), CSVDeserializer(), rows.tolist())],
        }
    finally:
        predictor.delete_endpoint()


def transform(job: Estimator, folder: Path, strategy: str, source: str) -> str:
    """Batch transform of a CSV file, split by lines, in requests of at most 1 MB; the text that it assembled."""
    output = folder / f"transformed-{strategy}"
    transformer = job.transformer(
        1,
        "local",
        strategy=strategy,
        assemble_with="Line",
        accept="text/csv",
        max_payload=1,
        output_path=f"file://{output}",
    )
    # logs=False: the container's go to the terminal anyway, the SDK would look for them in CloudWatch
    transformer.transform(f"file://{folder}/{source}", content_type="text/csv", split_type="Line", logs=False)
    (answer,) = output.rglob("*.out")
    return answer.read_text()


def main(image: str, folder: Path) -> None:
    """All of it, in the order in which a user does it."""
    (folder / "defaults.yaml").write_text(json.dumps(DEFAULTS))  # JSON is YAML
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = str(folder / "defaults.yaml")
    digits = np.load(folder / "digits.npy")
    for name in ("train", "test", "all", "few"):
        (folder / name).mkdir()
    with (folder / "train/digits.pbr").open("wb") as file:
        write_numpy_to_dense_tensor(file, digits[:TRAIN].astype(np.float32))
    for name, rows in {"test": digits[TRAIN:], "all": digits, "few": digits[:ASKED]}.items():
        np.savetxt(folder / name / "digits.csv", rows, fmt="%d", delimiter=",")

    answers: dict[str, Any] = {}
    jobs = {instances: estimator(image, folder, instances) for instances in (1, 2)}
    for instances, job in jobs.items():
        answers[f"fit on {instances}"] = fit(job, folder)
    answers["predict"] = predict(jobs[1], digits[:ASKED].astype(np.float32))
    answers["predict, two instances"] = predict(jobs[2], digits[:ASKED].astype(np.float32))
    answers["MultiRecord"] = transform(jobs[1], folder, "MultiRecord", "all")
    answers["SingleRecord"] = transform(jobs[1], folder, "SingleRecord", "few")
    (folder / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
