"""The server's settings: its environment variables and what the container may use, read in this one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from algorithms.environment import whole_number
from algorithms.errors import UserError
from algorithms.machine import CGROUP, cpu_count, memory_limit

MIB = 2**20
OUTPUT, ENSEMBLE = "SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_INFERENCE_ENSEMBLE"
MEMORY_PER_WORKER = 192 * MIB  # mostly for requests: of its own a worker has some 10 MB, the model is shared


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve.

    port:           `SAGEMAKER_BIND_TO_PORT`
    workers:        `SAGEMAKER_MODEL_SERVER_WORKERS`; default: as many as the container's CPU quota and memory allow
    timeout:        `SAGEMAKER_MODEL_SERVER_TIMEOUT`, seconds after which a worker that shows no life is replaced
    body_limit:     bytes of a request, unpacked: `SAGEMAKER_MAX_PAYLOAD_IN_MB` if set (batch transform; 0 is no limit,
                    None here), else `MAX_CONTENT_LENGTH`
    default_accept: `SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT`, for requests that accept anything; empty: the algorithm's
    batch:          `SAGEMAKER_BATCH` is true: requests come from batch transform
    gather:         `INBUILT_GATHER_MILLISECONDS`, in seconds: how long a request waits for others, to be answered
                    with them as one batch; 0 is off. None: 2 ms on a GPU, off on a CPU
    csv_rows:       `INBUILT_CSV_ROWS` is 1 or true: a CSV answer has one row a line, whatever the algorithm is used to
    inference:      the `SAGEMAKER_INFERENCE_...` variables that are set, for the algorithm to read
    """

    port: int
    workers: int
    timeout: int
    body_limit: int | None
    default_accept: str
    batch: bool
    csv_rows: bool = False
    gather: float | None = None
    inference: Mapping[str, str] = field(default_factory=dict)

    @property
    def selects(self) -> bool:
        """Whether `SAGEMAKER_INFERENCE_OUTPUT` names what to answer."""
        return OUTPUT in self.inference

    @classmethod
    def read(cls, variables: Mapping[str, str], cgroup: Path = CGROUP) -> Settings:
        """From `os.environ` and the container's control group. Raises UserError."""
        if _is_true(variables.get("SAGEMAKER_MULTI_MODEL", "")):
            raise UserError("this container serves one model; please do not set SAGEMAKER_MULTI_MODEL")
        body_limit: int | None = whole_number(variables, "MAX_CONTENT_LENGTH", 6 * MIB, 1, 2**40)
        if variables.get("SAGEMAKER_MAX_PAYLOAD_IN_MB"):
            body_limit = whole_number(variables, "SAGEMAKER_MAX_PAYLOAD_IN_MB", 6, 0, 2**20) * MIB or None
        return cls(
            port=whole_number(variables, "SAGEMAKER_BIND_TO_PORT", 8080, 1, 65535),
            workers=whole_number(variables, "SAGEMAKER_MODEL_SERVER_WORKERS", workers_for(cgroup), 1, 1024),
            timeout=whole_number(variables, "SAGEMAKER_MODEL_SERVER_TIMEOUT", 60, 1, 86400),
            body_limit=body_limit,
            default_accept=variables.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "").strip(),
            batch=_is_true(variables.get("SAGEMAKER_BATCH", "")),
            csv_rows=_switch(variables, "INBUILT_CSV_ROWS"),
            gather=_milliseconds(variables, "INBUILT_GATHER_MILLISECONDS"),
            inference={
                name: value.strip() for name, value in variables.items() if name in (OUTPUT, ENSEMBLE) and value.strip()
            },
        )


def workers_for(cgroup: Path) -> int:
    """One worker a CPU that the container may use, and no more than its memory holds; at least one."""
    cpus, memory = cpu_count(cgroup), memory_limit(cgroup)
    return max(1, min(cpus, int(memory // MEMORY_PER_WORKER) if memory < math.inf else cpus))


def _milliseconds(variables: Mapping[str, str], name: str) -> float | None:
    """In seconds; unset or empty is None. Raises UserError."""
    return whole_number(variables, name, 0, 0, 1000) / 1000 if variables.get(name, "").strip() else None


def _switch(variables: Mapping[str, str], name: str) -> bool:
    """1 or true, 0 or false; unset or empty is false. Raises UserError."""
    text = variables.get(name, "").strip().lower()
    if text not in ("", "0", "1", "false", "true"):
        raise UserError(f"environment variable {name} must be 1 or 0, got '{text}'")
    return text in ("1", "true")


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"  # the platform writes true, local mode True
