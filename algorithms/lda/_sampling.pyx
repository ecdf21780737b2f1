"""A sweep of stochastic expectation maximisation: every word of every document draws a topic.

A document's draws follow from its contents and the sweep's seed, not from its place nor from the thread, and what is
counted are whole numbers: neither the order of the documents nor the number of threads changes a bit of the result.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport llrintf
from libc.stdint cimport int16_t, int32_t, int64_t, uint64_t

cdef enum:
    CHUNK = 128  # documents that a thread takes at a time

cdef extern from *:
    """
    #include <cmath>
    #include <cstdint>
    #ifdef __AVX2__
    #include <immintrin.h>
    #endif

    typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
    typedef int32_t Places __attribute__((vector_size(32)));
    // x and zeros in these places; 8: a zero
    #ifdef __clang__
    #define SHUFFLED(x, ...) __builtin_shufflevector(x, NONE, __VA_ARGS__)
    #else
    #define SHUFFLED(x, ...) __builtin_shuffle(x, NONE, (Places){__VA_ARGS__})
    #endif

    enum {
        PIECES = 32,  // draws of a word in a document, at most: a power of 2, so that a share of a count is exact
        UNIT = 65536,  // in which counts are counted
        ABREAST = 4  // documents that are read at once: each draw waits for the one before it in its document
    };
    static const float ONE[16] = {0, 0, 0, 0, 0, 0, 0, 1};
    static const Eight NONE = {};

    // SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): x + its constant, mixed
    static inline uint64_t mixed(uint64_t x) {
        x += 0x9e3779b97f4a7c15ull;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
        return x ^ (x >> 31);
    }

    // Draws of a word that is there so often
    static inline int shared(float count) { return count >= PIECES ? (int)PIECES : (int)std::ceil(count); }

    // given[topic] += share, by a whole eight, which a load of eight finds in the store's queue; fractions are rounded
    static inline void give(float *given, int topic, float share) {
        Eight *place = (Eight *)(given + (topic & ~7));
        Eight sum = *place + share * *(const Eight *)(ONE + 7 - (topic & 7));
        *place = sum > 0 ? sum : NONE;
    }

    // Numbers of a sum of eight that are at most `left`
    static inline int below(Eight upto, float left) {
    #ifdef __AVX2__
        return __builtin_popcount(_mm256_movemask_ps((__m256)(Places)(upto <= left)));
    #else
        Places less = upto <= left;
        int sum = 0;
        for (int j = 0; j < 8; j++) sum -= less[j];
        return sum;
    #endif
    }

    struct Corpus {
        const int64_t *starts, *first;
        const int32_t *words;
        const float *counts, *topics, *alpha;
        const uint64_t *keys;
        uint64_t seed;
        Py_ssize_t K;
    };

    // Where a document is read: its next word, and what is left of it
    struct Reader {
        const int32_t *word;
        const float *count;
        int16_t *drawing;
        float *given;
        uint64_t key;
        int64_t left;  // draws of the document
        int draw;  // of the word
    };

    // The first topic that is possible; -1: none is. Where rounding, or a word of no topic, has drawn one that is not.
    static int possible(const float *given, const float *alpha, const float *word, Py_ssize_t K) {
        for (Py_ssize_t j = 0; j < K; j++)
            if ((given[j] + alpha[j]) * word[j] > 0) return (int)j;
        return -1;
    }

    // One draw of each of L documents, stage by stage; whether a document has come to its end. Of the topics' weights
    // row after row of eight is added up: a topic is found by its place in the eight, then by its row.
    template <int L>
    static inline bool step(Reader *readers, const Corpus &c, int64_t *tallies, float *scratch) {
        const Py_ssize_t K = c.K, width = K + 16;
        const float *topics = c.topics, *alpha = c.alpha;
        float share[L], left[L];
        int draws[L], topic[L];
        Eight upto[L];
        bool done = false;
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) {
            Reader &r = readers[l];
            while ((draws[l] = shared(*r.count)) == 0) r.word++, r.count++;
            share[l] = *r.count / draws[l];
            if (*r.drawing >= 0) give(r.given, *r.drawing, -share[l]);
        }
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) {
            const float *given = readers[l].given, *word = topics + *readers[l].word * K;
            float *sums = scratch + l * width;
            upto[l] = NONE;
            #pragma GCC unroll 1
            for (Py_ssize_t j = 0; j < K; j += 8) {
                Eight weight = *(const Eight *)(given + j) + *(const Eight *)(alpha + j);
                *(Eight *)(sums + j) = upto[l] += weight * *(const Eight *)(word + j);
            }
        }
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) upto[l] += SHUFFLED(upto[l], 8, 0, 1, 2, 8, 4, 5, 6);
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) upto[l] += SHUFFLED(upto[l], 8, 8, 0, 1, 8, 8, 4, 5);
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) upto[l] += SHUFFLED(upto[l], 8, 8, 8, 8, 3, 3, 3, 3);
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) {
            const Reader &r = readers[l];
            *(Eight *)(scratch + l * width + K + 8) = upto[l];
            uint64_t random = mixed(mixed(r.key ^ *r.word) + r.draw);
            left[l] = (int)(random >> 40) * (1.0f / 16777216) * upto[l][7];
            topic[l] = below(upto[l], left[l]) & 7;
        }
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) {
            const float *sum = scratch + l * width + topic[l], *last = sum + K - 8;
            if (topic[l]) left[l] -= sum[K + 7];
            #pragma GCC unroll 1
            for (; sum < last; sum += 8) topic[l] += *sum <= left[l] ? 8 : 0;
        }
        #pragma GCC unroll 8
        for (int l = 0; l < L; l++) {
            Reader &r = readers[l];
            const float *word = topics + *r.word * K;
            if (!((r.given[topic[l]] + alpha[topic[l]]) * word[topic[l]] > 0))
                topic[l] = possible(r.given, alpha, word, K);
            if (topic[l] >= 0) {
                give(r.given, topic[l], share[l]);
                tallies[*r.word * K + topic[l]] += llrintf(share[l] * UNIT);
            }
            *r.drawing++ = (int16_t)topic[l];
            bool last = ++r.draw == draws[l];
            r.draw = last ? 0 : r.draw;
            r.word += last;
            r.count += last;
            done |= --r.left == 0;
        }
        return done;
    }

    // Draws of the documents from `d` to `end`
    static void documents(
        Py_ssize_t d, Py_ssize_t end, const Corpus &c, int16_t *drawings, float *given, int64_t *tallies, float *scratch
    ) {
        Reader readers[ABREAST];
        int busy = 0;
        for (;;) {
            for (; busy < ABREAST && d < end; d++)
                if (c.first[d] < c.first[d + 1])
                    readers[busy++] = {
                        c.words + c.starts[d], c.counts + c.starts[d], drawings + c.first[d], given + d * c.K,
                        mixed(c.keys[d] ^ c.seed), c.first[d + 1] - c.first[d], 0,
                    };
            if (busy == ABREAST)
                while (!step<ABREAST>(readers, c, tallies, scratch)) {}
            else if (busy)
                while (!step<1>(readers, c, tallies, scratch)) {}
            else
                return;
            for (int l = 0; l < busy; l++)
                if (readers[l].left == 0) readers[l--] = readers[--busy];
        }
    }
    """
    enum:
        UNIT
    cdef cppclass Corpus:
        const int64_t *starts
        const int64_t *first
        const int32_t *words
        const float *counts
        const float *topics
        const float *alpha
        const uint64_t *keys
        uint64_t seed
        Py_ssize_t K
    uint64_t mixed(uint64_t x) noexcept nogil
    int shared(float count) noexcept nogil
    void documents(
        Py_ssize_t d, Py_ssize_t end, const Corpus &c, int16_t *drawings, float *given, int64_t *tallies, float *scratch
    ) noexcept nogil

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
    float[:, ::1] scratch,  # SCRATCH: (threads, at least 4 (K + 16))
    int threads,
):
    """Draws all topics anew, each given the topics of the other words of its document."""
    cdef Py_ssize_t n = given.shape[0], d
    cdef Corpus corpus
    if n == 0 or drawings.shape[0] == 0:
        return
    corpus.starts, corpus.first, corpus.words, corpus.counts = &starts[0], &first[0], &words[0], &counts[0]
    corpus.topics, corpus.alpha, corpus.keys, corpus.seed = &topics[0, 0], &alpha[0], &keys[0], seed
    corpus.K = topics.shape[1]
    if threads == 1:
        with nogil:
            documents(0, n, corpus, &drawings[0], &given[0, 0], &tallies[0, 0, 0], &scratch[0, 0])
    else:
        for d in prange(0, n, CHUNK, nogil=True, num_threads=threads, schedule="dynamic", chunksize=1):
            documents(
                d, min(d + CHUNK, n), corpus, &drawings[0], &given[0, 0], &tallies[threadid(), 0, 0],
                &scratch[threadid(), 0],
            )
