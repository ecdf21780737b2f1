"""Data that no topics can be learned from: the sentence, with its place."""

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.lda import corpus as corpus_module
from algorithms.lda.corpus import Corpus, documents
from algorithms.lda.fit import fit

both_kinds = pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])


def documents_of(n: int) -> np.ndarray:
    random = np.random.default_rng(0)
    topics = np.array([[0.7, 0.3, 0, 0], [0, 0, 0.4, 0.6]])
    return random.multinomial(30, random.dirichlet([0.5, 0.5], n) @ topics).astype(np.float32)


@pytest.fixture
def train(make_job, configure):
    return lambda *parts, k=2, **given: fit(make_job(*parts), configure(feature_dim=4, num_topics=k, **given))


def refusal(train, *parts, **given) -> str:
    with pytest.raises(UserError) as error:
        train(*parts, **given)
    return str(error.value)


PLACE = "Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-1', row 3: "


@both_kinds
def test_negative_counts(train, kind):
    rows = documents_of(5)
    rows[2, 3] = -2.5
    assert refusal(train, kind(documents_of(50)), kind(rows)) == (
        f"{PLACE}the count of feature 4 of 4 must be >= 0, got -2.5. Please give word counts, without centring or "
        "scaling them"
    )


@both_kinds
@pytest.mark.parametrize(("value", "what"), [(np.nan, "a missing (NaN) value"), (np.inf, "an infinite value")])
def test_counts_that_are_no_numbers(train, kind, value, what):
    rows = documents_of(5)
    rows[2, 1] = value
    assert f"{PLACE}feature 2 of 4 is {what}" in refusal(train, kind(documents_of(50)), kind(rows))


@both_kinds
def test_fractions_are_taken_and_said_once(train, lines, kind):
    rows = documents_of(200)
    rows[6, 1], rows[9, 0] = 1.25, 0.5
    model = train(kind(rows))
    assert [line for line in lines if "whole" in line] == [
        "Counts are not all whole numbers: row 7 has 1.25. They are taken as they are."
    ]
    assert np.isfinite(model.beta).all()


def test_no_documents(train):
    assert refusal(train, np.empty((0, 4), np.float32)) == (
        "No data in channel 'train'. Please verify that it points to files with at least one record."
    )


@both_kinds
@pytest.mark.parametrize(
    ("rows", "k"),
    [
        (np.zeros((50, 4)), 1),  # no words
        (np.eye(4)[[0, 1, 2, 3] * 20], 2),  # a word each: nothing says which words go together
        (np.tile([3, 0, 0, 0], (50, 1)), 2),  # one word
        (np.tile([3, 3, 0, 0], (1, 1)), 2),  # one document
    ],
    ids=["no words", "short documents", "one word", "one document"],
)
def test_documents_that_do_not_have_so_many_topics(train, kind, rows, k):
    sentence = refusal(train, kind(rows.astype(np.float32)), k=k)
    assert 30 < len(sentence) < 500
    assert "num_topics" in sentence or "words" in sentence


def test_empty_documents_among_others_change_nothing(train):
    rows = documents_of(300)
    with_empty = np.insert(rows, [0, 5, 5, 300], 0, axis=0)
    ours, theirs = train(rows), train(with_empty)
    order = ours.beta[:, 0].argsort(), theirs.beta[:, 0].argsort()
    np.testing.assert_allclose(ours.beta[order[0]], theirs.beta[order[1]], atol=1e-3)


@both_kinds
def test_another_width(train, kind):
    sentence = refusal(train, kind(np.ones((4, 3), np.float32)))
    assert sentence.startswith("Unable to read data channel 'train' as application/x-recordio-protobuf: file 'part-0'")
    assert "expected 4" in sentence


def test_more_than_the_memory_holds(monkeypatch):
    monkeypatch.setattr(corpus_module, "free_memory", lambda: 3000.0)
    found = Corpus(4)
    found.add(np.ones((100, 4), np.float32))
    with pytest.raises(UserError, match=r"^the first 200 documents take 0\.0 GiB of memory, and 0\.0 GiB are left\."):
        found.add(np.ones((100, 4), np.float32))


def test_batches_become_one_matrix():
    random = np.random.default_rng(0)
    rows = random.poisson(0.5, (50, 7)).astype(np.float32)
    found = Corpus(7)
    for part in (rows[:0], rows[:20], sparse.csr_array(rows[20:21]), sparse.csr_array(rows[21:])):
        found.add(part)
    assert (found.rows, found.entries) == (50, np.count_nonzero(rows))
    matrix = found.matrix()
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix.toarray(), rows)
    assert matrix.nnz == np.count_nonzero(rows)
    assert np.array_equal(documents(rows).toarray(), rows)
    assert Corpus(3).matrix().shape == (0, 3)
