"""A server with our worker, and one with gunicorn's own threads."""

import http.client
from collections.abc import Callable, Iterator

import orjson
import pytest

from tests.job_folder import PATIENCE, Served
from tests.serving.clients import running


@pytest.fixture(scope="module")
def ours() -> Iterator[Served]:
    with running() as served:
        yield served


@pytest.fixture(scope="module")
def threads() -> Iterator[Served]:
    with running("gthread") as served:
        yield served


@pytest.fixture
def unharmed(ours: Served) -> Iterator[None]:
    """The server would start another worker if one died."""

    def process() -> int:
        return orjson.loads(ours.request("/ping").body)["process"]

    before = process()
    yield
    assert process() == before


@pytest.fixture
def connect(ours: Served) -> Iterator[Callable[[], http.client.HTTPConnection]]:
    made = []

    def make() -> http.client.HTTPConnection:
        made.append(http.client.HTTPConnection("127.0.0.1", ours.port, timeout=PATIENCE))
        return made[-1]

    yield make
    for connection in made:
        connection.close()
