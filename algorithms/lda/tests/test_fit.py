"""Training, around the numbers: what it finds on documents of known topics, what is logged, what a stop leaves."""

import re
import time

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.job import NothingLearned
from algorithms.lda.fit import evaluate, fit
from algorithms.lda.metrics import PerWordLogLikelihood
from algorithms.lda.model import LDAModel
from formats import Batch


@pytest.fixture
def train(make_job, configure):
    """`train(rows, k, ...)`: the model of a job with one file."""

    def model(rows, k, **given):
        few = {"max_restarts": 2, "em_passes": 30}  # of 10 and 320: enough here, and soon
        return fit(make_job(rows), configure(**{"feature_dim": rows.shape[1], "num_topics": k, **few, **given}))

    return model


def test_two_topics_without_a_word_in_two(train):
    """Documents about the first two words or the last two, and of both."""
    random = np.random.default_rng(0)
    topics = np.array([[0.7, 0.3, 0, 0], [0, 0, 0.4, 0.6]])
    rows = random.multinomial(50, random.dirichlet([0.5, 0.5], 2000) @ topics).astype(np.float32)
    model = train(rows, 2)
    order = model.beta[:, 0].argsort()[::-1]
    np.testing.assert_allclose(model.beta[order], topics, atol=0.02)
    np.testing.assert_allclose(model.beta.sum(axis=1, dtype=np.float64), 1, atol=1e-5)
    np.testing.assert_allclose(model.prior[order], [0.5, 0.5], atol=0.05)
    assert (model.alpha > 0).all()


def test_topics_of_known_documents(train, known):
    beta, corpus, _ = known
    model = train(corpus, 10, em_passes=320, mini_batch_size=2000)
    distance = np.abs(model.beta[:, None] - beta[None]).sum(axis=2)
    assert sorted(distance.argmin(axis=0)) == list(range(10))
    assert distance.min(axis=0).max() < 0.05


def test_sparse_and_dense_documents_give_one_model(train, known):
    corpus = known[1][:500]
    sparse_model, dense_model = train(corpus, 3), train(corpus.toarray(), 3)
    assert np.array_equal(sparse_model.beta, dense_model.beta)
    assert np.array_equal(sparse_model.alpha, dense_model.alpha)


def test_the_same_seed_gives_the_same_bits(train, known):
    one, two = (train(known[1][:500], 4, seed=5) for _ in range(2))
    assert np.array_equal(one.beta, two.beta)
    assert np.array_equal(one.alpha, two.alpha)


def test_several_files(make_job, configure, known):
    """And an empty one: as one file."""
    corpus = known[1][:500]
    given = configure(feature_dim=25, num_topics=3, max_restarts=2, em_passes=30)
    whole = fit(make_job(corpus), given)
    parts = fit(make_job(corpus[:120], corpus[:0], corpus[120:]), given)
    assert np.array_equal(parts.beta, whole.beta)


def test_the_log(train, lines, known):
    """The lines that the hosted service writes, and what the memory holds."""
    train(known[1][:400], 4, mini_batch_size=400)
    text = "\n".join(lines)
    assert "Loaded all data into matrix with shape: (400, 25)" in lines
    assert re.search(r"^Restart 1/2$", text, re.MULTILINE)
    assert re.search(r"^Best reconstruction error: 0\.\d+", text, re.MULTILINE)
    held = r"^400 document\(s\) have \d+ counts that are not 0, in \d+ bytes of memory; \d+ bytes are left\.$"
    assert re.search(held, text, re.MULTILINE)
    assert lines[-1].startswith("Serializing LDA model to ")
    assert lines[-1].endswith("/model/model_algo-1")
    assert re.search(r"^#progress_metric: host=algo-1, completed 100 % of epochs$", text, re.MULTILINE)
    assert float(re.findall(r"train throughput=(\S+) records/second", text)[0]) > 0
    [counted] = [line for line in lines if line.startswith("#metrics") and "training_data_iter" in line]
    assert '"Number of Records Since Last Reset": {"sum": 400.0' in counted
    assert "mini_batch_size" not in text
    assert "whole numbers" not in text


@pytest.mark.parametrize("size", [1, 399, 5000])
def test_mini_batch_size_does_not_matter(train, lines, known, size):
    corpus = known[1][:400]
    model = train(corpus, 3, mini_batch_size=size)
    assert f"mini_batch_size is {size}, and there are 400 documents: all of them are used." in lines
    assert np.array_equal(model.beta, train(corpus, 3, mini_batch_size=400).beta)


def test_a_stop_before_the_first_document_leaves_no_model(make_job, configure, known):
    with pytest.raises(NothingLearned):
        fit(make_job(known[1][:100], stopped=lambda: True), configure(feature_dim=25, num_topics=2))


