"""The Flask application: `/ping`, `/execution-parameters` and `/invocations` of the container contract."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from flask import Flask, Request, Response, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

import formats
from algorithms.algorithm import CSV, Model
from algorithms.artifact import LoadedModel
from algorithms.errors import UserError
from formats import FormatError, MediaType, NotAcceptableError, UnknownMediaTypeError, parse_media_type
from formats.batch import require_finite
from serving.gathering import CALLERS, Gathering, Viewed
from serving.settings import MIB, Settings

log = logging.getLogger("gunicorn.error")

_ANYTHING = "*/*"
MOST_CONCURRENT = 100  # that the platform knows (guide, "How Containers Serve Requests")


def create_app(loaded: LoadedModel, settings: Settings) -> Flask:
    """An application that answers with this model. Raises UserError for settings that do not fit the algorithm."""
    algorithm, model = loaded.algorithm, _adapted(loaded, settings)
    callers = CALLERS if isinstance(loaded.model, Gathering) else 1  # on a GPU; a CPU's memory is for a few
    if settings.gather and not isinstance(model, Gathering):
        model = Gathering(model, settings.gather)
    verbose = None if algorithm.verbose is None else _seen(model, algorithm.verbose)
    default = _default_answer(loaded, settings)
    expected = algorithm.expected(loaded.model)
    ended = settings.batch or (settings.csv_rows and not settings.selects)
    accepted = {alias for name in algorithm.request_types for alias in formats.find(name).MEDIA_TYPES}

    # to read and answer a large request takes many times its size, for one at a time to have
    computing = nullcontext() if settings.gather else threading.Lock()
    app = Flask("inbuilt")

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

    @app.post("/invocations")
    def invocations() -> Response:
        asked = request._get_current_object()  # type: ignore[attr-defined]  # once: each use of the proxy looks it up
        headers = asked.headers
        accept = headers.get("Accept") or _ANYTHING
        answer = default if accept == _ANYTHING else formats.negotiate(accept, algorithm.response_types, default.name)
        chosen = model if verbose is None or not _is_verbose(answer) else verbose
        content_type = headers.get("Content-Type") or algorithm.request_types[0]
        if parse_media_type(content_type).name not in accepted:
            raise UnknownMediaTypeError(
                f"content type must be one of {', '.join(algorithm.request_types)}, got '{content_type}'"
            )
        body = _body(asked, settings.body_limit)
        if "Content-Encoding" in headers:
            body = _unpacked(body, headers["Content-Encoding"], settings.body_limit)
        if settings.batch and not body:
            return Response(b"", content_type=answer.name)  # an empty share of a file: no record, no answer
        with computing:
            batch = formats.decode(body, content_type, expected)
            require_finite(batch, missing=algorithm.allows_missing)
            columns = chosen.predict(batch)
            text = formats.find(answer.name).encode(columns, algorithm.wrapper, batch.ids)
        if algorithm.csv_joined and answer.name == CSV:
            if ended:
                text += b"\n"
            elif not settings.selects and all(column.ndim == 1 for column in columns.values()):
                text = text.replace(b"\n", b",")
        return Response(text, content_type=answer.name)

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        status, sentence = _status(error, settings)
        if status == 500:
            log.error("a request failed", exc_info=error)
        return Response(sentence + "\n", status=status, content_type="text/plain; charset=utf-8")

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


def _is_verbose(answer: MediaType) -> bool:
    """Whether the chosen range of Accept says `verbose=true` (guide, "K-NN Request and Response Formats")."""
    verbose = answer.parameters.get("verbose", "false")
    if verbose.lower() not in ("true", "false"):
        raise NotAcceptableError(f"verbose must be true or false, got '{verbose}'")
    return verbose.lower() == "true"


def _default_answer(loaded: LoadedModel, settings: Settings) -> MediaType:
    """What to answer in, and its parameters, where the client accepts anything."""
    offered = loaded.algorithm.response_types
    try:
        answer = formats.negotiate(settings.default_accept, offered, offered[0])
        _is_verbose(answer)
    except NotAcceptableError:
        raise UserError(
            f"environment variable SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT must be one of {', '.join(offered)}, "
            f"with verbose=true or without, got '{settings.default_accept}'"
        ) from None
    return answer


def _body(asked: Request, limit: int | None) -> bytes:
    """The request's body. Not `get_data` under Flask's own limit: that cuts a chunked body off there without a word."""
    length = asked.content_length
    if limit is not None and (length or 0) > limit:
        raise RequestEntityTooLarge
    try:
        body = asked.stream.read() if limit is None else asked.stream.read(limit + 1)
    except (OSError, ParseException) as error:  # chunks that are none, or end before their end
        raise BadRequest from error
    if length is not None and len(body) != length:
        raise FormatError(f"the body was cut short: Content-Length says {length} bytes, {len(body)} came")
    if limit is not None and len(body) > limit:
        raise RequestEntityTooLarge
    return body


def _unpacked(body: bytes, encoding: str, limit: int | None) -> bytes:
    """The body without its Content-Encoding, held to the same limit: a gzip bomb never unfolds."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            try:
                plain = unzip.decompress(body, 0 if limit is None else limit + 1)
            except zlib.error as error:
                raise FormatError(f"the body is not gzip, as its Content-Encoding says: {error}") from None
            if limit is not None and len(plain) > limit:
                raise RequestEntityTooLarge
            if not unzip.eof or unzip.unused_data:
                raise FormatError("the body must be one gzip member, complete; it is cut short or followed by more")
            return plain
        case _:
            raise UnknownMediaTypeError(f"Content-Encoding must be gzip or identity, got '{encoding}'")


def _status(error: Exception, settings: Settings) -> tuple[int, str]:
    """The HTTP status of a failed request, and the sentence that the client reads."""
    match error:
        case FormatError() | UserError():
            return 400, f"unable to evaluate payload provided: {error}"
        case UnknownMediaTypeError():
            return 415, str(error)
        case NotAcceptableError():
            return 406, str(error)
        case RequestEntityTooLarge():
            return 413, (
                f"the request's body must have at most {settings.body_limit} bytes, unpacked; send fewer records, or "
                "set MAX_CONTENT_LENGTH (in batch transform: MaxPayloadInMB)"
            )
        case HTTPException(code=int(code)):
            return code, f"{error.name}: {request.method} {request.path}"
    return 500, "the model could not answer; the container's log has the reason"
