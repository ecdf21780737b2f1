"""Rows that walk down a tree together, eight at a time: C++, whose vectors Cython does not have.

The shuffles are GCC's, of version 12 or newer.
"""

from libc.stdint cimport int32_t

cdef extern from *:
    """
    #include <cstdint>

    typedef float Eight __attribute__((vector_size(32)));
    typedef float Loaded __attribute__((vector_size(32), aligned(4)));  // eight in memory that need not be aligned
    typedef int32_t Bits __attribute__((vector_size(32)));
    typedef int32_t LoadedBits __attribute__((vector_size(32), aligned(4)));
    typedef int64_t Pairs __attribute__((vector_size(32)));
    typedef const float *__restrict__ ConstFloats;
    static const float LARGE = 1e30f;  // a float32 holds sums of 10,000 differences of smaller values
    static const float NEGLIGIBLE = 1e-9f;  // a subtree reached with a lower probability is passed over
    static const int RUN = 64;  // vectors that are summed one after another

    // Sums of two neighbours each, of halves of a and b in turn: shuffles that are one instruction each.
    static inline Eight neighbours(Eight a, Eight b) {
        return __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14)
             + __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
    }

    // The sum of each of eight vectors.
    static inline Eight sums(const Eight *v) {
        Eight two[4], four[2];
        for (int i = 0; i < 4; i++) two[i] = neighbours(v[2 * i], v[2 * i + 1]);
        for (int i = 0; i < 2; i++) four[i] = neighbours(two[2 * i], two[2 * i + 1]);
        return __builtin_shufflevector(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11)
             + __builtin_shufflevector(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
    }

    static inline bool all_of(Bits lanes) {
    #ifdef __AVX__
        return __builtin_ia32_movmskps256((Eight)lanes) == 255;  // one instruction for eight
    #else
        const Pairs pairs = (Pairs)lanes;
        return (pairs[0] & pairs[1] & pairs[2] & pairs[3]) == -1;
    #endif
    }

    // How far x lies outside a box, a feature a lane.
    static inline Eight outside(const Loaded *x, const Loaded *lo, const Loaded *hi, Py_ssize_t vectors) {
        if (vectors > RUN)  // halves apart, so that sums of 10,000 features round as those of 500
            return outside(x, lo, hi, vectors / 2)
                 + outside(x + vectors / 2, lo + vectors / 2, hi + vectors / 2, vectors - vectors / 2);
        Eight total = {};
        for (Py_ssize_t i = 0; i < vectors; i++) {
            const Eight at = x[i], low = lo[i], high = hi[i];
            total += (low > at ? low : at) - (high < at ? high : at);  // of which x is one, inside both
        }
        return total;
    }

    // Rows on their way through a tree, side by side: number in the block, probability to come here, score so far.
    struct Travellers {
        int32_t *row;
        float *weight, *score;
        void pack(Py_ssize_t at, Bits of, Bits rows, Eight weights, Eight scores) const {
            *(LoadedBits *)(row + at) = __builtin_shuffle(rows, of);
            *(Loaded *)(weight + at) = __builtin_shuffle(weights, of);
            *(Loaded *)(score + at) = __builtin_shuffle(scores, of);
        }
    };

    // For each set of eight lanes: these lanes, one after another.
    struct Lanes {
        int32_t of[256][8];
        constexpr Lanes() : of() {
            for (int set = 0; set < 256; set++)
                for (int lane = 0, at = 0; lane < 8; lane++)
                    if (set >> lane & 1) of[set][at++] = lane;
        }
    };
    alignas(32) static constexpr Lanes LANES;

    // Brings travellers to a node and parts them. Returns how many go left, which are then the first; behind them are
    // those that go right. One not worth going on with ends here.
    template <int FIXED> static Py_ssize_t visit_of(
        const Travellers &here, Py_ssize_t count, const Travellers &spare, ConstFloats x, Py_ssize_t vectors,
        ConstFloats box, float side, float inverse, int32_t feature, float value, double *totals, Py_ssize_t &rights
    ) {
        if (FIXED) vectors = FIXED;  // known to the compiler, which then keeps the box in registers
        const Py_ssize_t width = 8 * vectors;
        const Bits rows_behind = *(LoadedBits *)(here.row + count);  // of others; whole vectors are written over them
        const Eight weights_behind = *(Loaded *)(here.weight + count), scores_behind = *(Loaded *)(here.score + count);
        Py_ssize_t l = 0, r = 0;
        Eight far[8];
        for (Py_ssize_t start = 0; start < count; start += 8) {
            const int some = count - start < 8 ? (int)(count - start) : 8;
            unsigned left = 0, all = (1u << some) - 1;
            const auto look = [&](int i) {
                ConstFloats at = x + here.row[start + i] * width;
                far[i] = outside((const Loaded *)at, (const Loaded *)box, (const Loaded *)(box + width), vectors);
                left |= (unsigned)(at[feature] <= value) << i;
            };
            if (some == 8)
                for (int i = 0; i < 8; i++) look(i);  // unrolled
            else {
                for (int i = 0; i < some; i++) look(i);
                for (int i = some; i < 8; i++) far[i] = Eight{};
            }
            const Bits rows = *(LoadedBits *)(here.row + start);
            const Eight before = *(Loaded *)(here.weight + start);
            const Eight growth = sums(far), off = before * (growth / (side + growth)), after = before - off;
            const Eight score = *(Loaded *)(here.score + start) + off * inverse;
            if (!all_of(after > NEGLIGIBLE))
                for (int i = 0; i < some; i++)
                    if (!(after[i] > NEGLIGIBLE)) {
                        totals[rows[i]] += score[i];
                        all &= ~(1u << i);
                    }
            const unsigned go = left & all, stay = ~left & all;
            here.pack(l, *(const Bits *)LANES.of[go], rows, after, score);
            spare.pack(r, *(const Bits *)LANES.of[stay], rows, after, score);
            l += __builtin_popcount(go);
            r += __builtin_popcount(stay);
        }
        for (Py_ssize_t i = 0; i < r; i += 8) {
            *(LoadedBits *)(here.row + l + i) = *(LoadedBits *)(spare.row + i);
            *(Loaded *)(here.weight + l + i) = *(Loaded *)(spare.weight + i);
            *(Loaded *)(here.score + l + i) = *(Loaded *)(spare.score + i);
        }
        *(LoadedBits *)(here.row + count) = rows_behind;
        *(Loaded *)(here.weight + count) = weights_behind;
        *(Loaded *)(here.score + count) = scores_behind;
        rights = r;
        return l;
    }

    template <class... More> static Py_ssize_t visit(
        const Travellers &here, Py_ssize_t count, const Travellers &spare, ConstFloats x, Py_ssize_t vectors,
        More &&...more
    ) {
        switch (vectors) {
            case 1: return visit_of<1>(here, count, spare, x, vectors, more...);
            case 2: return visit_of<2>(here, count, spare, x, vectors, more...);
            case 3: return visit_of<3>(here, count, spare, x, vectors, more...);
            case 4: return visit_of<4>(here, count, spare, x, vectors, more...);
            default: return visit_of<0>(here, count, spare, x, vectors, more...);
        }
    }
    """
    const float LARGE
    cppclass Travellers:
        int32_t *row
        float *weight
        float *score
    Py_ssize_t visit(
        const Travellers &, Py_ssize_t, const Travellers &, const float *, Py_ssize_t, const float *, float, float,
        int32_t, float, double *, Py_ssize_t &
    ) noexcept nogil
