"""The two halves of a pass of expectation maximisation, over what a sparse corpus holds and nothing else.

Documents find their topics by rows; topics count their words by columns. No two threads write to one place, and a sum
is always added up in one order, so that the number of threads does not change a bit of the result.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport log
from libc.stdint cimport int32_t, int64_t

cdef extern from *:
    """
    static const float TINY = 1e-30f;  // a probability below which a word says nothing, and a count over it might overflow
    typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

    // theta' word, of `blocks` times eight numbers
    static inline float product(const float *theta, const float *word, Py_ssize_t blocks) {
        Eight sum = {};
        for (Py_ssize_t b = 0; b < blocks; b++) sum += *(const Eight *)(theta + 8 * b) * *(const Eight *)(word + 8 * b);
        return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
    }

    // sum += scale word
    static inline void add(float *sum, float scale, const float *word, Py_ssize_t blocks) {
        for (Py_ssize_t b = 0; b < blocks; b++) *(Eight *)(sum + 8 * b) += scale * *(const Eight *)(word + 8 * b);
    }
    """
    const float TINY
    float product(const float *theta, const float *word, Py_ssize_t blocks) noexcept nogil
    void add(float *sum, float scale, const float *word, Py_ssize_t blocks) noexcept nogil


def infer(
    const int64_t[::1] starts,  # IN: (n + 1,) of the documents
    const int32_t[::1] words,  # IN: (nonzeros,)
    const float[::1] counts,  # IN: (nonzeros,)
    const float[:, ::1] topics,  # IN: (V, K) the probability of a word in each topic; K a multiple of 8
    const float[::1] alpha,  # IN: (K,)
    float[:, ::1] theta,  # IN, OUT: (n, K) mixtures, as the last pass left them
    float[:, ::1] scratch,  # SCRATCH: (threads, at least K)
    int rounds,  # IN
    int threads,
):
    """Steps of each document's mixture: in proportion to alpha and what its topics are expected to have given it."""
    cdef Py_ssize_t n = theta.shape[0], d
    if threads == 1:
        with nogil:
            for d in range(n):
                document(starts, words, counts, topics, alpha, &theta[d, 0], &scratch[0, 0], rounds, d)
    else:
        for d in prange(n, nogil=True, num_threads=threads, schedule="dynamic", chunksize=64):
            document(starts, words, counts, topics, alpha, &theta[d, 0], &scratch[threadid(), 0], rounds, d)


cdef void document(
    const int64_t[::1] starts, const int32_t[::1] words, const float[::1] counts, const float[:, ::1] topics,
    const float[::1] alpha, float *theta, float *sums, int rounds, Py_ssize_t d,
) noexcept nogil:
    cdef Py_ssize_t K = topics.shape[1], j, i, r
    cdef float p
    cdef double total
    for r in range(rounds):
        for j in range(K):
            sums[j] = 0
        for i in range(starts[d], starts[d + 1]):
            p = product(theta, &topics[words[i], 0], K // 8)
            if p > TINY:
                add(sums, counts[i] / p, &topics[words[i], 0], K // 8)
        total = 0
        for j in range(K):
            theta[j] = theta[j] * sums[j] + alpha[j]
            total += theta[j]
        for j in range(K):
            theta[j] = <float>(theta[j] / total) if total > 0 else 0


def count(
    const int64_t[::1] starts,  # IN: (V + 1,) of the words
    const int32_t[::1] documents,  # IN: (nonzeros,)
    const float[::1] counts,  # IN: (nonzeros,)
    const float[:, ::1] topics,  # IN: (V, K)
    const float[:, ::1] theta,  # IN: (n, K) mixtures
    float[:, ::1] expected,  # OUT: (V, K) how often each topic is expected to have given the word
    double[::1] likelihood,  # OUT: (V,) sums of counts times log p(word | mixture)
    int threads,
):
    """How often each topic gave each word, and the likelihood before."""
    cdef Py_ssize_t V = topics.shape[0], w
    if threads == 1:
        with nogil:
            for w in range(V):
                word(starts, documents, counts, topics, theta, expected, likelihood, w)
    else:
        for w in prange(V, nogil=True, num_threads=threads, schedule="dynamic", chunksize=64):
            word(starts, documents, counts, topics, theta, expected, likelihood, w)


cdef void word(
    const int64_t[::1] starts, const int32_t[::1] documents, const float[::1] counts, const float[:, ::1] topics,
    const float[:, ::1] theta, float[:, ::1] expected, double[::1] likelihood, Py_ssize_t w,
) noexcept nogil:
    cdef Py_ssize_t K = theta.shape[1], j, i
    cdef float *sums = &expected[w, 0]
    cdef float p
    cdef double total = 0
    for j in range(K):
        sums[j] = 0
    for i in range(starts[w], starts[w + 1]):
        p = product(&theta[documents[i], 0], &topics[w, 0], K // 8)
        if p > TINY:
            add(sums, counts[i] / p, &theta[documents[i], 0], K // 8)
            total += counts[i] * log(p)
    for j in range(K):
        sums[j] = sums[j] * topics[w, j]
    likelihood[w] = total
