"""The model: its answers, its file, and what is not such a file."""

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from algorithms.errors import UserError
from algorithms.lda.metrics import PerWordLogLikelihood
from algorithms.lda.mixtures import mixtures
from algorithms.lda.model import LDAModel
from formats import Batch, ndarray

ALPHA = np.array([0.5, 1.5], np.float32)
BETA = np.array([[0.5, 0.5, 0, 0], [0, 0.25, 0.75, 0]], np.float32)


def saved(folder: Path, *arrays: np.ndarray) -> Path:
    ndarray.save(folder / "model_algo-1", list(arrays))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        LDAModel.load(folder)
    return str(error.value).replace(str(folder), "FOLDER")


def test_answers_by_hand():
    model = LDAModel(ALPHA, BETA)
    assert model.width == 4
    rows = np.array([[9, 0, 0, 0], [0, 0, 1, 5], [3, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 5]], np.float32)
    columns = model.predict(Batch(rows))
    assert list(columns) == ["topic_mixture"]
    found = columns["topic_mixture"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0.75, 0.25], [0.25, 0.75], [0.25, 0.75]], atol=1e-6)


def test_sparse_and_dense_rows_one_and_many(known):
    beta, corpus, _ = known
    model = LDAModel(np.full(10, 0.1, np.float32), beta)
    every = model.predict(Batch(corpus))["topic_mixture"]
    assert np.array_equal(every, mixtures(corpus, beta, 1))
    dense = corpus.toarray()
    assert np.array_equal(model.predict(Batch(dense))["topic_mixture"], every)
    assert np.array_equal(model.predict(Batch(dense[5:6]))["topic_mixture"], every[5:6])
    assert model.predict(Batch(dense[:0]))["topic_mixture"].shape == (0, 10)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_negative_counts(kind):
    rows = kind(np.array([[1, 2, 0, 0], [0, 3, 0, -1.5]], np.float32))
    with pytest.raises(UserError, match=r"row 2.* the count of feature 4 of 4 must be >= 0, got -1\.5\. Please"):
        LDAModel(ALPHA, BETA).predict(Batch(rows))


def test_file(tmp_path):
    LDAModel(ALPHA, BETA).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model_algo-1"]
    arrays = ndarray.load(tmp_path / "model_algo-1")
    assert isinstance(arrays, list)
    assert [array.shape for array in arrays] == [(2,), (2, 4)]
    loaded = LDAModel.load(tmp_path)
    assert np.array_equal(loaded.alpha, ALPHA)
    assert np.array_equal(loaded.beta, BETA)
    assert loaded.beta.flags.c_contiguous


def test_rounded_topics_are_mended(tmp_path):
    """As of float16, or of a user who gave three digits; what is exact to rounding stays bit for bit."""
    off = BETA * np.float32([[1.003], [1]])
    loaded = LDAModel.load(saved(tmp_path, ALPHA.astype(np.float64), off.astype(np.float64)))
    assert loaded.beta.dtype == loaded.alpha.dtype == np.float32
    np.testing.assert_allclose(loaded.beta, BETA, rtol=1e-6)
    almost = np.full((1, 7), 1 / 7, np.float32)
    assert np.array_equal(LDAModel.load(saved(tmp_path, ALPHA[:1], almost)).beta, almost)


def test_a_topic_taken_out(tmp_path):
    loaded = LDAModel.load(saved(tmp_path, ALPHA[1:], BETA[1:]))
    assert np.array_equal(loaded.predict(Batch(np.eye(4, dtype=np.float32)))["topic_mixture"], np.ones((4, 1)))


