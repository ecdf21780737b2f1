"""The console program `serve`: loads the model once, then answers from a few workers that share it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from algorithms.artifact import LoadedModel
    from serving.settings import Settings

THREADS = 4  # of each worker, for what its main thread does not answer: one computes, others take in what comes slowly
GPU_GATHER = 0.002  # seconds
GRACE = 25  # seconds to answer what has been accepted, of the 30 between the platform's SIGTERM and its SIGKILL


def main() -> int:
    """Serves the model in /opt/ml/model until SIGTERM. Exit code 2: no model, or settings that make no sense."""
    # Workers are the parallelism; more threads inside BLAS would fight for the same CPUs. Before NumPy is imported.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from algorithms import artifact
    from algorithms.environment import Environment
    from algorithms.errors import UserError
    from algorithms.job import Paths
    from serving.app import create_app
    from serving.settings import Settings

    try:
        environment = Environment.read(os.environ)
        settings = Settings.read(os.environ)
        loaded = artifact.load(Paths(environment.base).model, environment.algorithm)
        loaded, settings, where = placed(loaded, settings, environment.device)
        app = create_app(loaded, settings)
    except UserError as error:
        print(f"ClientError: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return UserError.exit_code
    if where:
        print(where, file=sys.stderr)  # noqa: T201 - there is no log yet
    server(app, settings, loaded.algorithm.name, loaded.self_test).run()
    return 0


def placed(loaded: LoadedModel, settings: Settings, wanted: str) -> tuple[LoadedModel, Settings, str]:
    """The model where it answers from, and a sentence on it where there is a choice.

    A GPU is for one process, which opens it: it does not survive a fork.
    """
    from algorithms.device import DRIVER, decide, look_apart
    from serving.gathering import Gathering

    on_device = loaded.algorithm.on_device
    if on_device is None:
        unused = wanted == "gpu" or (wanted == "auto" and DRIVER.exists())
        return loaded, settings, f"{loaded.algorithm.name} answers on the CPU only; no GPU is used." if unused else ""
    decision = decide(wanted, loaded.algorithm.name, loaded.algorithm.devices, look_apart)
    if not decision.gpu:
        return loaded, settings, decision.sentence
    seconds = GPU_GATHER if settings.gather is None else settings.gather
    model = Gathering(loaded.model, seconds, lambda model: on_device(model, decision.opened()))
    question = loaded.algorithm.self_test
    algorithm = replace(loaded.algorithm, self_test=lambda model, batch: model.ask(question, batch))
    loaded = replace(loaded, algorithm=algorithm, model=model)
    return loaded, replace(settings, workers=1, gather=seconds or GPU_GATHER), decision.sentence


def server(app: Flask, settings: Settings, name: str, self_test: Callable[[], None]) -> Any:
    """A gunicorn that serves `app` as all our servers are; `run()` returns after SIGTERM.

    self_test runs in each worker before it takes requests; if it raises, the server ends with an exit code.
    """
    from gunicorn.app.base import BaseApplication

    class Server(BaseApplication):  # type: ignore[misc]
        """Gunicorn, configured here and by nothing else."""

        def load_config(self) -> None:
            for key, value in _gunicorn(settings, name, self_test).items():
                self.cfg.set(key, value)

        def load(self) -> Flask:
            return app

    return Server()


def _gunicorn(settings: Settings, name: str, self_test: Callable[[], None]) -> dict[str, Any]:
    from serving.gathering import CALLERS

    def begin(worker: Any) -> None:
        # In the worker: GNU OpenMP, which some models compute with, does not survive a fork. Failing stops the server.
        self_test()
        worker.log.info("worker ready: the model answers its stored sample as it did at training time")

    return {
        "bind": f"0.0.0.0:{settings.port}",
        "workers": settings.workers,
        # those that gather wait for each other, each in a thread
        "worker_class": "gthread" if settings.gather else "serving.worker.Worker",
        "threads": CALLERS + 1 if settings.gather else THREADS,  # one more than callers, for /ping
        "preload_app": True,
        "timeout": settings.timeout,
        "graceful_timeout": GRACE,
        "keepalive": 75,
        # the root file system may be read-only, /tmp with it
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
        "control_socket_disable": True,
        "post_worker_init": begin,
        "proc_name": f"inbuilt-{name}",
    }


if __name__ == "__main__":
    sys.exit(main())
