"""What every endpoint does, whatever the algorithm: the real `serve` program on a free port."""

import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import orjson
import pytest

from algorithms.algorithm import Algorithm
from formats import recordio
from formats.record_pb2 import Record
from tests.examples import CSV, JSON, JSONLINES, RECORDIO, encoded, encoded_sparse, example
from tests.job_folder import JobFolder, Served


@pytest.fixture(scope="module")
def served(trained: JobFolder) -> Iterator[Served]:
    with trained.serve(SAGEMAKER_MODEL_SERVER_WORKERS="2", MAX_CONTENT_LENGTH="200000") as server:
        yield server


@pytest.fixture(scope="module")
def features(algorithm: Algorithm) -> np.ndarray:
    return example(algorithm.name).rows(20, seed=2)[0]


def rows_of(algorithm: Algorithm, body: bytes, content_type: str) -> list[dict[str, object]]:
    """An answer in any format as the row objects of the JSON one (CSV: as the flat list of each row's cells)."""
    if content_type == JSON:
        return json.loads(body)[algorithm.wrapper]
    if content_type == JSONLINES:
        return [json.loads(line) for line in body.split(b"\n")]
    if content_type == CSV and algorithm.csv_joined and b"\n" not in body:
        return [[float(cell)] for cell in body.split(b",")]
    if content_type == CSV:
        return [[float(cell) for cell in line.split(",")] for line in body.decode().split("\n")]
    answers = []
    for payload in payloads(body):
        record = Record.FromString(payload)
        values = {name: list(value.float32_tensor.values) for name, value in record.label.items()}
        answers.append({name: each[0] if len(each) == 1 else each for name, each in values.items()})
    return answers


def payloads(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        yield body[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4


def flat(rows: list) -> np.ndarray:
    cells = [row if isinstance(row, list) else [row[name] for name in row] for row in rows]
    return np.array([np.hstack(row) for row in cells], np.float64)


def test_ping_and_execution_parameters(served: Served) -> None:
    assert (served.request("/ping").status, served.request("/ping").body) == (200, b"")
    answer = served.request("/execution-parameters")
    assert json.loads(answer.body) == {
        "MaxConcurrentTransforms": 2,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 1,
    }


def test_all_formats_in_and_out_give_one_answer(algorithm: Algorithm, served: Served, features: np.ndarray) -> None:
    # what a sparse row lacks is zero, unless the algorithm knows missing values
    absent = np.where(features == 0, np.nan, features) if algorithm.allows_missing else features
    for rows, encode in ((features, encoded), (absent, encoded_sparse)):
        reference = served.invoke(encoded(rows, JSON), JSON, JSON)
        expected = rows_of(algorithm, reference.body, JSON)
        assert (reference.status, reference.content_type, len(expected)) == (200, JSON, len(features))
        for request_type in algorithm.request_types:
            if encode is encoded_sparse and request_type == CSV:
                continue
            body = encode(features, request_type)
            for accept in algorithm.response_types:
                answer = served.invoke(body, request_type, accept)
                assert (answer.status, answer.content_type) == (200, accept), (request_type, accept, answer.body)
                found = rows_of(algorithm, answer.body, accept)
                named = [{name: row[name] for name in expected[0]} if isinstance(row, dict) else row for row in found]
                np.testing.assert_allclose(flat(named), flat(expected), rtol=1e-5, atol=1e-6)


def test_answers_do_not_depend_on_how_rows_are_split(
    algorithm: Algorithm, served: Served, features: np.ndarray
) -> None:
    whole = rows_of(algorithm, served.invoke(encoded(features, CSV), CSV, JSON).body, JSON)
    parts = [
        row
        for part in np.array_split(features, [1, 4, 11])
        for row in rows_of(algorithm, served.invoke(encoded(part, CSV), CSV, JSON).body, JSON)
    ]
    np.testing.assert_allclose(flat(parts), flat(whole), rtol=1e-5, atol=1e-6)


def test_one_unframed_record(algorithm: Algorithm, served: Served, features: np.ndarray) -> None:
    [payload] = payloads(recordio.encode_features(features[:1]))
    answer = served.invoke(payload, RECORDIO, JSON)
    framed = served.invoke(recordio.encode_features(features[:1]), RECORDIO, JSON)
    assert (answer.status, answer.body) == (200, framed.body)


def test_uid_is_echoed(served: Served, features: np.ndarray) -> None:
    [payload] = payloads(recordio.encode_features(features[:1]))
    record = Record.FromString(payload)
    record.uid = "abc123"
    [answer] = payloads(served.invoke(record.SerializeToString(), RECORDIO, RECORDIO).body)
    assert Record.FromString(answer).uid == "abc123"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, None),
        ("*/*", None),
        ("application/*", JSON),
        ("text/*", CSV),
        ("text/csv, application/json", CSV),
        ("text/csv;q=0.1, application/jsonlines", JSONLINES),
        ("image/png, text/csv;q=0.2", CSV),
        ("application/json; verbose=true", JSON),
        ("APPLICATION/X-RECORDIO-PROTOBUF", RECORDIO),
    ],
)
def test_accept(algorithm: Algorithm, served: Served, features: np.ndarray, accept, expected) -> None:
    answer = served.invoke(encoded(features, CSV), CSV, accept)
    assert (answer.status, answer.content_type) == (200, expected or algorithm.response_types[0])


