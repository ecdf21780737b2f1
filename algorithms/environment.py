"""The environment variables of training, which serving shares; serving/settings.py reads the server's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.errors import UserError

DEFAULT_CLUSTER_PORT = 9099  # the port of the hosted XGBoost's tracker, so firewalls that knew it still do


@dataclass(frozen=True, slots=True)
class Environment:
    """What the container was told about itself.

    base:         `SAGEMAKER_BASE_DIR`, in place of /opt/ml
    algorithm:    `INBUILT_ALGORITHM`, a folder of `algorithms/` or the guide's repository name; set in each image
    log_level:    `SAGEMAKER_CONTAINER_LOG_LEVEL`, Python's numbers: 10 debug, 20 info (default), 30 warning
    job_name:     `TRAINING_JOB_NAME`, for the log only
    cluster_port: `INBUILT_CLUSTER_PORT`, where the first host of a job listens for the others
    device:       `INBUILT_DEVICE`: cpu, gpu, or auto (default), which takes a GPU where one can be used
    """

    base: Path
    algorithm: str
    log_level: int
    job_name: str
    cluster_port: int
    device: str = "auto"

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Environment:
        """From `os.environ`; raises UserError for a variable that makes no sense."""
        return cls(
            base=base_directory(variables),
            algorithm=variables.get("INBUILT_ALGORITHM", ""),
            log_level=whole_number(variables, "SAGEMAKER_CONTAINER_LOG_LEVEL", 20, 0, 50),
            job_name=variables.get("TRAINING_JOB_NAME", ""),
            cluster_port=whole_number(variables, "INBUILT_CLUSTER_PORT", DEFAULT_CLUSTER_PORT, 1, 65535),
            device=one_of(variables, "INBUILT_DEVICE", ("auto", "cpu", "gpu")),
        )


def base_directory(variables: Mapping[str, str]) -> Path:
    """Where the platform's files are; known even if another variable makes no sense."""
    return Path(variables.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def whole_number(variables: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """The variable as an integer in [low, high]; unset or empty means the default. Raises UserError."""
    text = variables.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and low <= int(text) <= high:
        return int(text)
    raise UserError(f"environment variable {name} must be an integer in [{low}, {high}], got '{text}'")


def one_of(variables: Mapping[str, str], name: str, words: Sequence[str]) -> str:
    """The variable as one of the words, in any case; unset or empty means the first. Raises UserError."""
    text = variables.get(name, "").strip()
    if not text:
        return words[0]
    if text.lower() in words:
        return text.lower()
    raise UserError(f"environment variable {name} must be one of {', '.join(words)}, got '{text}'")
