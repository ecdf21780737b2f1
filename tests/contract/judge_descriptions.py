"""Judges what `describe` prints by botocore's service model and the SageMaker SDK; runs in the SDK's environment.

Reads {name: [request, hyperparameters]} from standard input; writes {name: [faults, hyperparameters]}, the latter as an
estimator made from the request sends them.
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

sys.path.append(str(Path(__file__).parents[1]))

from judge_requests import faults
from sagemaker.algorithm import AlgorithmEstimator


def sent(request: dict[str, Any], hyperparameters: dict[str, str]) -> dict[str, str]:
    """The hyperparameters with the defaults that the SDK adds; it refuses unknown names and values out of range."""
    session = MagicMock(sagemaker_config={}, boto_region_name="eu-west-1")
    session.sagemaker_client.describe_algorithm.return_value = request
    estimator = AlgorithmEstimator(
        "arn:aws:sagemaker:eu-west-1:000000000000:algorithm/any",
        "arn:aws:iam::000000000000:role/any",
        1,
        "ml.m5.xlarge",
        sagemaker_session=session,
        hyperparameters=hyperparameters,
    )
    return {name: str(value) for name, value in estimator.hyperparameters().items()}


if __name__ == "__main__":
    judged = {
        name: [faults("sagemaker", "create-algorithm", each[0], []), sent(*each)]
        for name, each in json.load(sys.stdin).items()
    }
    json.dump(judged, sys.stdout)
