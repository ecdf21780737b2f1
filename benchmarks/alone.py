"""Runs a command in a process of its own and prints its seconds and its greatest memory in MB, as JSON.

It imports next to nothing: a child counts the pages that its parent had when it was made as its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    started = time.perf_counter()
    with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    print(json.dumps({"seconds": time.perf_counter() - started, "peak": usage.ru_maxrss / 1024}))
    sys.exit(process.returncode)
