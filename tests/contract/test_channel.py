"""A channel by itself: what it reads, in which order, and that it lets go."""

import gzip
import os
import threading
import time
from pathlib import Path

import pytest

from algorithms.channel import Channel
from algorithms.errors import UserError
from algorithms.job import ChannelConfig
from algorithms.report import Report
from formats import Expected


def channel(data: Path, mode: str = "File", content_type: str = "text/csv", stopped=lambda: False) -> Channel:
    report = Report("algo-1", "test", None)
    return Channel(ChannelConfig("train", mode=mode), data, content_type, report, stopped, allows_missing=False)


def read(opened: Channel, rows: int = 2) -> list[list[float]]:
    with opened.epoch(rows, Expected(1)) as batches:
        return [batch.features[:, 0].tolist() for batch in batches]


def test_files_in_sorted_order_cut_to_batches(tmp_path: Path) -> None:
    for name, text in {
        "b": "3\n",
        "a/2": "2\n",
        "a/10": "1\n",
        "c": "4\n5\n",
        ".d": "no",
        "_e": "no",
        "f.manifest": "no",
    }.items():
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_text(text)
    opened = channel(tmp_path)
    assert read(opened) == [[1, 2], [3, 4], [5]]
    assert read(opened, 3) == [[1, 2, 3], [4, 5]]
    assert opened.sample.features.tolist() == [[1], [2]]


def test_gzip_members_one_after_another(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "data").write_bytes(gzip.compress(b"1\n2\n") + gzip.compress(b"3\n"))
    assert read(channel(tmp_path)) == [[1, 2], [3]]


@pytest.mark.parametrize("pieces", [[b"1\n", b"2\n3\n"], [b"1", b"\n2", b"\n", b"3"], [gzip.compress(b"1\n2\n3\n")]])
def test_a_fifo_in_pieces(tmp_path: Path, pieces: list[bytes]) -> None:
    os.mkfifo(tmp_path / "train_0")

    def write() -> None:
        with (tmp_path / "train_0").open("wb", buffering=0) as fifo:
            for piece in pieces:
                fifo.write(piece)
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    assert read(channel(tmp_path, "Pipe")) == [[1, 2], [3]]
    writer.join()


def test_leaving_early_closes_the_fifo_and_the_next_epoch_opens_the_next(tmp_path: Path) -> None:
    for epoch in (0, 1):
        os.mkfifo(tmp_path / f"train_{epoch}")
    written: list[str] = []

    def write() -> None:
        try:
            with (tmp_path / "train_0").open("wb", buffering=0) as fifo:
                while True:
                    fifo.write(b"1\n" * 1000)
        except BrokenPipeError:
            written.append("the reader has gone")
        (tmp_path / "train_1").write_bytes(b"7\n")

    writer = threading.Thread(target=write)
    writer.start()
    opened = channel(tmp_path, "Pipe")
    with opened.epoch(2, Expected(1)) as batches:
        assert next(batches).features.tolist() == [[1], [1]]
    assert read(opened) == [[7]]
    writer.join()
    assert written == ["the reader has gone"]


def test_a_stop_ends_the_epoch_while_nothing_comes(tmp_path: Path) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    assert read(channel(tmp_path, "Pipe", stopped=stop.is_set)) == []  # the FIFO never appears
    timer.join()


def test_a_fault_reaches_the_one_who_reads_after_the_rows_before_it(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a").write_text("1\n2\n")
    (tmp_path / "train" / "b").write_text("3\nx\n")
    with channel(tmp_path).epoch(1, Expected(1)) as batches:
        assert [float(next(batches).features[0, 0]) for _ in range(3)] == [1, 2, 3]
        with pytest.raises(UserError) as refused:
            next(batches)
    assert str(refused.value) == (
        "Unable to read data channel 'train' as text/csv: file 'b', row 2, column 1: expected a number, found 'x'"
    )