class StoppedAfter:
    """Tells a job to stop once its channel has given so many batches, or once it was asked so often without any."""

    def __init__(self, batches):
        self.left = batches

    def __call__(self):
        return self.left <= 0

    def watch(self, channel, monkeypatch):
        consume = channel._consume

        def watched(ready):
            for batch in consume(ready):
                self.left -= 1
                yield batch

        monkeypatch.setattr(channel, "_consume", watched)


def test_a_stop_while_reading_keeps_what_was_read(make_job, configure, monkeypatch, lines, known):
    """10,000 documents are more than are read at once; the model is that of the first ones, soon."""
    rows = sparse.vstack([known[1]] * 5, format="csr")
    stop = StoppedAfter(1)
    job = make_job(rows, stopped=stop)
    stop.watch(job.channels["train"], monkeypatch)
    started = time.perf_counter()
    model = fit(job, configure(feature_dim=25, num_topics=10))
    assert time.perf_counter() - started < 5
    assert "Loaded all data into matrix with shape: (4096, 25)" in lines
    assert model.beta.shape == (10, 25)
    assert np.isfinite(model.beta).all()
    assert not [line for line in lines if "#progress_metric" in line]


def test_a_stop_with_too_few_documents_leaves_no_model(make_job, configure, monkeypatch):
    """The first 4,096 documents are of one word; the others would have given two topics."""
    rows = np.zeros((5000, 4), np.float32)
    rows[:, 0] = 3
    rows[4096:, 1:] = np.random.default_rng(0).poisson(3, (904, 3))
    stop = StoppedAfter(1)
    job = make_job(rows, stopped=stop)
    stop.watch(job.channels["train"], monkeypatch)
    with pytest.raises(NothingLearned):
        fit(job, configure(feature_dim=4, num_topics=2))


def test_a_stop_while_learning_keeps_what_is_there(make_job, configure, lines, known):
    """Told when the data are read, before the first restart has ended: there are no passes of EM."""
    reads = []

    def stopped():
        return "Loaded all data into matrix with shape: (2000, 25)" in lines and bool(reads.append(1) or len(reads) > 2)

    model = fit(make_job(known[1], stopped=stopped), configure(feature_dim=25, num_topics=10))
    assert "Restart 10/10" not in lines
    assert model.beta.shape == (10, 25)


def test_the_test_channels_score(make_job, configure, known):
    beta, corpus, _ = known
    model = LDAModel(np.full(10, 0.1, np.float32), beta)
    given = configure(feature_dim=25, num_topics=10)
    parts = [Batch(corpus[:700]), Batch(corpus[700:701].toarray()), Batch(corpus[701:])]
    found = evaluate(make_job(corpus[:10]), given, model, iter(parts))
    exact = PerWordLogLikelihood()
    exact.add(corpus, model.mixtures(corpus), beta)
    assert list(found) == ["pwll"]
    assert found["pwll"] == pytest.approx(exact.value, rel=1e-9)
    assert -np.log(25) < found["pwll"] < 0  # better than words at random


def test_words_that_no_topic_has_are_left_out_of_the_score(make_job, configure, known, lines):
    beta, corpus, _ = known
    model = LDAModel(np.full(10, 0.1, np.float32), np.pad(beta, ((0, 0), (0, 1))))
    rows = np.zeros((2, 26), np.float32)
    rows[0, [0, 25]] = 3, 1
    found = evaluate(make_job(corpus[:10]), configure(feature_dim=26, num_topics=10), model, iter([Batch(rows)]))
    assert found["pwll"] == pytest.approx(np.log(0.2), rel=1e-6)
    assert "25 % of the words in channel 'test' are in none of their documents' topics: left out." in lines


@pytest.mark.parametrize("row", [np.zeros(26), np.eye(26)[25]])
def test_nothing_to_score_is_no_perfect_score(make_job, configure, known, row):
    beta, corpus, _ = known
    model = LDAModel(np.full(10, 0.1, np.float32), np.pad(beta, ((0, 0), (0, 1))))
    with pytest.raises(UserError, match=r"^channel 'test' has no words that the topics of its documents have"):
        evaluate(
            make_job(corpus[:10]),
            configure(feature_dim=26, num_topics=10),
            model,
            iter([Batch(np.float32([row]))]),
        )


def test_negative_counts_in_the_test_channel(make_job, configure, known):
    beta, corpus, _ = known
    model = LDAModel(np.full(10, 0.1, np.float32), beta)
    rows = corpus[:9].toarray()
    rows[4, 7] = -1
    with pytest.raises(
        UserError, match=r"^channel 'test': row 14: the count of feature 8 of 25 must be >= 0, got -1\."
    ):
        evaluate(
            make_job(corpus[:10]),
            configure(feature_dim=25, num_topics=10),
            model,
            iter([Batch(corpus[:9]), Batch(rows)]),
        )
