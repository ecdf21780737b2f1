"""The few rows that can be among the k nearest to each query, by products in float32 and what they can be off by.

The products are made 6 queries by 16 rows at a time in the CPU's registers and compared there: BLAS would write them
all to memory, from which they would have to be read again.
"""

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #include <algorithm>
    #include <cfloat>
    #include <cmath>
    #include <memory>
    #include <thread>
    #include <vector>
    #ifdef __AVX__
    #include <immintrin.h>
    #endif

    namespace {

    constexpr ptrdiff_t QUERIES = 6, LANES = 8, ROWS = 2 * LANES;
    constexpr ptrdiff_t CACHED = 1 << 15;  // bytes of rows that each query is compared with before the next rows come
    constexpr ptrdiff_t FEW = 32;          // neighbours, of which the farthest is always known
    constexpr ptrdiff_t DOUBTFUL = -1;
    constexpr double ALONE = 1 << 25;  // products that one thread makes before a second one is worth its start
    typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    typedef int Flags __attribute__((vector_size(4 * LANES)));

    // A row that may be near: what its distance is at least and at most, halved, less what is the query's own.
    struct Near {
        float low, high;
        int64_t row;
    };

    // What one thread has found, and what it needs. Taken before the threads start, which could not say that there is
    // no memory left; pages that are not needed stay untouched.
    struct Part {
        ptrdiff_t panels;                 // compared with each query before the next ones come
        std::unique_ptr<Near[]> near;     // (n, room)
        std::vector<ptrdiff_t> counts;    // (n,) of these, or DOUBTFUL
        std::vector<float> bounds;        // (padded,) that k of them are not beyond
        std::vector<float> least;         // (n, FEW) the k least of what distances are at most, in order
        std::vector<float> packed, start, width;
        std::vector<float> highs;
        std::vector<Near> all;

        Part(ptrdiff_t n, ptrdiff_t padded, ptrdiff_t d, ptrdiff_t k, ptrdiff_t room, ptrdiff_t threads)
            : panels(std::max<ptrdiff_t>(1, CACHED / (4 * ROWS * d))), near(new Near[n * room]), counts(n),
              bounds(padded, NAN), least(k > FEW ? 0 : n * FEW), packed(panels * ROWS * d), start(panels * ROWS),
              width(panels * ROWS) {
            highs.reserve(threads * room);
            all.reserve(threads * room);
        }
    };

    // A bit for each that is set.
    inline unsigned bits(Flags flags) {
    #ifdef __AVX__
        return _mm256_movemask_ps((__m256)flags);
    #else
        unsigned found = 0;
        for (ptrdiff_t j = 0; j < LANES; ++j) found |= (flags[j] & 1u) << j;
        return found;
    #endif
    }

    // Drops what is farther away than k others, of which `bound` becomes the farthest; what is left.
    ptrdiff_t sift(Near *near, ptrdiff_t n, ptrdiff_t k, std::vector<float> &highs, float &bound) {
        if (n < k) return n;
        highs.resize(n);
        for (ptrdiff_t j = 0; j < n; ++j) highs[j] = near[j].high;
        std::nth_element(highs.begin(), highs.begin() + (k - 1), highs.end());
        const float least = bound = std::min(bound, highs[k - 1]);
        return std::remove_if(near, near + n, [least](const Near &each) { return each.low > least; }) - near;
    }

    struct Sieve {
        const float *rows, *center;
        ptrdiff_t m, d, n, padded, k, room;  // padded: n rounded up
        bool inner;
        // What half a distance is off by, in parts of the two squared lengths, half of which |q| |y| is at most. In
        // units of 2^-24: (d + 1) / 2 for half a square, d + 1 for what is taken from it (Higham, "Accuracy and
        // Stability of Numerical Algorithms", section 3.1), 2 for the center, d + 3 for the distance of the pair as
        // faiss computes it, 3 to compare: 3 d + 16 is more. What is too small for float32 comes on top.
        float doubt;
        std::vector<float> queries;  // (padded, d), from the center
        std::vector<float> slack;    // (n,) twice what is off by the query's own length

        // Queries from the center, and the slack that each of them leaves.
        void place(const float *Q, double longest) {
            queries.assign(padded * d, 0);
            slack.resize(n);
            for (ptrdiff_t i = 0; i < n; ++i) {
                double square = 0;
                for (ptrdiff_t t = 0; t < d; ++t) {
                    const float value = Q[i * d + t] - center[t];
                    queries[i * d + t] = value;
                    square += (double)value * value;
                }
                const double off = inner ? std::sqrt(square) * longest : square;
                const double underflow = 16 * d * (double)FLT_TRUE_MIN;
                slack[i] = off < 1e36 ? (float)(2 * doubt * off + underflow) : NAN;  // so that no product overflows
            }
        }

        // 16 rows side by side, (d, 16), half their squared lengths, and what these are off by, twice.
        void pack(ptrdiff_t first, Part &part, ptrdiff_t p) const {
            float *panel = &part.packed[p * ROWS * d], *start = &part.start[p * ROWS], *width = &part.width[p * ROWS];
            for (ptrdiff_t j = 0; j < ROWS; ++j) {
                const ptrdiff_t row = std::min(first + j, m - 1);
                for (ptrdiff_t t = 0; t < d; ++t) panel[t * ROWS + j] = rows[row * d + t] - center[t];
            }
            float squares[ROWS] = {};
            for (ptrdiff_t t = 0; t < d; ++t)
                for (ptrdiff_t j = 0; j < ROWS; ++j) squares[j] += panel[t * ROWS + j] * panel[t * ROWS + j];
            for (ptrdiff_t j = 0; j < ROWS; ++j) {
                start[j] = first + j >= m ? NAN : inner ? 0 : (0.5f - doubt) * squares[j];
                width[j] = inner ? 0 : 2 * doubt * squares[j];
            }
        }

        // 6 queries, from i, and 16 rows, of panel p: whether a row is within a query's bound, then `which` are, and
        // how far away all are, `out` (6, 16).
        bool compare(ptrdiff_t i, const Part &part, ptrdiff_t p, unsigned *which, float *out) const {
            const float *q = &queries[i * d], *bounds = &part.bounds[i];
            const float *panel = &part.packed[p * ROWS * d], *start = &part.start[p * ROWS];
            Lanes sums[QUERIES][2];
            for (ptrdiff_t a = 0; a < QUERIES; ++a)
                for (ptrdiff_t h = 0; h < 2; ++h) sums[a][h] = *(const Lanes *)(start + h * LANES);
            for (ptrdiff_t t = 0; t < d; ++t) {
                const float *side = panel + t * ROWS;
                const Lanes left = *(const Lanes *)side, right = *(const Lanes *)(side + LANES);
                for (ptrdiff_t a = 0; a < QUERIES; ++a) {
                    const float value = q[a * d + t];
                    sums[a][0] -= left * value;
                    sums[a][1] -= right * value;
                }
            }
            Flags near[QUERIES][2], some = {};
            for (ptrdiff_t a = 0; a < QUERIES; ++a)
                for (ptrdiff_t h = 0; h < 2; ++h) some |= near[a][h] = sums[a][h] <= bounds[a] + (Lanes){};
            if (!bits(some)) return false;
            for (ptrdiff_t a = 0; a < QUERIES; ++a) {
                for (ptrdiff_t h = 0; h < 2; ++h) *(Lanes *)(out + a * ROWS + h * LANES) = sums[a][h];
                which[a] = bits(near[a][0]) | bits(near[a][1]) << LANES;
            }
            return true;
        }

        // What of rows first..last-1 is near to each query.
        void look(ptrdiff_t first, ptrdiff_t last, Part &part) const {
            for (ptrdiff_t i = 0; i < n; ++i)
                if (slack[i] >= 0) part.bounds[i] = FLT_MAX;
                else part.counts[i] = DOUBTFUL;
            float out[QUERIES * ROWS];
            unsigned which[QUERIES];
            for (ptrdiff_t at = first; at < last; at += part.panels * ROWS) {
                const ptrdiff_t here = std::min(part.panels, (last - at + ROWS - 1) / ROWS);
                for (ptrdiff_t p = 0; p < here; ++p) pack(at + p * ROWS, part, p);
                for (ptrdiff_t i = 0; i < n; i += QUERIES)
                    for (ptrdiff_t p = 0; p < here; ++p) {
                        if (!compare(i, part, p, which, out)) continue;
                        for (ptrdiff_t a = 0; a < QUERIES; ++a)
                            for (unsigned left = which[a]; left; left &= left - 1) {
                                const ptrdiff_t j = __builtin_ctz(left);
                                const float low = out[a * ROWS + j];
                                if (low <= part.bounds[i + a])
                                    keep(i + a, {low, part.width[p * ROWS + j], at + p * ROWS + j}, part);
                            }
                    }
            }
        }

        // A row whose distance is `low` at least, and as much more at most as `high` says and the query's slack.
        void keep(ptrdiff_t i, Near one, Part &part) const {
            Near *near = &part.near[i * room];
            ptrdiff_t &count = part.counts[i];
            if (count == room) {
                count = sift(near, count, k, part.highs, part.bounds[i]);
                if (count > room - std::max<ptrdiff_t>(1, room / 4)) {  // many are as far away as the k-th
                    part.bounds[i] = NAN;
                    count = DOUBTFUL;
                }
                if (!(one.low <= part.bounds[i])) return;
            }
            one.high = one.low + one.high + slack[i];
            near[count++] = one;
            if (k > FEW) return;
            float *least = &part.least[i * FEW];  // the k least of what the distances are at most, in order
            ptrdiff_t at = std::min(k, count) - 1;
            if (count > k && least[at] <= one.high) return;
            for (; at > 0 && least[at - 1] > one.high; --at) least[at] = least[at - 1];
            least[at] = one.high;
            if (count >= k) part.bounds[i] = least[k - 1];
        }

        // What is left of what all threads found, nearest first, then -1; how many, 0 where there is a doubt.
        ptrdiff_t merge(ptrdiff_t i, const std::vector<Part> &parts, Part &own, int64_t *numbers) const {
            std::vector<Near> &all = own.all;
            std::fill(numbers, numbers + room, -1);
            float bound = FLT_MAX;
            for (const Part &part : parts) {
                if (part.counts[i] == DOUBTFUL) return 0;
                bound = std::min(bound, part.bounds[i]);
            }
            all.clear();
            for (const Part &part : parts)
                for (ptrdiff_t j = 0; j < part.counts[i]; ++j)
                    if (part.near[i * room + j].low <= bound) all.push_back(part.near[i * room + j]);
            const ptrdiff_t left = sift(all.data(), all.size(), k, own.highs, bound);
            if (left < k || left > room || left > k + k / 4 + 64) return 0;  // many are sorted slowly: pairs are faster
            std::sort(all.begin(), all.begin() + left, [](const Near &a, const Near &b) { return a.low < b.low; });
            for (ptrdiff_t j = 0; j < left; ++j) numbers[j] = all[j].row;
            return left;
        }
    };

    // Threads of their own: OpenMP's would go on spinning for a while, and take a CPU from those that faiss has.
    template <class Share> void in_threads(ptrdiff_t threads, const Share &share) {
        std::vector<std::thread> others;
        others.reserve(threads);
        for (ptrdiff_t s = 1; s < threads; ++s) try {
                others.emplace_back(share, s);
            } catch (...) {  // there is no other thread to be had
                share(s);
            }
        share(0);
        for (std::thread &other : others) other.join();
    }

    void nearly(
        const float *rows, const float *center, const float *Q, ptrdiff_t m, ptrdiff_t d, ptrdiff_t n, ptrdiff_t k,
        ptrdiff_t room, bool inner, double longest, ptrdiff_t threads, int64_t *numbers, int64_t *counts
    ) {
        const ptrdiff_t padded = (n + QUERIES - 1) / QUERIES * QUERIES, panels = (m + ROWS - 1) / ROWS;
        Sieve sieve{rows, center, m, d, n, padded, k, room, inner, (3 * d + 16) * (FLT_EPSILON / 2), {}, {}};
        sieve.place(Q, longest);
        threads = std::min({threads, panels, 1 + ptrdiff_t(double(n) * m * d / ALONE)});
        std::vector<Part> parts;
        for (ptrdiff_t s = 0; s < threads; ++s) parts.emplace_back(n, padded, d, k, room, threads);
        in_threads(threads, [&](ptrdiff_t s) {
            sieve.look(panels * s / threads * ROWS, std::min(m, panels * (s + 1) / threads * ROWS), parts[s]);
        });
        in_threads(threads, [&](ptrdiff_t s) {
            for (ptrdiff_t i = n * s / threads; i < n * (s + 1) / threads; ++i)
                counts[i] = sieve.merge(i, parts, parts[s], numbers + i * room);
        });
    }

    }
    """
    void nearly(
        const float *rows, const float *center, const float *Q, Py_ssize_t m, Py_ssize_t d, Py_ssize_t n, Py_ssize_t k,
        Py_ssize_t room, bint inner, double longest, Py_ssize_t threads, int64_t *numbers, int64_t *counts
    ) except + nogil


def sieve(
    const float[:, ::1] rows,  # IN: (m, d)
    const float[::1] center,  # IN: (d,) from which L2 measures; zeros for inner products
    const float[:, ::1] Q,  # IN: (n, d)
    Py_ssize_t k,  # IN: of these
    bint inner,  # IN: greatest inner products, else least L2
    double longest,  # IN: no row is longer; of inner products only
    Py_ssize_t threads,  # IN
    int64_t[:, ::1] numbers,  # OUT: (n, room) the rows that can be among the k nearest, about in their order
    int64_t[::1] counts,  # OUT: (n,) how many they are; 0 where there is no room for all, or float32 cannot say
):
    """See the module's docstring."""
    if Q.shape[0]:
        with nogil:
            nearly(
                &rows[0, 0], &center[0], &Q[0, 0], rows.shape[0], rows.shape[1], Q.shape[0], k,
                numbers.shape[1], inner, longest, threads, &numbers[0, 0], &counts[0],
            )
