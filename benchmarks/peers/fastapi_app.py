"""A plain FastAPI application around the handler."""

from fastapi import FastAPI, Request, Response

from benchmarks.peers.handler import answer

app = FastAPI()


@app.get("/ping")
async def ping() -> Response:
    """Ready."""
    return Response()


@app.post("/invocations")
async def invocations(request: Request) -> Response:
    """Answers."""
    body, content_type = answer(await request.body(), request.headers["content-type"])
    return Response(body, media_type=content_type)
