"""`POST /invocations` of the container contract, as a WSGI application of its own."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from flask import Response
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length, get_input_stream, get_path_info

import formats
from algorithms.algorithm import CSV, Model
from algorithms.artifact import LoadedModel
from algorithms.errors import UserError
from formats import FormatError, MediaType, NotAcceptableError, UnknownMediaTypeError, parse_media_type
from formats.batch import require_finite
from serving.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("gunicorn.error")

_ANYTHING = "*/*"


class Invocations:
    """Answers requests with a model.

    default: what to answer in where the client accepts anything
    verbose: the view of the model for `verbose=true`, where it has one
    """

    def __init__(
        self, loaded: LoadedModel, settings: Settings, model: Model, verbose: Model | None, default: MediaType
    ) -> None:
        self._algorithm, self._settings = loaded.algorithm, settings
        self._model, self._verbose, self._default = model, verbose, default
        self._expected = loaded.algorithm.expected(loaded.model)
        self._ended = settings.batch or (settings.csv_rows and not settings.selects)
        self._accepted = {alias for name in self._algorithm.request_types for alias in formats.find(name).MEDIA_TYPES}
        # to read and answer a large request takes many times its size, for one at a time to have
        self._computing = nullcontext() if settings.gather else threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to a request, or what is wrong with it."""
        try:
            text, name = self._answered(environ)
        except Exception as error:
            return refusal(error, environ, self._settings)(environ, start_response)
        start_response("200 OK", [("Content-Type", name), ("Content-Length", str(len(text)))])
        return [text]

    def _answered(self, environ: WSGIEnvironment) -> tuple[bytes, str]:
        """The answer and its media type."""
        algorithm, limit = self._algorithm, self._settings.body_limit
        accept = environ.get("HTTP_ACCEPT") or _ANYTHING
        answer = self._default
        if accept != _ANYTHING:
            answer = formats.negotiate(accept, algorithm.response_types, answer.name)
        model = self._verbose if self._verbose is not None and is_verbose(answer) else self._model
        content_type = environ.get("CONTENT_TYPE") or algorithm.request_types[0]
        if parse_media_type(content_type).name not in self._accepted:
            raise UnknownMediaTypeError(
                f"content type must be one of {', '.join(algorithm.request_types)}, got '{content_type}'"
            )
        body = _body(environ, limit)
        if "HTTP_CONTENT_ENCODING" in environ:
            body = _unpacked(body, environ["HTTP_CONTENT_ENCODING"], limit)
        if self._settings.batch and not body:
            return b"", answer.name  # an empty share of a file: no record, no answer
        with self._computing:
            batch = formats.decode(body, content_type, self._expected)
            require_finite(batch, missing=algorithm.allows_missing)
            columns = model.predict(batch)
            text = formats.find(answer.name).encode(columns, algorithm.wrapper, batch.ids)
        if algorithm.csv_joined and answer.name == CSV:
            if self._ended:
                text += b"\n"
            elif not self._settings.selects and all(column.ndim == 1 for column in columns.values()):
                text = text.replace(b"\n", b",")
        return text, answer.name


def is_verbose(answer: MediaType) -> bool:
    """Whether the chosen range of Accept says `verbose=true` (guide, "K-NN Request and Response Formats")."""
    verbose = answer.parameters.get("verbose", "false")
    if verbose.lower() not in ("true", "false"):
        raise NotAcceptableError(f"verbose must be true or false, got '{verbose}'")
    return verbose.lower() == "true"


def refusal(error: Exception, environ: WSGIEnvironment, settings: Settings) -> Response:
    """What the client reads of a failed request."""
    status, sentence = _status(error, environ, settings)
    if status == 500:
        log.error("a request failed", exc_info=error)
    return Response(sentence + "\n", status=status, content_type="text/plain; charset=utf-8")


def _body(environ: WSGIEnvironment, limit: int | None) -> bytes:
    """The request's body. Not under Flask's own limit: that cuts a chunked body off there without a word."""
    length = get_content_length(environ)
    if limit is not None and (length or 0) > limit:
        raise RequestEntityTooLarge
    stream = get_input_stream(environ)
    try:
        body = stream.read() if limit is None else stream.read(limit + 1)
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


def _status(error: Exception, environ: WSGIEnvironment, settings: Settings) -> tuple[int, str]:
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
            return code, f"{error.name}: {environ['REQUEST_METHOD']} /{get_path_info(environ).lstrip('/')}"
    return 500, "the model could not answer; the container's log has the reason"
