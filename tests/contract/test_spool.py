"""Rows that a channel keeps on disk after the first epoch: the same bits, or else nothing is kept and nothing lost."""

import gzip
import json
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from algorithms import spool
from algorithms.channel import Channel
from algorithms.errors import UserError
from algorithms.job import ChannelConfig, Paths
from algorithms.report import Report
from formats import Batch, Expected, recordio
from formats.record_pb2 import Record
from tests.examples import CSV, JSONLINES, LIBSVM, RECORDIO, encoded, encoded_sparse

N, D = 50, 4
EXPECTED = Expected(D, label_columns=1)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A job's folders, whose results go to a disk."""
    made = Paths(tmp_path / "ml")
    made.output.mkdir(parents=True)
    (made.data / "train").mkdir(parents=True)
    return made


def channel(paths: Paths, content_type: str = CSV, mode: str = "File", stopped=lambda: False) -> Channel:
    report = Report("algo-1", "test", None)
    return Channel(ChannelConfig("train", mode=mode), paths.data, content_type, report, stopped, allows_missing=False)


def write(paths: Paths, **files: bytes) -> None:
    for name, content in files.items():
        (paths.data / "train" / name).write_bytes(content)


def read(opened: Channel, rows: int, again: Paths | None, expected: Expected = EXPECTED) -> list[Batch]:
    with opened.epoch(rows, expected, again=again) as batches:
        return list(batches)


def bits(batches: list[Batch]) -> list[object]:
    """All that batches hold, to be compared."""
    found: list[object] = []
    for batch in batches:
        features = batch.features
        dense = isinstance(features, np.ndarray)
        arrays = [features] if dense else [features.data, features.indices, features.indptr]
        if not dense:
            assert features.has_sorted_indices
            assert features.has_canonical_format
        arrays += [batch.labels, batch.weights, batch.groups]
        found.append([None if array is None else (array.dtype, array.shape, array.tobytes()) for array in arrays])
        found.append((len(batch), batch.width, batch.ids))
    return found


def table(n: int = N, d: int = D) -> np.ndarray:
    random = np.random.default_rng(n)
    return (random.normal(size=(n, d)) * (random.random((n, d)) > 0.4)).astype(np.float32)


def text() -> bytes:
    return encoded(table(), CSV, np.arange(N, dtype=np.float32))


def named() -> bytes:
    """Records, sparse ones, each with a uid and a label."""
    frames = []
    for i, row in enumerate(table()):
        message = Record()
        keys = np.flatnonzero(row)
        tensor = message.features["values"].float32_tensor
        tensor.values.extend(row[keys].tolist())
        tensor.keys.extend(keys.tolist())
        tensor.shape.append(D)
        message.label["values"].float32_tensor.values.append(i)
        message.uid = f"row {i} \u00e9"
        frames.append(recordio.frame(message.SerializeToString()))
    return b"".join(frames)


def queries() -> bytes:
    """LibSVM with weights and queries, and a zero that is written."""
    rows = [" ".join(f"{j}:{row[j]}" for j in np.flatnonzero(row)) or "1:0" for row in table()]
    return "".join(f"{i}:0.5 qid:{i // 7} {row}\n" for i, row in enumerate(rows)).encode()


KINDS = {
    "csv": (CSV, text(), EXPECTED),
    "csv, weights": (CSV, encoded(table(d=D + 1) ** 2, CSV, np.arange(N)), replace(EXPECTED, weight_columns=1)),
    "csv, gzip": (CSV, gzip.compress(text()), EXPECTED),
    "json lines, dense": (JSONLINES, encoded(table(), JSONLINES), EXPECTED),
    "json lines, sparse": (JSONLINES, encoded_sparse(table(), JSONLINES), EXPECTED),
    "libsvm": (LIBSVM, queries(), EXPECTED),
    "recordio, gzip, sparse, uid": (RECORDIO, gzip.compress(named()), EXPECTED),
}


@pytest.mark.parametrize("kind", KINDS)
def test_later_epochs_have_the_same_bits_without_the_files(paths: Paths, kind: str) -> None:
    content_type, content, expected = KINDS[kind]
    write(paths, a=content, b=content)
    sizes = 15, 15, 30, 7, 1000
    wanted = [bits(read(channel(paths, content_type), rows, None, expected)) for rows in sizes]
    opened = channel(paths, content_type)
    found = [bits(read(opened, sizes[0], paths, expected))]
    shutil.rmtree(paths.data / "train")
    found += [bits(read(opened, rows, paths if rows < 10 else None, expected)) for rows in sizes[1:]]
    assert found == wanted
    assert sum(number for number, *_ in wanted[0][1::2]) == 2 * N


