"""Answers of `train` and `serve` beside those of the library called directly, to the last bit, on real data.

    python -P benchmarks/equality_xgboost.py [FOLDER]

FOLDER has abalone/abalone.libsvm and abalone.csv, agaricus/agaricus.txt.train and .test, adult/adult-train.csv and
-test.csv, covtype/covtype.csv.gz and movielens-latest-small/{movies,ratings}.csv, as their sources publish them; what
is not there is left out. Without FOLDER the sets that come with scikit-learn are compared.

The library reads the same file with `numpy.loadtxt` (`genfromtxt` where cells are empty) or `load_svmlight_file`. Its
seconds are of that, a DMatrix and `xgboost.train`; ours of the whole program `train`. Each of at most 5,000 rows is
asked in 8 forms of request, 4 forms of answer each.
"""

from __future__ import annotations

import csv as text
import gzip
import io
import itertools
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # a peer's package `tests` would hide ours

import numpy as np
import xgboost
from exchange import ANSWERS, csv, libsvm, numbers, requests, stored
from job_folder import JobFolder
from sklearn import datasets

from algorithms.xgboost.older_releases import portable

ROUNDS = 50
ASKED = 5000
AT_ONCE = 500  # rows of a request


@dataclass(frozen=True)
class Subject:
    """Rows to learn from, as a file, and rows to ask, (n, d) with NaN where a value is missing."""

    name: str
    given: dict[str, str]
    content_type: str
    file: bytes
    asked: np.ndarray
    first_index: int = 0


