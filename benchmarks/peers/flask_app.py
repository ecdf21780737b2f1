"""A plain Flask application around the handler."""

from flask import Flask, Response, request

from benchmarks.peers.handler import answer

app = Flask(__name__)


@app.get("/ping")
def ping() -> Response:
    """Ready."""
    return Response()


@app.post("/invocations")
def invocations() -> Response:
    """Answers."""
    body, content_type = answer(request.get_data(cache=False), request.content_type or "")
    return Response(body, content_type=content_type)
