"""Asks pip-audit about every package of the locks, and takes nothing that was not answered for good news; `make audit`.

Usage: python docker/audit.py LOCK ..., with a Python that has pip-audit. Exit codes: 0 each is known and none has
a vulnerability, 1 one has, 2 nothing is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, NoReturn


def ask(lock: str) -> list[dict[str, Any]]:
    """What the service says of each package of a lock; exit code 2 if it does not say it.

    pip-audit passes over a package that the service has no answer for, and says "No known vulnerabilities found".
    """
    command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    done = subprocess.run([*command, "-f", "json", "-r", lock], capture_output=True, text=True)  # noqa: S603
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        stop(f"pip-audit could not ask about {lock} ({last})")
    if missed := [package["name"] for package in packages if "vulns" not in package]:
        known = len(packages) - len(missed)
        stop(f"the service of vulnerabilities answered for {known} of {len(packages)} packages of {lock}")
    return packages


def stop(reason: str) -> NoReturn:
    """Ends the program: nothing is known."""
    sys.stderr.write(
        f"Nothing is known of the locks: {reason}; run `make audit` where PyPI itself, not a mirror, can be reached.\n"
    )
    sys.exit(2)


def main(locks: list[str]) -> int:
    """Prints what is known; the exit code."""
    found = 0
    for lock in locks:
        packages = ask(lock)
        for package in packages:
            for fault in package["vulns"]:
                mended = " or ".join(fault["fix_versions"]) or "no release yet"
                names = ", ".join([fault["id"], *fault["aliases"]])
                print(f"{lock}: {package['name']} {package['version']}: {names}; mended in {mended}")  # noqa: T201
                found += 1
        print(f"{lock}: {len(packages)} packages asked about")  # noqa: T201
    print(f"{found} known vulnerabilities")  # noqa: T201
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
