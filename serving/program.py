"""The console programs: `inbuilt`, entry point of the images, with `train`, `serve` and `describe`; `train` alone."""

from __future__ import annotations

import signal
import sys
from importlib.metadata import version

USAGE = """\
usage: docker run IMAGE train             train on the job laid out under /opt/ml, write the model to /opt/ml/model
       docker run IMAGE serve             answer /ping, /invocations and /execution-parameters for that model
       docker run IMAGE describe [NAME]   print CreateAlgorithm's request for the image, which a registry has as NAME
       docker run IMAGE --version
"""


def train() -> int:
    """Trains, as `algorithms.train.main` says."""
    from algorithms.machine import limit_threads

    limit_threads()
    from algorithms.train import main  # loads NumPy

    return main()


def main() -> int:
    """Runs the program named by the first argument. Exit code 2 for any other word."""
    # The kernel drops a signal that process 1 has no handler for, and the programs take a while to have theirs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    match command:
        case "train":
            return train()
        case "serve":
            from serving import server  # each program imports only what it needs: `serve` must be ready soon

            return server.main()
        case "describe":
            from algorithms import description

            return description.main(sys.argv[2:])
        case "--version":
            sys.stdout.write(f"inbuilt {version('inbuilt')}\n")
            return 0
        case "--help" | "-h":
            sys.stdout.write(USAGE)
            return 0
    sys.stderr.write(f"inbuilt: the command must be train, serve or describe, got '{command}'\n{USAGE}")
    return 2
