"""The server's settings: its environment variables and what the container may use, read in this one place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from algorithms.environment import whole_number
from algorithms.errors import UserError

MIB = 2**20
MEMORY_PER_WORKER = 192 * MIB  # mostly for requests: of its own a worker has some 10 MB, the model is shared
CGROUP = Path("/sys/fs/cgroup")


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
    """

    port: int
    workers: int
    timeout: int
    body_limit: int | None
    default_accept: str
    batch: bool

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
        )


def workers_for(cgroup: Path) -> int:
    """One worker a CPU that the container may use, and no more than its memory holds; at least one."""
    cpus = min(len(os.sched_getaffinity(0)), math.ceil(_cpu_quota(cgroup)) if _cpu_quota(cgroup) < math.inf else 2**20)
    memory = _memory_limit(cgroup)
    return max(1, min(cpus, int(memory // MEMORY_PER_WORKER) if memory < math.inf else cpus))


def _cpu_quota(cgroup: Path) -> float:
    """CPUs that the control group grants, infinite if it sets no limit; version 2's file, else version 1's."""
    quota, _, period = _line(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = _line(cgroup / "cpu/cpu.cfs_quota_us"), _line(cgroup / "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else math.inf


def _memory_limit(cgroup: Path) -> float:
    """Bytes of memory that the control group grants, infinite if it sets no limit."""
    limit = _line(cgroup / "memory.max") or _line(cgroup / "memory/memory.limit_in_bytes")
    return int(limit) if limit.isdigit() else math.inf


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"  # the platform writes true, local mode True


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