def firsts(opened: Channel, again: Paths | None) -> list[float]:
    """The first feature of each row of a pass."""
    return [value for batch in read(opened, 7, again, Expected(1)) for value in batch.features[:, 0].tolist()]


def test_only_text_and_gzip_of_an_algorithm_that_asks(paths: Paths) -> None:
    before, after = np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32)
    encode = recordio.encode_features
    for content_type, first, second, again, kept in (
        (CSV, b"0\n" * 3, b"1\n" * 3, paths, True),
        (CSV, b"0\n" * 3, b"1\n" * 3, None, False),
        (RECORDIO, encode(before), encode(after), paths, False),
        (RECORDIO, gzip.compress(encode(before)), gzip.compress(encode(after)), paths, True),
    ):
        opened = channel(paths, content_type)
        write(paths, a=first)
        assert firsts(opened, again) == [0, 0, 0]
        write(paths, a=second)
        assert firsts(opened, again) == [float(not kept)] * 3, content_type


def test_a_fifo_an_epoch_is_read_as_ever(paths: Paths) -> None:
    opened = channel(paths, mode="Pipe")
    for epoch in range(3):
        os.mkfifo(paths.data / f"train_{epoch}")
        writer = threading.Thread(target=(paths.data / f"train_{epoch}").write_bytes, args=(b"%d\n" % epoch,))
        writer.start()
        assert firsts(opened, paths) == [epoch]
        writer.join()


def test_another_width_or_label_column_is_read_from_the_files(paths: Paths) -> None:
    write(paths, a=b"1,2\n3,4\n")
    opened = channel(paths)
    assert [batch.width for batch in read(opened, 2, paths, Expected(None))] == [2]
    write(paths, a=b"5,6\n7,8\n")
    assert read(opened, 2, None, Expected(2))[0].features.tolist() == [[1, 2], [3, 4]]
    [labelled] = read(opened, 2, None, Expected(1, label_columns=1))
    assert labelled.features.tolist() == [[6], [8]]
    with pytest.raises(UserError, match="file 'a', row 1: expected 3 columns, found 2"):
        read(opened, 2, None, Expected(3))


def test_a_pass_that_ended_early_keeps_nothing(paths: Paths) -> None:
    write(paths, a=b"0\n" * 100, b=b"x\n")
    opened = channel(paths)
    with opened.epoch(1, Expected(1), again=paths) as batches:
        next(batches)
    with pytest.raises(UserError, match="file 'b', row 1, column 1: expected a number, found 'x'"):
        firsts(opened, paths)
    write(paths, b=b"2\n")
    assert firsts(opened, paths) == [0] * 100 + [2]
    write(paths, a=b"", b=b"")
    assert firsts(opened, None) == [0] * 100 + [2]


def test_a_pass_that_was_told_to_stop_keeps_nothing(paths: Paths) -> None:
    write(paths, a=b"0\n" * 100)
    told = threading.Event()
    opened = channel(paths, stopped=told.is_set)
    with opened.epoch(1, Expected(1), again=paths) as batches:
        next(batches)
        told.set()
        assert next(batches, None) is None
    told.clear()
    write(paths, a=b"1\n")
    assert firsts(opened, paths) == [1]


def test_a_reader_that_outlived_its_pass_keeps_nothing(paths: Paths) -> None:
    """It was in the midst of a file that is slow when the pass was left, and goes no further than that."""
    os.mkfifo(paths.data / "train" / "a")
    write(paths, b=b"1\n")
    opened = channel(paths)
    with opened.epoch(100, Expected(1), again=paths) as batches, (paths.data / "train" / "a").open("wb", 0) as slow:
        slow.write(b"0\n" * 100)
        assert len(next(batches)) == 100
        threading.Timer(1.5, os.close, [os.dup(slow.fileno())]).start()  # the reader is waited for one second
    for thread in threading.enumerate():
        if thread.name == "read-train":
            thread.join()
    (paths.data / "train" / "a").unlink()
    write(paths, a=b"2\n")
    assert firsts(opened, paths) == [2, 1]