def test_default_accept_can_be_set(trained: JobFolder, features: np.ndarray) -> None:
    with trained.serve(SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT=CSV, SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        assert server.invoke(encoded(features, CSV), CSV, "*/*").content_type == CSV


def test_content_type_parameters_and_default(algorithm: Algorithm, served: Served, features: np.ndarray) -> None:
    assert served.invoke(encoded(features, CSV), "Text/CSV; label_size=0; charset=UTF-8").status == 200
    labelled = encoded(features, CSV, np.arange(len(features)))
    with_label = served.invoke(labelled, "text/csv;label_size=1", JSON)
    assert with_label.body == served.invoke(encoded(features, CSV), CSV, JSON).body
    assert served.invoke(encoded(features, algorithm.request_types[0]), "", JSON).status == 200


def test_gzip(served: Served, features: np.ndarray) -> None:
    plain = encoded(features, CSV)
    answer = served.invoke(gzip.compress(plain), CSV, JSON, **{"Content-Encoding": "gzip"})
    assert answer.body == served.invoke(plain, CSV, JSON).body


def refused(served: Served, body: bytes, content_type: str, **headers: str) -> tuple[int, str]:
    answer = served.invoke(body, content_type, headers.pop("accept", None), **headers)
    assert answer.content_type == "text/plain; charset=utf-8"
    assert answer.body.endswith(b"\n")
    assert b"Traceback" not in answer.body
    return answer.status, answer.body.decode().rstrip("\n")


@pytest.mark.parametrize("content_type", [CSV, JSON, JSONLINES, RECORDIO])
@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_width(algorithm, served: Served, features: np.ndarray, content_type: str, change: int) -> None:
    d = features.shape[1]
    wrong = features[:, :change] if change < 0 else np.column_stack([features, features[:, 0]])
    unit = "columns" if content_type == CSV else "features"
    status, sentence = refused(served, encoded(wrong, content_type), content_type)
    assert status == 400
    assert sentence.startswith(f"unable to evaluate payload provided: row 1: expected {d} {unit}, found {d + change}")


def test_wrong_width_later_in_the_body_is_named(served: Served, features: np.ndarray) -> None:
    d = features.shape[1]
    lines = encoded(features, CSV).decode().splitlines()
    lines[6] = lines[6].rpartition(",")[0]
    status, sentence = refused(served, "\n".join(lines).encode(), CSV)
    assert status == 400
    assert sentence.startswith(f"unable to evaluate payload provided: row 7: expected {d} columns, found {d - 1}")


@pytest.mark.parametrize(
    ("content_type", "make", "place"),
    [
        (CSV, lambda f: b",".join([b"nan"] * f.shape[1]), "row 1: feature 1 of {d} is a missing (NaN) value"),
        (CSV, lambda f: b"inf" + b",0" * (f.shape[1] - 1), "row 1: feature 1 of {d} is an infinite value"),
        (CSV, lambda f: b"a" + encoded(f, CSV)[1:], "row 1, column 1: expected a number, found 'a"),
        (CSV, lambda f: encoded(f, RECORDIO), "this does not look like CSV"),
        (JSON, lambda f: encoded(f, JSON)[:-3], "not valid JSON at line 1"),
        (JSON, lambda f: encoded(f, CSV), "not valid JSON at line 1"),
        (JSON, lambda _: b'{"rows": []}', "\"instances\""),
        (RECORDIO, lambda f: encoded(f, RECORDIO)[:-9], "row 20: the data ends inside this record"),
        (RECORDIO, lambda f: encoded(f, CSV), "RecordIO"),
        (RECORDIO, lambda f: encoded(f * np.nan, RECORDIO), "row 1: feature 1 of {d} is a missing (NaN) value"),
    ],
)  # fmt: skip
def test_bad_bodies(algorithm: Algorithm, served: Served, features: np.ndarray, content_type, make, place) -> None:
    if "NaN" in place and algorithm.allows_missing:
        pytest.skip("this algorithm takes missing values")
    status, sentence = refused(served, make(features), content_type)
    assert status == 400
    assert sentence.startswith("unable to evaluate payload provided: ")
    assert place.format(d=features.shape[1]) in sentence


@pytest.mark.parametrize("content_type", [CSV, JSON, JSONLINES, RECORDIO])
def test_an_empty_body_is_refused(served: Served, content_type: str) -> None:
    assert refused(served, b"", content_type)[0] == 400


def test_media_types_that_are_not_known(algorithm: Algorithm, served: Served, features: np.ndarray) -> None:
    body, known = encoded(features, CSV), ", ".join(algorithm.request_types)
    assert refused(served, body, "application/octet-stream") == (
        415,
        f"content type must be one of {known}, got 'application/octet-stream'",
    )
    assert refused(served, body, "text/csv; label_size=2") == (415, "label_size must be 0 or 1, got '2'")
    assert refused(served, body, "text/csv; charset=utf-16") == (415, "charset must be utf-8, got 'utf-16'")
    assert refused(served, body, CSV, **{"Content-Encoding": "br"}) == (
        415,
        "Content-Encoding must be gzip or identity, got 'br'",
    )
    assert refused(served, b"not even parsed", CSV, accept="image/png") == (
        406,
        f"cannot answer in 'image/png'; Accept must allow one of {', '.join(algorithm.response_types)}",
    )


def test_bodies_beyond_the_limit(served: Served) -> None:
    too_large = (
        "the request's body must have at most 200000 bytes, unpacked; send fewer records, or set MAX_CONTENT_LENGTH "
        "(in batch transform: MaxPayloadInMB)"
    )
    assert refused(served, b"1," * 100_001, CSV) == (413, too_large)
    bomb = gzip.compress(bytes(50_000_000))
    assert refused(served, bomb, CSV, **{"Content-Encoding": "gzip"}) == (413, too_large)
    assert refused(served, b"no gzip", CSV, **{"Content-Encoding": "gzip"})[0] == 400
    assert refused(served, gzip.compress(b"1,2,3\n")[:-4], CSV, **{"Content-Encoding": "gzip"})[0] == 400


def test_wrong_methods_and_paths(served: Served) -> None:
    assert served.request("/ping", b"").status == 405
    assert served.request("/invocations").status == 405
    assert served.request("/nothing").status == 404


def test_chunked_bodies(served: Served, features: np.ndarray) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    lines = encoded(features, CSV).splitlines(keepends=True)
    connection.request("POST", "/invocations", iter(lines), {"Content-Type": CSV, "Accept": JSON}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, served.invoke(b"".join(lines), CSV, JSON).body)
    connection.request("POST", "/invocations", iter([b"1," * 10_000] * 20), {"Content-Type": CSV}, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (413, served.invoke(b"1," * 100_001, CSV).body)
    connection.close()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 1000", b"1,2,3,4\n"),
        (b"Transfer-Encoding: chunked", b"zz\r\n1,2,3,4\n\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"8\r\n1,2,3,4\n\r\n5\r\n1,"),
    ],
)
def test_bodies_cut_short(served: Served, head: bytes, body: bytes) -> None:
    """None of it is answered as if it were all of it."""
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        lines = [b"POST /invocations HTTP/1.1", b"Host: x", b"Content-Type: text/csv", head, b"", body]
        connection.sendall(b"\r\n".join(lines))
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("accept", [JSON, JSONLINES, CSV, RECORDIO])
def test_large_values_are_answered_or_refused(algorithm, served: Served, features: np.ndarray, accept: str) -> None:
    for value in (1e20, 3e38, -3e38):
        answer = served.invoke(encoded(np.full_like(features, value), CSV), CSV, accept)
        assert answer.status in (200, 400)
        if answer.status == 200:
            assert np.isfinite(flat(rows_of(algorithm, answer.body, accept))).all()


def test_concurrent_callers_get_their_own_rows(algorithm: Algorithm, served: Served, features: np.ndarray) -> None:
    def ask(i: int) -> bool:
        part = features[i % 20 : i % 20 + 1 + i % 5]
        return served.invoke(encoded(part, CSV), CSV, CSV).body == expected[i]

    expected = {i: served.invoke(encoded(features[i % 20 : i % 20 + 1 + i % 5], CSV), CSV, CSV).body for i in range(40)}
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, list(range(40)) * 3))


