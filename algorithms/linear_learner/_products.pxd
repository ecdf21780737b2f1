"""Products of rows with the weights of sixteen models, and of rows with their slopes: of all numbers, or of non-zeros."""

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>
    #include <vector>
    #ifdef __AVX2__
    #include <immintrin.h>
    #endif

    namespace {

    typedef float Vector __attribute__((vector_size(32)));  // the compiler takes two where the machine has shorter ones

    inline Vector load(const float *from) { Vector v; std::memcpy(&v, from, sizeof v); return v; }
    inline void store(float *to, Vector v) { std::memcpy(to, &v, sizeof v); }

    // out[r][:] = start[:] + sum over k of a[r * across + k * along] * b[k][:], r < R, k < n; b and out have PANEL columns
    template <int R>
    inline void product(const float *a, long across, long along, const float *b, const float *start, long n, float *out)
    {
        Vector sums[R][2];
        for (int r = 0; r < R; r++) { sums[r][0] = load(start); sums[r][1] = load(start + 8); }
        for (long k = 0; k < n; k++) {
            if (along == 1 && k % 16 == 0)  // a line of the next rows, which come from afar
                for (int r = 0; r < R; r++) __builtin_prefetch(a + (r + R) * across + k);
            const Vector left = load(b + 16 * k), right = load(b + 16 * k + 8);
            for (int r = 0; r < R; r++) {
                const float x = a[r * across + k * along];
                sums[r][0] += x * left;
                sums[r][1] += x * right;
            }
        }
        for (int r = 0; r < R; r++) { store(out + 16 * r, sums[r][0]); store(out + 16 * r + 8, sums[r][1]); }
    }

    void products(
        const float *a, long rows, long across, long along, const float *b, const float *start, long n, float *out
    ) {
        long r = 0;
        for (; r + 6 <= rows; r += 6) product<6>(a + r * across, across, along, b, start, n, out + 16 * r);
        for (; r < rows; r++) product<1>(a + r * across, across, along, b, start, n, out + 16 * r);
    }

    // the non-zeros of some rows, one row after the other: row r has those before ends[r]
    struct Entries {
        std::vector<int32_t> places;
        std::vector<float> values;
        std::vector<long> ends;
    };

    // ORDER[mask]: the places of the bits that are set, then any
    struct Order {
        int32_t places[256][8];
        constexpr Order() : places()
        {
            for (int mask = 0; mask < 256; mask++)
                for (int bit = 0, count = 0; bit < 8; bit++)
                    if (mask >> bit & 1) places[mask][count++] = bit;
        }
    };
    alignas(32) constexpr Order ORDER;

    // writes up to seven entries more than it counts; what is not a number is not zero
    inline long list_row(const float *x, long d, int32_t *places, float *values)
    {
        long count = 0, k = 0;
    #ifdef __AVX2__
        for (; k + 8 <= d; k += 8) {
            const __m256 eight = _mm256_loadu_ps(x + k);
            const int mask = _mm256_movemask_ps(_mm256_cmp_ps(eight, _mm256_setzero_ps(), _CMP_NEQ_UQ));
            const __m256i order = _mm256_load_si256(reinterpret_cast<const __m256i *>(ORDER.places[mask]));
            _mm256_storeu_ps(values + count, _mm256_permutevar8x32_ps(eight, order));
            const __m256i of_row = _mm256_add_epi32(order, _mm256_set1_epi32(static_cast<int>(k)));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(places + count), of_row);
            count += __builtin_popcount(mask);
        }
    #endif
        for (; k < d; k++) {
            places[count] = static_cast<int32_t>(k);
            values[count] = x[k];
            count += x[k] != 0;
        }
        return count;
    }

    void list_entries(const float *X, long rows, long d, Entries &entries)
    {
        if (entries.places.size() < static_cast<size_t>(rows * d + 8)) {
            entries.places.resize(rows * d + 8);
            entries.values.resize(rows * d + 8);
        }
        entries.ends.resize(rows);
        long end = 0;
        for (long r = 0; r < rows; r++) {
            end += list_row(X + r * d, d, &entries.places[end], &entries.values[end]);
            entries.ends[r] = end;
        }
    }

    // as `products` of rows with b; two sums a column, because one alone would wait for itself
    void scores_of(const Entries &entries, const float *b, const float *start, float *out)
    {
        const int32_t *places = entries.places.data();
        const float *values = entries.values.data();
        long j = 0;
        for (long end : entries.ends) {
            Vector sums[4] = {load(start), load(start + 8), {}, {}};
            for (; j + 2 <= end; j += 2) {
                const float *one = b + 16 * places[j], *other = b + 16 * places[j + 1];
                sums[0] += values[j] * load(one);
                sums[1] += values[j] * load(one + 8);
                sums[2] += values[j + 1] * load(other);
                sums[3] += values[j + 1] * load(other + 8);
            }
            for (; j < end; j++) {
                const float *one = b + 16 * places[j];
                sums[0] += values[j] * load(one);
                sums[1] += values[j] * load(one + 8);
            }
            store(out, sums[0] + sums[2]);
            store(out + 8, sums[1] + sums[3]);
            out += 16;
        }
    }

    // gradient[k][:] += sum over the rows of their number k times their slopes
    void add_gradient(const Entries &entries, const float *slopes, float *gradient)
    {
        long j = 0;
        for (long end : entries.ends) {
            const Vector left = load(slopes), right = load(slopes + 8);
            for (; j < end; j++) {
                float *to = gradient + 16 * entries.places[j];
                const float x = entries.values[j];
                store(to, load(to) + x * left);
                store(to + 8, load(to + 8) + x * right);
            }
            slopes += 16;
        }
    }

    // whether at most a third of these numbers are not zero
    bool is_mostly_zero(const float *x, long size)
    {
        long count = 0;
        for (long i = 0; i < size; i++) count += x[i] != 0;
        return count * 3 <= size;
    }

    }
    """
    cppclass Entries:
        pass

    void products(
        const float *a, Py_ssize_t rows, Py_ssize_t across, Py_ssize_t along, const float *b, const float *start,
        Py_ssize_t n, float *out,
    ) noexcept nogil
    void list_entries(const float *X, Py_ssize_t rows, Py_ssize_t d, Entries& entries) noexcept nogil
    void scores_of(const Entries& entries, const float *b, const float *start, float *out) noexcept nogil
    void add_gradient(const Entries& entries, const float *slopes, float *gradient) noexcept nogil
    bint is_mostly_zero(const float *x, Py_ssize_t size) noexcept nogil