def test_a_disk_that_fails_later_costs_time_only(paths: Paths, lines: list[str]) -> None:
    """The rows that are cut off come from the files, and no row comes twice."""
    content = [float(i) for i in range(100)]
    write(paths, a="".join(f"{value}\n" for value in content).encode())
    opened = channel(paths)
    firsts(opened, paths)
    [kept] = [int(each.name) for each in os.scandir("/proc/self/fd") if " (deleted)" in links(each.path, paths)]
    os.truncate(kept, os.fstat(kept).st_size // 2)
    assert firsts(opened, paths) == content
    assert sum(line.endswith("each epoch reads its files: what was kept is cut short.") for line in lines) == 1
    assert firsts(opened, paths) == content
    assert sum("are not kept" in line for line in lines) == 1


def links(descriptor: str, paths: Paths) -> str:
    """The file of the job that this is open for."""
    name = os.readlink(descriptor) if os.path.islink(descriptor) else ""
    return name if name.startswith(str(paths.base)) else ""


@pytest.mark.parametrize(("found", "kept"), [({}, True), ({"free_memory": 0}, False), ({"_free_disk": 7999}, False)])
def test_room_is_left_for_others(
    paths: Paths, monkeypatch, lines: list[str], found: dict[str, int], kept: bool
) -> None:
    """4,000 bytes of numbers from 2,000 of text: in half of the memory, or of the disk, that is free."""
    for name, size in found.items():
        monkeypatch.setattr(spool, name, lambda *_, size=size: size)
    write(paths, a=b"0\n" * 1000)
    opened = channel(paths)
    firsts(opened, paths)
    write(paths, a=b"1\n")
    assert firsts(opened, paths) == ([0] * 1000 if kept else [1])
    assert sum("more than the" in line for line in lines) == (not kept)


def test_what_is_smaller_than_its_text_needs_no_memory(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "free_memory", lambda: 0)
    write(paths, a=b"0.0000000000000000000000000000\n" * 1000)
    opened = channel(paths)
    firsts(opened, paths)
    write(paths, a=b"1\n")
    assert firsts(opened, paths) == [0] * 1000


@pytest.mark.parametrize("nameless", [True, False])
def test_no_folder_shows_a_file(paths: Paths, monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    if not nameless:  # as where the file system has no O_TMPFILE: there it is unlinked at once
        monkeypatch.setattr(tempfile, "_O_TMPFILE_WORKS", False)
    write(paths, a=b"0\n" * 1000)
    before = sorted(paths.base.rglob("*"))

    def held() -> list[str]:
        found = [links(each.path, paths) for each in os.scandir("/proc/self/fd")]
        return [name for name in found if name.endswith(" (deleted)")]

    opened = channel(paths)
    with opened.epoch(1, Expected(1), again=paths) as batches:
        next(batches)
        assert len(held()) == 1
        assert sorted(paths.base.rglob("*")) == before
        for _ in batches:
            pass
    assert len(held()) == 1
    assert sorted(paths.base.rglob("*")) == before
    del opened
    assert held() == []


def test_without_a_folder_on_a_disk_each_epoch_reads_the_files(paths: Paths, lines: list[str]) -> None:
    for base, reason in (
        (paths.base / "none", "No such file or directory"),
        (Path("/dev/shm"), "/dev/shm is in memory"),
        (Path("/proc/self"), None),  # root, too, cannot write there
    ):
        lines.clear()
        opened = channel(paths)
        for i in range(3):
            write(paths, a=b"%d\n" % i)
            assert firsts(opened, Paths(base)) == [i]
        said = [line for line in lines if "not kept" in line]
        assert len(said) == 1
        start = "The rows of channel 'train' are not kept on disk, each epoch reads its files: "
        assert said[0] == f"{start}{reason}." if reason else said[0].startswith(start)


def test_the_log_says_what_was_read(paths: Paths, lines: list[str]) -> None:
    content = text()
    write(paths, a=content)
    opened = channel(paths)
    read(opened, 30, paths)
    read(opened, 20, paths)
    stats = [json.loads(line.partition("epoch_stats=")[2]) for line in lines if "epoch_stats" in line]
    assert [(each["epoch"], each["num_examples"]) for each in stats] == [(0, 2), (1, 3)]
    assert stats[0]["num_bytes"] == len(content)
    arrays = 4 * N * (D + 1)
    assert arrays < stats[1]["num_bytes"] < arrays + 1000  # and what they are
    assert stats[0]["data_pipeline"] == stats[1]["data_pipeline"] == str(paths.data / "train")
    assert opened.sample is not None
    assert len(opened.sample) == 3
