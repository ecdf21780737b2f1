"""The Flask application: `/ping`, `/execution-parameters` and `/invocations` of the container contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request

import formats
from algorithms.algorithm import Model
from algorithms.artifact import LoadedModel
from algorithms.errors import UserError
from formats import MediaType, NotAcceptableError
from serving.gathering import CALLERS, Gathering, Viewed
from serving.invocations import Invocations, is_verbose, refusal
from serving.settings import MIB, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MOST_CONCURRENT = 100  # that the platform knows (guide, "How Containers Serve Requests")


def create_app(loaded: LoadedModel, settings: Settings) -> Flask:
    """An application that answers with this model. Raises UserError for settings that do not fit the algorithm."""
    algorithm, model = loaded.algorithm, _adapted(loaded, settings)
    callers = CALLERS if isinstance(loaded.model, Gathering) else 1  # on a GPU; a CPU's memory is for a few
    if settings.gather and not isinstance(model, Gathering):
        model = Gathering(model, settings.gather)
    verbose = None if algorithm.verbose is None else _seen(model, algorithm.verbose)
    invocations = Invocations(loaded, settings, model, verbose, _default_answer(loaded, settings))

    app = Flask("inbuilt")
    flask = app.wsgi_app

    def directly(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Without the contexts that Flask makes for a view: to make them takes longer than to answer a row."""
        hot = environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] == "/invocations"
        return (invocations if hot else flask)(environ, start_response)

    app.wsgi_app = directly  # type: ignore[method-assign]
    app.add_url_rule("/invocations", "invocations", lambda: invocations, methods=["POST"])

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=200)

    @app.get("/execution-parameters")
    def execution_parameters() -> Response:
        return jsonify(
            MaxConcurrentTransforms=min(settings.workers * callers, MOST_CONCURRENT),
            BatchStrategy="MULTI_RECORD",
            MaxPayloadInMB=0 if settings.body_limit is None else max(1, settings.body_limit // MIB),
        )

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return refusal(error, request.environ, settings)

    return app


def _adapted(loaded: LoadedModel, settings: Settings) -> Model:
    """The model that answers requests, as the `SAGEMAKER_INFERENCE_...` variables want it."""
    if not settings.inference:
        return loaded.model
    if loaded.algorithm.adapted is None:
        raise UserError(
            f"{next(iter(settings.inference))} is not known to {loaded.algorithm.name}; please do not set it"
        )
    return loaded.algorithm.adapted(loaded.model, settings.inference)


def _seen(model: Model, view: Callable[[Any], Model]) -> Model:
    """Another view of the model, which is asked where the model is."""
    return Viewed(model, view) if isinstance(model, Gathering) else view(model)


def _default_answer(loaded: LoadedModel, settings: Settings) -> MediaType:
    """What to answer in, and its parameters, where the client accepts anything."""
    offered = loaded.algorithm.response_types
    try:
        answer = formats.negotiate(settings.default_accept, offered, offered[0])
        is_verbose(answer)
    except NotAcceptableError:
        raise UserError(
            f"environment variable SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT must be one of {', '.join(offered)}, "
            f"with verbose=true or without, got '{settings.default_accept}'"
        ) from None
    return answer
