"""What the machine, or the container's share of it, offers: CPUs and memory.

A control group says it in the files of version 2 or, on older hosts, of version 1.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMORY_INFO = Path("/proc/meminfo")


def cpu_count(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may use; a share of one counts as one."""
    quota = _cpu_quota(cgroup)
    cpus = len(os.sched_getaffinity(0))
    return max(1, min(cpus, math.ceil(quota))) if quota < math.inf else cpus


def limit_threads() -> None:
    """As many threads of BLAS and OpenMP as there are CPUs for them; must be called before NumPy is loaded.

    They count the host's CPUs, and in a container of half a CPU two threads that wait for each other take ten times as
    long as one. OpenMP's threads would also spin between two loops, and take the CPU from the thread that reads.
    """
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, str(cpu_count()))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def memory_limit(cgroup: Path = CGROUP) -> float:
    """Bytes of memory that the control group grants, infinite if it sets no limit."""
    limit = _line(cgroup / "memory.max") or _line(cgroup / "memory/memory.limit_in_bytes")
    return int(limit) if limit.isdigit() else math.inf


def free_memory(cgroup: Path = CGROUP, memory_info: Path = MEMORY_INFO) -> float:
    """Bytes that can be had before something is swapped or killed; infinite if nobody says."""
    used = _line(cgroup / "memory.current") or _line(cgroup / "memory/memory.usage_in_bytes")
    # what was read from files counts as used, but is given back when it is wanted
    kept = _fields(cgroup / "memory.stat") or _fields(cgroup / "memory/memory.stat")
    cached = kept.get("inactive_file", 0) + kept.get("active_file", 0)
    granted = memory_limit(cgroup) - (max(0, int(used) - cached) if used.isdigit() else 0)
    available = 1024 * _fields(memory_info).get("MemAvailable", math.inf)
    return max(0.0, min(granted, available))


def _cpu_quota(cgroup: Path) -> float:
    """CPUs that the control group grants, infinite if it sets no limit."""
    quota, _, period = _line(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = _line(cgroup / "cpu/cpu.cfs_quota_us"), _line(cgroup / "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else math.inf


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, float]:
    """The numbers of lines such as `MemAvailable:  1024 kB` or `active_file 4096`, by name."""
    try:
        lines = [line.replace(":", " ").split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: float(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}