def in_csv(name: str, given: dict[str, str], features: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> Subject:
    """Rows as a CSV file."""
    return Subject(name, given, "text/csv", csv(labels, features), asked)


def in_libsvm(name: str, given: dict[str, str], file: bytes, asked: bytes) -> Subject:
    """Files of LibSVM, whose first feature is 1; what is not written is missing."""
    width = max(datasets.load_svmlight_file(io.BytesIO(each), zero_based=False)[0].shape[1] for each in (file, asked))
    rows = datasets.load_svmlight_file(io.BytesIO(asked), zero_based=False, n_features=width)[0].tocoo()
    features = np.full(rows.shape, np.nan)
    features[rows.row, rows.col] = rows.data
    return Subject(name, given, "text/libsvm", file, features, first_index=1)


def abalone(folder: Path) -> Iterator[Subject]:
    """Rings of shells: LibSVM as it comes, and CSV with the sex as a number."""
    file = (folder / "abalone.libsvm").read_bytes()
    yield in_libsvm("abalone, LibSVM", {"objective": "reg:squarederror"}, file, file)
    lines = [line.split(",") for line in (folder / "abalone.csv").read_text().split()]
    table = np.array([["MFI".index(sex), *map(float, rest)] for sex, *rest in lines])
    given = {"objective": "count:poisson", "subsample": "0.8", "seed": "3"}
    yield in_csv("abalone, CSV", given, table[:, :-1], table[:, -1], table[:, :-1])


def agaricus(folder: Path) -> Iterator[Subject]:
    """Whether a mushroom is poisonous, from 126 features of which each row has 22."""
    files = [(folder / f"agaricus.txt.{part}").read_bytes() for part in ("train", "test")]
    yield in_libsvm("agaricus", {"objective": "binary:logistic"}, *files)


def adult(folder: Path) -> Iterator[Subject]:
    """Whether somebody earns more than 50,000; words as numbers, `?` is missing."""
    lines = {}
    for part in ("train", "test"):
        with (folder / f"adult-{part}.csv").open(newline="") as file:
            found = [[cell.strip().rstrip(".") for cell in line] for line in text.reader(file)]
        lines[part] = [line for line in found if len(line) == 15]
    columns = list(zip(*lines["train"], *lines["test"], strict=True))
    table = np.column_stack([numbered(column) for column in columns])
    train, test = np.split(table, [len(lines["train"])])
    yield in_csv("adult", {"objective": "binary:logistic"}, train[:, :-1], train[:, -1], test[:, :-1])


def numbered(column: Sequence[str]) -> np.ndarray:
    """Numbers as they are, words by their place in the alphabet, `?` as NaN."""
    words = sorted({cell for cell in column if cell != "?"})
    if all(re.fullmatch(r"-?\d+", word) for word in words):
        return np.array([np.nan if cell == "?" else float(cell) for cell in column])
    places = {word: float(i) for i, word in enumerate(words)} | {"?": np.nan}
    return np.array([places[cell] for cell in column])


def covtype(folder: Path) -> Iterator[Subject]:
    """The kind of forest, of seven; the first 50,000 rows to learn from, the next to ask."""
    with gzip.open(folder / "covtype.csv.gz", "rt") as file:
        table = np.loadtxt(itertools.islice(file, 1, 50_001 + ASKED), delimiter=",")
    train, test = np.split(table, [50_000])
    given = {"objective": "multi:softprob", "num_class": "7"}
    yield in_csv("covtype", given, train[:, :-1], train[:, -1] - 1, test[:, :-1])


def movielens(folder: Path) -> Iterator[Subject]:
    """Ranking: a user is a query, what he or she gave a film its relevance; genres, year and number of ratings."""
    with (folder / "movies.csv").open(newline="") as file:
        films = {line["movieId"]: line for line in text.DictReader(file)}
    with (folder / "ratings.csv").open(newline="") as file:
        ratings = list(text.DictReader(file))
    genres = sorted({genre for film in films.values() for genre in film["genres"].split("|")})
    counts: dict[str, int] = {}
    for rating in ratings:
        counts[rating["movieId"]] = counts.get(rating["movieId"], 0) + 1
    features = np.full((len(ratings), len(genres) + 2), np.nan)
    for row, rating in zip(features, ratings, strict=True):
        film = films[rating["movieId"]]
        row[[genres.index(genre) for genre in film["genres"].split("|")]] = 1
        if year := re.search(r"\((\d{4})\)", film["title"]):
            row[-2] = int(year[1])
        row[-1] = counts[rating["movieId"]]
    relevance = np.array([2 * float(rating["rating"]) for rating in ratings])
    users = np.array([int(rating["userId"]) for rating in ratings])
    file_ = libsvm(stored(features), relevance, users, first_index=1)
    given = {"objective": "rank:ndcg", "eval_metric": "ndcg@10"}
    yield Subject("movielens, users", given, "text/libsvm", file_, features, first_index=1)


def bundled() -> Iterator[Subject]:
    """What comes with scikit-learn; its sets have no queries, so ten rows of one make a query."""
    features, labels = datasets.load_diabetes(return_X_y=True)
    yield in_csv("diabetes", {"objective": "reg:squarederror"}, features, labels, features)
    ranked = libsvm(stored(features), np.ceil(labels / 100), np.arange(len(labels)) // 10, first_index=1)
    yield Subject("diabetes, by tens", {"objective": "rank:ndcg"}, "text/libsvm", ranked, features, first_index=1)
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    yield in_csv("breast cancer", {"objective": "binary:logistic"}, features, labels, features)
    features, labels = datasets.load_digits(return_X_y=True)
    for objective in ("multi:softprob", "multi:softmax"):
        yield in_csv("digits", {"objective": objective, "num_class": "10"}, features, labels, features)


def by_the_library(subject: Subject) -> tuple[xgboost.Booster, tuple[int, int], float]:
    """The library's booster, the shape of what it learned from, and seconds; warmed up where that matters."""
    start = time.perf_counter()
    if subject.content_type == "text/libsvm":
        features, labels, queries = datasets.load_svmlight_file(
            io.BytesIO(subject.file), zero_based=False, query_id=True, n_features=subject.asked.shape[1]
        )
        matrix = xgboost.DMatrix(features, labels, qid=queries if b"qid:" in subject.file[:50] else None)
    else:
        read = np.genfromtxt if b",," in subject.file else np.loadtxt
        table = read(io.BytesIO(subject.file), delimiter=",")
        matrix = xgboost.DMatrix(table[:, 1:], table[:, 0])
    metric = {"eval_metric": subject.given["eval_metric"]} if "eval_metric" in subject.given else {}
    booster = xgboost.train(subject.given | metric, matrix, ROUNDS, evals=[(matrix, "train")], verbose_eval=False)
    return booster, (matrix.num_row(), matrix.num_col()), time.perf_counter() - start


def compare(subject: Subject, folder: Path) -> None:
    """Prints the line of one set. Fails if a program does."""
    booster, shape, library = by_the_library(subject)
    job = JobFolder(folder, "xgboost", {**subject.given, "num_round": str(ROUNDS)})
    job.channel("train", {"data": subject.file}, subject.content_type)
    start = time.perf_counter()
    ended = job.train()
    ours = time.perf_counter() - start
    assert ended.exit_code == 0, ended.log
    greatest, numbers_, unequal = 0.0, 0, 0
    with job.serve() as served:
        for first in range(0, min(ASKED, len(subject.asked)), AT_ONCE):
            rows = subject.asked[first : min(first + AT_ONCE, ASKED)]
            wanted = booster.predict(xgboost.DMatrix(rows)).reshape(-1)
            for content_type, body in requests(rows, subject.first_index).values():
                for accept in ANSWERS:
                    answer = served.invoke(body, content_type, accept)
                    assert answer.status == 200, answer.body
                    found = numbers(answer.body, accept)
                    greatest = max(greatest, float(np.abs(found.astype(float) - wanted).max()))
                    unequal += int((found.view(np.uint32) != wanted.view(np.uint32)).sum())
                    numbers_ += len(found)
    same = "yes" if trees(job.model / "xgboost-model") == trees(booster) else "no"
    size = f"{shape[0]:,} x {shape[1]}"
    print(
        f"{subject.name:<18}{subject.given['objective']:<18}{size:>13}{same:>7}{numbers_:>11,}{unequal:>9}"
        f"{greatest:>12g}{ours:>8.2f} s{library:>8.2f} s",
        flush=True,
    )


def trees(model: Path | xgboost.Booster) -> bytes:
    """The model's bytes without what training from LibSVM adds, the number of the first feature."""
    content = model.read_bytes() if isinstance(model, Path) else portable(bytes(model.save_raw("ubj")))
    booster = xgboost.Booster(model_file=bytearray(content))
    booster.set_attr(first_index=None)
    return bytes(booster.save_raw("ubj"))


SETS: dict[str, Callable[[Path], Iterator[Subject]]] = {
    "abalone": abalone,
    "agaricus": agaricus,
    "adult": adult,
    "covtype": covtype,
    "movielens-latest-small": movielens,
}


def subjects(folder: Path | None) -> Iterator[Subject]:
    """What there is to compare."""
    if folder is None:
        print("no FOLDER of data was given (see the first lines of this file): the sets of scikit-learn instead")
        yield from bundled()
        return
    for name, make in SETS.items():
        if (folder / name).is_dir():
            yield from make(folder / name)
        else:
            print(f"{name:<18}is not in {folder}")


def main() -> None:
    """Prints a line for each set."""
    print(f"xgboost {xgboost.__version__}, {ROUNDS} rounds, all else default unless the set says otherwise")
    print(
        f"{'set':<18}{'objective':<18}{'rows':>13}{'model':>7}{'numbers':>11}{'unequal':>9}{'greatest':>12}"
        f"{'train':>10}{'library':>10}\n{'':<49}{'equal':>7}{'compared':>11}{'':>9}{'difference':>12}"
    )
    for subject in subjects(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        with tempfile.TemporaryDirectory() as folder:
            compare(subject, Path(folder))


if __name__ == "__main__":
    main()
