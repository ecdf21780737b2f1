"""A sweep of stochastic expectation maximisation: every word of every document draws a topic.

A document's draws follow from its contents and the sweep's seed, not from its place nor from the thread, and what is
counted are whole numbers: neither the order of the documents nor the number of threads changes a bit of the result.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport ceilf, llrintf
from libc.stdint cimport int16_t, int32_t, int64_t, uint64_t

cdef enum:
    PIECES = 32  # draws of a word in a document, at most: a power of 2, so that a share of a count is exact
    UNIT = 65536  # in which counts are counted

cdef extern from *:
    """
    #include <cstdint>
    typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

    static inline float total(Eight x) { return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7])); }

    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): x + its constant, mixed
    static inline uint64_t mixed(uint64_t x) {
        x += 0x9e3779b97f4a7c15ull;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        return x ^ (x >> 31);
    }

    // Number of a topic drawn in proportion to weight[j] word[j]: first its eight, then its place there; -1: all are 0
    static inline int drawn(const float *weight, const float *word, float *eights, Py_ssize_t blocks, uint64_t random) {
        float sum = 0;
        for (Py_ssize_t b = 0; b < blocks; b++) {
            eights[b] = total(*(const Eight *)(weight + 8 * b) * *(const Eight *)(word + 8 * b));
            sum += eights[b];
        }
        float left = (random >> 40) * (1.0f / 16777216) * sum;
        Py_ssize_t b = 0;
        while (b < blocks - 1 && left >= eights[b]) left -= eights[b++];
        int topic = -1;
        for (Py_ssize_t j = 8 * b; j < 8 * b + 8 && left >= 0; j++) {
            float p = weight[j] * word[j];
            if (p > 0) {
                topic = j;
                left -= p;
            }
        }
        return topic;
    }
    """
    uint64_t mixed(uint64_t x) noexcept nogil
    int drawn(const float *weight, const float *word, float *eights, Py_ssize_t blocks, uint64_t random) noexcept nogil


def pieces(
    const int64_t[::1] starts,  # IN: (n + 1,) of the documents
    const int32_t[::1] words,  # IN: (nonzeros,)
    const float[::1] counts,  # IN: (nonzeros,)
    int64_t[::1] first,  # OUT: (n + 1,) the first draw of each document
    uint64_t[::1] keys,  # OUT: (n,) of what a document holds, in any order
):
    """How many draws there are, and what makes each document's its own."""
    cdef Py_ssize_t d, i
    cdef int64_t sum = 0
    cdef uint64_t key
    with nogil:
        for d in range(keys.shape[0]):
            first[d], key = sum, 0
            for i in range(starts[d], starts[d + 1]):
                sum += shared(counts[i])
                key += mixed(mixed(<uint64_t>words[i]) ^ <uint64_t>llrintf(counts[i] * UNIT))
            keys[d] = key
        first[keys.shape[0]] = sum


cdef inline int shared(float count) noexcept nogil:
    """Draws of a word that is there so often."""
    return PIECES if count >= PIECES else <int>ceilf(count)


def sweep(
    const int64_t[::1] starts,  # IN: (n + 1,) of the documents
    const int32_t[::1] words,  # IN: (nonzeros,)
    const float[::1] counts,  # IN: (nonzeros,)
    const float[:, ::1] topics,  # IN: (V, K) the probability of a word in each topic; K a multiple of 8
    const float[::1] alpha,  # IN: (K,) 0 where topics are only there to fill the eights
    const int64_t[::1] first,  # IN: (n + 1,)
    const uint64_t[::1] keys,  # IN: (n,)
    uint64_t seed,  # IN: another one for each sweep
    int16_t[::1] drawings,  # IN, OUT: the topics drawn, -1 for none
    float[:, ::1] given,  # IN, OUT: (n, K) how many words of a document each topic has given
    int64_t[:, :, ::1] tallies,  # IN, OUT: (threads, V, K) of the words, to be summed, in 1 / 65536
    float[:, ::1] scratch,  # SCRATCH: (threads, at least K + K / 8)
    int threads,
):
    """Draws all topics anew, each given the topics of the other words of its document."""
    cdef Py_ssize_t n = given.shape[0], d
    if threads == 1:
        with nogil:
            for d in range(n):
                document(
                    starts, words, counts, topics, alpha, first[d], mixed(keys[d] ^ seed), drawings, &given[d, 0],
                    tallies[0], &scratch[0, 0], d,
                )
    else:
        for d in prange(n, nogil=True, num_threads=threads, schedule="dynamic", chunksize=64):
            document(
                starts, words, counts, topics, alpha, first[d], mixed(keys[d] ^ seed), drawings, &given[d, 0],
                tallies[threadid()], &scratch[threadid(), 0], d,
            )


cdef void document(
    const int64_t[::1] starts, const int32_t[::1] words, const float[::1] counts, const float[:, ::1] topics,
    const float[::1] alpha, int64_t place, uint64_t key, int16_t[::1] drawings, float *given,
    int64_t[:, ::1] tallies, float *weight, Py_ssize_t d,
) noexcept nogil:
    cdef Py_ssize_t K = topics.shape[1], j, i
    cdef int topic, draws, draw
    cdef float share
    cdef uint64_t own
    for j in range(K):
        weight[j] = given[j] + alpha[j]
    for i in range(starts[d], starts[d + 1]):
        draws = shared(counts[i])
        share = counts[i] / max(draws, 1)
        own = mixed(key ^ <uint64_t>words[i])
        for draw in range(draws):
            topic = drawings[place]
            if topic >= 0:
                given[topic] = max(<float>0, given[topic] - share)  # fractions are rounded
                weight[topic] = given[topic] + alpha[topic]
            topic = drawn(weight, &topics[words[i], 0], weight + K, K // 8, mixed(own + <uint64_t>draw))
            if topic >= 0:
                given[topic] += share
                weight[topic] = given[topic] + alpha[topic]
                tallies[words[i], topic] += llrintf(share * UNIT)
            drawings[place] = topic
            place += 1
