"""Rows that walk down a tree together, eight at a time: C++, whose vectors Cython does not have.

The shuffles are GCC's, of version 12 or newer.
"""

from libc.stdint cimport int32_t

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>

    typedef float Eight __attribute__((vector_size(32)));
    typedef float Loaded __attribute__((vector_size(32), aligned(4)));  // eight in memory that need not be aligned
    typedef int32_t Bits __attribute__((vector_size(32)));
    typedef int32_t LoadedBits __attribute__((vector_size(32), aligned(4)));
    typedef int64_t Pairs __attribute__((vector_size(32)));
    typedef const float *__restrict__ ConstFloats;
    static const float LARGE = 1e30f;  // a float32 holds sums of 10,000 differences of smaller values
    static const float NEGLIGIBLE = 1e-9f;  // a subtree reached with a lower probability is passed over
    static const int RUN = 64;  // vectors that are summed one after another

    // The sum of each of eight vectors.
    static inline Eight sums(const Eight *v) {
        Eight two[4], four[2];
        for (int i = 0; i < 4; i++)
            two[i] = __builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14)
                   + __builtin_shufflevector(v[2 * i], v[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
        for (int i = 0; i < 2; i++)
            four[i] = __builtin_shufflevector(two[2 * i], two[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13)
                    + __builtin_shufflevector(two[2 * i], two[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
        return __builtin_shufflevector(four[0], four[1], 0, 1, 2, 3, 8, 9, 10, 11)
             + __builtin_shufflevector(four[0], four[1], 4, 5, 6, 7, 12, 13, 14, 15);
    }

    // How far x lies outside a box, a feature a lane.
    static inline Eight outside(const Loaded *x, const Loaded *lo, const Loaded *hi, Py_ssize_t vectors) {
        if (vectors > RUN)  // halves apart, so that sums of 10,000 features round as those of 500
            return outside(x, lo, hi, vectors / 2)
                 + outside(x + vectors / 2, lo + vectors / 2, hi + vectors / 2, vectors - vectors / 2);
        Eight total = {};
        for (Py_ssize_t i = 0; i < vectors; i++) {
            const Eight at = x[i], low = lo[i], high = hi[i], raised = low > at ? low : at;
            total += (Eight)((Bits)(at - (high < raised ? high : raised)) & 0x7fffffff);
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
        Eight far[8] = {};
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
            else
                for (int i = 0; i < some; i++) look(i);
            const Bits rows = *(LoadedBits *)(here.row + start);
            const Eight before = *(Loaded *)(here.weight + start);
            const Eight growth = sums(far), off = before * (growth / (side + growth)), after = before - off;
            const Eight score = *(Loaded *)(here.score + start) + off * inverse;
            const Pairs alive = (Pairs)(after > NEGLIGIBLE);
            if ((alive[0] & alive[1] & alive[2] & alive[3]) != -1)
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
        memcpy(here.row + l, spare.row, 4 * r);
        memcpy(here.weight + l, spare.weight, 4 * r);
        memcpy(here.score + l, spare.score, 4 * r);
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