NOT = "FOLDER/model_algo-1 is not an LDA model: "
SHAPES = NOT + "its arrays must be alpha (num_topics,) and beta (num_topics, feature_dim), got "


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ([ALPHA], NOT + "it must be a list of two arrays, alpha and beta"),
        ([ALPHA, BETA, BETA], NOT + "it must be a list of two arrays, alpha and beta"),
        ([BETA, ALPHA], SHAPES + "(2, 4) and (2,)"),
        ([ALPHA[:1], BETA], SHAPES + "(1,) and (2, 4)"),
        ([ALPHA[:, None], BETA], SHAPES + "(2, 1) and (2, 4)"),
        ([ALPHA[:0], BETA[:0]], SHAPES + "(0,) and (0, 4)"),
        ([-ALPHA, BETA], NOT + "alpha must be finite numbers >= 0, got -0.5 for topic 0"),
        ([ALPHA * np.nan, BETA], NOT + "alpha must be finite numbers >= 0, got nan for topic 0"),
        ([0 * ALPHA, BETA], NOT + "alpha must have a number > 0, all are 0"),
        ([ALPHA, BETA - 0.1], NOT + "beta must be finite numbers >= 0, and topic 0 has others"),
        ([ALPHA, BETA + np.inf], NOT + "beta must be finite numbers >= 0, and topic 0 has others"),
        ([ALPHA, BETA.astype(np.float64) * 1e300], NOT + "beta must be finite numbers >= 0, and topic 0 has others"),
        ([ALPHA, BETA * [[1], [0.9]]], NOT + "each row of beta must sum to 1, and that of topic 1 sums to 0.9"),
        ([ALPHA, BETA * [[0], [1]]], NOT + "each row of beta must sum to 1, and that of topic 0 sums to 0"),
    ],
)
def test_files_that_are_refused(tmp_path, arrays, sentence):
    assert refusal(saved(tmp_path, *arrays)) == sentence


def test_a_dict_is_refused(tmp_path):
    ndarray.save(tmp_path / "model_algo-1", {"alpha": ALPHA, "beta": BETA})
    assert refusal(tmp_path) == NOT + "it must be a list of two arrays, alpha and beta"


def test_no_file_and_damaged_files(tmp_path):
    assert refusal(tmp_path) == "no LDA model in FOLDER: 'model_algo-1' is missing"
    LDAModel(ALPHA, BETA).save(tmp_path)
    file = tmp_path / "model_algo-1"
    whole = file.read_bytes()
    for size in range(0, len(whole), 7):
        file.write_bytes(whole[:size])
        assert refusal(tmp_path).startswith(NOT)
    file.write_bytes(b"no model, but bytes of some length")
    assert refusal(tmp_path).startswith(NOT)


def test_likelihood_by_hand():
    """p of the three words is 1/2, 1/4, 1/4; the fourth is in no topic."""
    corpus = sparse.csr_array(np.array([[2, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 4]], np.float32))
    theta = np.array([[0.5, 0.5]] * 3, np.float32)
    beta = np.array([[0.75, 0.25, 0, 0], [0.25, 0.25, 0.5, 0]], np.float32)
    score = PerWordLogLikelihood()
    assert score.value == 0
    score.add(corpus, theta, beta)
    assert (score.words, score.unknown) == (4, 4)
    assert score.value == pytest.approx((2 * np.log(0.5) + 2 * np.log(0.25)) / 4)
    score.add(corpus, theta, beta)
    assert score.value == pytest.approx((2 * np.log(0.5) + 2 * np.log(0.25)) / 4)


def test_likelihood_in_blocks(known, monkeypatch):
    beta, corpus, theta = known
    p = theta.astype(np.float32).astype(np.float64) @ beta
    counts = corpus.toarray()
    with np.errstate(divide="ignore"):
        expected = (np.where(counts > 0, np.log(p), 0) * counts).sum() / counts.sum()
    for block in (2**20, 77):
        monkeypatch.setattr("algorithms.lda.metrics.BLOCK", block)
        score = PerWordLogLikelihood()
        score.add(corpus, theta.astype(np.float32), beta)
        assert score.value == pytest.approx(expected, rel=1e-6)
        assert score.unknown == 0


def test_no_other_mixtures_are_as_likely():
    random = np.random.default_rng(0)
    model = LDAModel(ALPHA, BETA)
    rows = sparse.csr_array(random.poisson([3, 4, 5, 0], (50, 4)).astype(np.float32))
    best = PerWordLogLikelihood()
    best.add(rows, model.mixtures(rows), BETA)
    for _ in range(20):
        other = PerWordLogLikelihood()
        other.add(rows, random.dirichlet([1, 1], 50).astype(np.float32), BETA)
        assert other.value <= best.value
