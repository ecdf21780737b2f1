"""What LDA finds in a corpus with known topics, and in 20 Newsgroups beside scikit-learn, gensim and tomotopy.

    python -m benchmarks.quality_lda GRIFFITHS.npz 20NEWSGROUPS.npz

The first is the bars of Griffiths and Steyvers: `documents`, `theta`, `alpha`, `beta`; its last 600 documents are
tested. The second is `train_*`, `test_*` (`indptr`, `indices`, `counts`) and `vocabulary`. Log likelihoods a word are
those of the mixtures that maximise them. NPMI is of the ten first words of a topic, by documents of the training set.
The others' settings are their usual ones: scikit-learn's and gensim's 10 passes, tomotopy's 500 iterations.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import LatentDirichletAllocation

import algorithms
from algorithms.lda.mixtures import mixtures
from algorithms.lda.topics import learn
from algorithms.machine import cpu_count

TOP, TOPICS = 10, 20
SEEDS, OTHERS = 8, 4  # of ours, and of tomotopy's


def train(corpus: sparse.csr_array, k: int, seed: int) -> tuple[Any, float]:
    """Topics with the defaults, and seconds."""
    given = {"num_topics": str(k), "feature_dim": str(corpus.shape[1]), "mini_batch_size": str(corpus.shape[0])}
    h = algorithms.find("lda").hyperparameters.parse(given)
    started = time.perf_counter()
    topics = learn(corpus, h, np.random.default_rng(seed), cpu_count(), lambda: False)
    return topics, time.perf_counter() - started


def per_word(corpus: sparse.csr_array, beta: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean log likelihood of a word, and the mixtures (n, k)."""
    theta = mixtures(corpus, beta, cpu_count())
    rows = np.repeat(np.arange(corpus.shape[0]), np.diff(corpus.indptr))
    p = np.einsum("ik,ik->i", theta[rows].astype(np.float64), beta.T[corpus.indices])
    known = p > 0
    return float(corpus.data[known] @ np.log(p[known]) / corpus.data[known].sum()), theta


def npmi(beta: np.ndarray, corpus: sparse.csr_array) -> np.ndarray:
    """(k,) mean over pairs of a topic's TOP words; pairs that never meet count -1."""
    there, scores = (corpus > 0).astype(np.float64).tocsc(), []
    for row in beta:
        chosen = there[:, np.argsort(-row, kind="stable")[:TOP]]
        together = (chosen.T @ chosen).toarray() / corpus.shape[0]
        alone = together.diagonal()
        first, second = np.triu_indices(TOP, 1)
        p = together[first, second]
        safe = np.where(p > 0, p, 0.5)
        scores.append(np.where(p > 0, np.log(safe / alone[first] / alone[second]) / -np.log(safe), -1).mean())
    return np.array(scores)


def known_topics(path: str) -> None:
    """Errors beside the truth."""
    data = np.load(path)
    corpus = sparse.csr_array(data["documents"].astype(np.float32))
    topics, seconds = train(corpus[:5400], 10, 0)
    order = linear_sum_assignment(np.abs(data["beta"][:, None] - topics.beta[None]).sum(axis=2))[1]
    beta, alpha = np.ascontiguousarray(topics.beta[order]), topics.alpha[order]
    likelihood, theta = per_word(corpus[5400:], beta)
    print(f"known topics, {seconds:.1f} s: norm of beta's error {np.linalg.norm(data['beta'] - beta, 1):.4f}, ", end="")
    print(f"L1 of alpha's {np.abs(data['alpha'] - alpha).sum():.4f}, ", end="")
    print(f"of theta's {np.abs(theta - data['theta'][5400:]).sum(axis=1).mean():.4f}, pwll {likelihood:.4f}")


def newsgroups(path: str) -> None:
    """Seconds, log likelihoods and coherence, in turn; then the first words."""
    data = np.load(path, allow_pickle=True)
    V = len(data["vocabulary"])
    sets = [
        sparse.csr_array(
            (data[f"{s}_counts"].astype(np.float32), data[f"{s}_indices"], data[f"{s}_indptr"]),
            shape=(len(data[f"{s}_indptr"]) - 1, V),
        )
        for s in ("train", "test")
    ]
    means = []
    for seed in range(SEEDS):
        topics, seconds = train(sets[0], TOPICS, seed)
        tell(f"inbuilt, seed {seed}", seconds, topics.beta, *sets)
        means.append(npmi(topics.beta, sets[0]).mean())
    print(f"inbuilt, mean NPMI {np.mean(means):.4f}")
    for name, peer in peers(sets[0]).items():
        started = time.perf_counter()
        weights = np.asarray(peer(), np.float64)
        seconds = time.perf_counter() - started
        tell(name, seconds, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), *sets)
    scores = npmi(topics.beta, sets[0])
    for i in np.argsort(-scores):
        print(
            f"  {scores[i]:.3f} {topics.alpha[i]:.3f} {' '.join(data['vocabulary'][np.argsort(-topics.beta[i])[:TOP]])}"
        )


def peers(corpus: sparse.csr_array) -> dict[str, Callable[[], np.ndarray]]:
    """What trains each of the others and answers (k, V) weights of words; no time is taken by what they read."""
    texts = [
        list(zip(corpus.indices[a:b].tolist(), corpus.data[a:b].astype(int).tolist(), strict=True))
        for a, b in zip(corpus.indptr, corpus.indptr[1:], strict=False)
    ]
    drawn = [[str(word) for word, count in text for _ in range(count)] for text in texts]

    def scikit_learn(method: str) -> np.ndarray:
        model = LatentDirichletAllocation(TOPICS, learning_method=method, max_iter=10, random_state=0)
        return np.asarray(model.fit(corpus).components_)

    def gensim() -> np.ndarray:
        from gensim.models import LdaModel

        names = {i: str(i) for i in range(corpus.shape[1])}
        return np.asarray(LdaModel(texts, TOPICS, names, passes=10, random_state=0).get_topics())

    def tomotopy(seed: int) -> np.ndarray:
        import tomotopy

        model = tomotopy.LDAModel(k=TOPICS, seed=seed)
        for text in filter(None, drawn):
            model.add_doc(text)
        model.train(500, workers=cpu_count())
        found = np.zeros((TOPICS, corpus.shape[1]))
        for topic in range(TOPICS):
            found[topic, [int(word) for word in model.used_vocabs]] = model.get_topic_word_dist(topic)
        return found

    return {
        "scikit-learn, batch": lambda: scikit_learn("batch"),
        "scikit-learn, online": lambda: scikit_learn("online"),
        "gensim": gensim,
        **{f"tomotopy, seed {seed}": partial(tomotopy, seed) for seed in range(OTHERS)},
    }


def tell(name: str, seconds: float, beta: np.ndarray, train: sparse.csr_array, test: sparse.csr_array) -> None:
    """A line of the table."""
    print(f"{name:22} {seconds:6.1f} s  pwll {per_word(test, beta)[0]:.4f}  NPMI {npmi(beta, train).mean():.4f}")


if __name__ == "__main__":
    logging.getLogger("inbuilt").setLevel(logging.CRITICAL)
    known_topics(sys.argv[1])
    newsgroups(sys.argv[2])
