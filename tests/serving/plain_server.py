"""A server as `serve` starts one, around an application that says what it was asked.

    python -m tests.serving.plain_server PORT TIMEOUT [WORKER_CLASS]

What is posted is an order: `sleep SECONDS`, `large BYTES`, `fail`, or anything else.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

import orjson

from serving import server
from serving.settings import Settings


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The strings of the environment, the length of the body, and the thread."""
    body = environ["wsgi.input"].read()
    order, _, number = body.decode("latin-1").partition(" ")
    match order:
        case "sleep":
            time.sleep(float(number))
        case "large":
            start_response("200 OK", [("Content-Length", number)])
            return [b"x" * int(number)]
        case "fail":
            raise ValueError("as ordered")
    said = {key: value for key, value in environ.items() if isinstance(value, str)}
    here = threading.current_thread() is threading.main_thread()
    answer = orjson.dumps(
        {"environ": said, "length": len(body), "main": here, "process": os.getpid()}, option=orjson.OPT_SORT_KEYS
    )
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


if __name__ == "__main__":
    port, timeout, *worker_class = sys.argv[1:]
    variables = {"BIND_TO_PORT": port, "MODEL_SERVER_TIMEOUT": timeout, "MODEL_SERVER_WORKERS": "1"}
    settings = Settings.read({f"SAGEMAKER_{name}": value for name, value in variables.items()})
    plain = server.server(application, settings, "plain", lambda: None)  # type: ignore[arg-type]
    for name in worker_class:
        plain.cfg.set("worker_class", name)
    plain.run()