def test_batch_transform_gives_one_record_for_each(algorithm: Algorithm, trained: JobFolder, features) -> None:
    lines = encoded(features, CSV).splitlines(keepends=True)
    random = np.random.default_rng(0)
    settings = {"SAGEMAKER_BATCH": "True", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with trained.serve(**settings) as server:
        assert json.loads(server.request("/execution-parameters").body)["MaxPayloadInMB"] == 0
        for accept in (CSV, JSONLINES):
            # AssembleWith Line puts a newline after each answer; one that ends in a newline is for AssembleWith None
            end = b"" if accept == CSV and algorithm.csv_joined else b"\n"
            whole = server.invoke(b"".join(lines), CSV, accept).body + end
            assert whole.count(b"\n") == len(lines)
            assert whole.endswith(b"\n")
            for _ in range(5):
                ends = [0, *sorted(random.integers(0, len(lines), 3)), len(lines)]
                chunks = [b"".join(lines[a:b]) for a, b in pairwise(ends)]
                bodies = [server.invoke(chunk, CSV, accept).body for chunk in chunks]
                # the answer to an empty share of the input has no record
                joined = b"".join(body + end for body, chunk in zip(bodies, chunks, strict=True) if chunk)
                assert joined == whole
        assert server.invoke(b"", CSV, CSV).status == 200
        blank = refused(server, lines[0] + b"\n" + lines[1], CSV)
        assert blank[0] == 400
        assert "row 2" in blank[1]


def test_a_worker_that_dies_is_replaced(trained: JobFolder, features: np.ndarray) -> None:
    with trained.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server:
        [worker] = children(server.process.pid)
        os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and children(server.process.pid) in ([], [worker]):
            time.sleep(0.05)
        assert server.invoke(encoded(features, CSV), CSV).status == 200


def test_clients_that_send_slowly_hold_nobody_up(trained: JobFolder, features: np.ndarray) -> None:
    """Not even two of them at the only worker, each of which has a thread that waits for it."""
    body = encoded(features, CSV)
    with trained.serve(SAGEMAKER_MODEL_SERVER_WORKERS="1") as server, ExitStack() as stack:
        slow = [stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", server.port))) for _ in range(2)]
        for connection in slow:
            connection.putrequest("POST", "/invocations")
            connection.putheader("Content-Type", CSV)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body[:100])
        wanted = server.invoke(body, CSV)
        assert wanted.status == 200
        for connection in slow:
            connection.send(body[100:])
        assert [connection.getresponse().read() for connection in slow] == [wanted.body] * 2


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_sigterm_drains(trained: JobFolder, features: np.ndarray) -> None:
    """Under load, every request that was accepted is answered, and the program ends well and soon."""
    outcomes: list[int | str] = []
    with trained.serve(SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:

        def load() -> None:
            while True:
                try:
                    outcomes.append(server.invoke(encoded(features, CSV), CSV).status)
                except ConnectionRefusedError:
                    return
                except OSError as error:
                    if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                        return
                    outcomes.append(repr(error))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(25) == 0
        assert time.monotonic() - started < 25
        for thread in threads:
            thread.join()
    assert len(outcomes) > 20
    # a connection that the kernel took in but no worker had accepted is reset: it never became a request
    assert {outcome for outcome in outcomes if "reset" not in str(outcome)} == {200}


def copy_of(trained: JobFolder, job_folder) -> JobFolder:
    copy = job_folder(trained.algorithm)
    shutil.copytree(trained.model, copy.model)
    return copy


def fails_to_serve(job: JobFolder, **environment: str) -> tuple[int, str]:
    process = job.start("serve", **environment)
    try:
        return process.wait(30), (job.base / "serve.log").read_text()
    finally:
        process.kill()


def test_a_model_without_our_manifest_loads(trained: JobFolder, job_folder, features: np.ndarray) -> None:
    """As the hosted service writes it."""
    job = copy_of(trained, job_folder)
    (job.model / "manifest.json").unlink()
    with job.serve() as server:
        assert server.invoke(encoded(features, CSV), CSV).status == 200


def test_the_model_folder_may_be_read_only(trained: JobFolder, job_folder) -> None:
    job = copy_of(trained, job_folder)
    before = job.artifact()
    with job.serve():
        pass
    assert job.artifact() == before


def test_a_damaged_model_is_never_served(trained: JobFolder, job_folder, algorithm: Algorithm) -> None:
    job = copy_of(trained, job_folder)
    manifest = orjson.loads((job.model / "manifest.json").read_bytes())
    row = manifest["sample"]["response"][algorithm.wrapper][0]
    name = next(iter(row))
    row[name] = [value + 5 for value in row[name]] if isinstance(row[name], list) else row[name] + 5
    (job.model / "manifest.json").write_bytes(orjson.dumps(manifest))
    exit_code, log = fails_to_serve(job)
    assert exit_code not in (0, None)  # gunicorn's: it depends on which of the workers failed first
    assert f"the model answers its stored sample with {name} = " in log


def test_models_and_settings_that_cannot_be_served(algorithm: Algorithm, trained: JobFolder, job_folder) -> None:
    empty = job_folder(trained.algorithm)
    exit_code, log = fails_to_serve(empty)
    assert exit_code == 2
    assert log.startswith("ClientError: no ")
    job = copy_of(trained, job_folder)
    cases = {
        ("SAGEMAKER_BIND_TO_PORT", "http"): "an integer in [1, 65535], got 'http'",
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/html"): f"one of {', '.join(algorithm.response_types)}",
        ("INBUILT_ALGORITHM", "magic"): "one of ",
    }
    for (name, value), rule in cases.items():
        exit_code, log = fails_to_serve(job, **{name: value})
        assert exit_code == 2
        assert f"{name} must be {rule}" in log.splitlines()[0]
    manifest = orjson.loads((job.model / "manifest.json").read_bytes())
    (job.model / "manifest.json").write_bytes(orjson.dumps(manifest | {"format_version": 99}))
    assert "format_version must be at most 1, got 99" in fails_to_serve(job)[1]
    (job.model / "manifest.json").write_bytes(orjson.dumps(manifest | {"algorithm": "other"}))
    assert f"was trained by other; this container serves {trained.algorithm}" in fails_to_serve(job)[1]
