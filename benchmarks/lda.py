"""LDA beside scikit-learn's variational Bayes, gensim's online one and tomotopy's Gibbs sampling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from algorithms.lda.hyperparameters import LDAHyperparameters
from algorithms.machine import cpu_count
from benchmarks import jobs, synthetic
from benchmarks.floors import Floor
from benchmarks.growth import Growth
from benchmarks.measure import Peer, Row, Size
from formats import Batch

NAME, TOPICS, PASSES = "lda", 20, 2  # PASSES: of gensim's, whose time they share alike
GROWTH = Growth(
    1000,
    500,
    lambda n, d: Batch(synthetic.documents(n, d, TOPICS)),
    lambda n, d: {"num_topics": 10, "feature_dim": d, "mini_batch_size": n},
)


def rows(size: Size, base: Path) -> Iterator[Row]:
    """Training in memory, from files, and mixtures of documents."""
    n, words = size(2000, 200), size(5000, 500)
    corpus = synthetic.documents(n, words, TOPICS)
    given = {"num_topics": TOPICS, "feature_dim": words, "mini_batch_size": n}
    passes = LDAHyperparameters.parse({key: str(value) for key, value in given.items()}).em_passes

    def scikit_learn() -> object:
        from sklearn.decomposition import LatentDirichletAllocation

        return LatentDirichletAllocation(TOPICS, learning_method="batch", max_iter=10, random_state=0).fit(corpus)

    texts = [
        list(zip(corpus.indices[a:b].tolist(), corpus.data[a:b].astype(int).tolist(), strict=True))
        for a, b in zip(corpus.indptr, corpus.indptr[1:], strict=False)
    ]

    def gensim_online() -> object:
        from gensim.models import LdaModel

        return LdaModel(texts, TOPICS, {i: str(i) for i in range(words)}, passes=PASSES, random_state=0)

    drawn = [np.repeat(*np.array(text).T).astype(str).tolist() for text in texts]

    def tomotopy_gibbs() -> object:
        import tomotopy

        model = tomotopy.LDAModel(k=TOPICS, seed=0)
        for text in drawn:
            model.add_doc(text)
        model.train(100, workers=cpu_count())  # 500 are usual
        return model

    yield Row(
        f"core, {n:,} documents, {words:,} words, {corpus.nnz:,} counts, {TOPICS} topics",
        n,
        "documents",
        lambda: jobs.fit(NAME, given, Batch(corpus)),
        {
            "scikit-learn, batch, 10 passes": scikit_learn,
            "gensim LdaModel, 10 passes": Peer(gensim_online, PASSES / 10),
            "tomotopy, 500 iterations": Peer(tomotopy_gibbs, 0.2),
        },
        # each pass, for each count and topic: two products and two sums
        Floor(4.0 * passes * corpus.nnz * TOPICS, 8.0 * passes * corpus.nnz),
    )
    synthetic.write_libsvm(base / "rows.libsvm", Batch(corpus))
    jobs.lay_out(base, given, Batch(corpus))
    yield Row(
        f"end to end, {n:,} documents, ours from RecordIO, theirs from LibSVM",
        n,
        "documents",
        lambda: jobs.program(base, NAME),
        {"scikit-learn": lambda: jobs.peer_program(NAME, base / "rows.libsvm", base / "peer", TOPICS)},
    )
    model, peer = jobs.fit(NAME, given, Batch(corpus)), scikit_learn()
    yield Row(
        f"scoring {n:,} documents",
        n,
        "documents",
        lambda: model.predict(Batch(corpus)),
        {"scikit-learn transform": lambda: peer.transform(corpus)},  # type: ignore[attr-defined]
    )
