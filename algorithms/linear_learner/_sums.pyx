"""What a mini-batch of dense rows adds to losses and gradients, in one call that never comes back to the interpreter.

NumPy needs twenty calls for it, between which the thread that reads the next rows takes the interpreter's lock; here two
groups of models and the reader run side by side. Sixteen models at a time are a panel: their weights stay in the
cache, and the sums of six rows in the registers.
"""

from libc.math cimport fabsf
from libc.string cimport memcpy, memset
from libcpp.vector cimport vector

cdef enum:
    PANEL = 16  # models: two vectors of AVX2
    LOGISTIC, HINGE, SQUARED, ABSOLUTE, INSENSITIVE_SQUARED, INSENSITIVE_ABSOLUTE, QUANTILE, HUBER

LOSSES = {
    "logistic": LOGISTIC,
    "hinge_loss": HINGE,
    "squared_loss": SQUARED,
    "absolute_loss": ABSOLUTE,
    "eps_insensitive_squared_loss": INSENSITIVE_SQUARED,
    "eps_insensitive_absolute_loss": INSENSITIVE_ABSOLUTE,
    "quantile_loss": QUANTILE,
    "huber_loss": HUBER,
}

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>

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

    // exp(-a), a >= 0, to the last bits (Cephes, expf); NaN becomes exp(-87)
    inline float exp_minus(float a)
    {
        const float x = a < 87.0f ? -a : -87.0f;
        const float shifted = x * 1.44269504f + 12582912.0f;  // adding 1.5 * 2^23 rounds to a whole number
        const float whole = shifted - 12582912.0f;
        const float r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
        float p = 1.9875691500e-4f;
        p = p * r + 1.3981999507e-3f;
        p = p * r + 8.3334519073e-3f;
        p = p * r + 4.1665795894e-2f;
        p = p * r + 1.6666665459e-1f;
        p = p * r + 5.0000001201e-1f;
        p = p * r * r + r + 1.0f;
        int32_t bits;
        std::memcpy(&bits, &shifted, sizeof bits);
        bits = (bits << 23) + (127 << 23);  // 2^whole: what the rounding left in the lowest bits
        float power;
        std::memcpy(&power, &bits, sizeof power);
        return p * power;
    }

    // log(1 + e), 0 <= e <= 1: 2 atanh(e / (2 + e)), whose series has converged
    inline float log1p_short(float e)
    {
        const float t = e / (2.0f + e), s = t * t;
        float p = 2.0f / 15.0f;
        p = p * s + 2.0f / 13.0f;
        p = p * s + 2.0f / 11.0f;
        p = p * s + 2.0f / 9.0f;
        p = p * s + 2.0f / 7.0f;
        p = p * s + 2.0f / 5.0f;
        p = p * s + 2.0f / 3.0f;
        return p * s * t + 2.0f * t;
    }

    }
    """
    void products(
        const float *a, Py_ssize_t rows, Py_ssize_t across, Py_ssize_t along, const float *b, const float *start,
        Py_ssize_t n, float *out,
    ) noexcept nogil
    float exp_minus(float a) noexcept nogil
    float log1p_short(float e) noexcept nogil


def add(
    const float[:, ::1] X,  # IN: (n, d)
    const float[::1] y,  # IN: (n,)
    const float[:, ::1] weights,  # IN: (d, m)
    const float[:, ::1] bias,  # IN: (1, m)
    const float[::1] scale,  # IN: (d,) the weights are of (X - shift) * scale
    const float[::1] shift,  # IN: (d,)
    int loss,  # IN: of LOSSES
    float parameter,  # IN: the loss's own: margin, quantile, insensitivity or delta
    const float[:, ::1] class_weights,  # IN: (classes, m) what a row of a class counts in the gradient, or (0, 0)
    bint weighs_loss,  # IN: and in the loss
    float[:, ::1] sums,  # OUT: (d + 3, m) gradients by the weights and by the bias, losses, number of rows
):
    """(X - shift) scale W = X (scale W) - shift scale W, and so for the gradient: rows are neither scaled nor copied."""
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], m = weights.shape[1], first = 0, count, i, c
    cdef vector[float] panel, gradient, scores
    cdef float start[PANEL]
    cdef float slopes[PANEL]
    cdef float losses[PANEL]
    cdef float nothing[PANEL]
    cdef float row_weights[PANEL]
    memset(nothing, 0, sizeof(nothing))
    for c in range(PANEL):
        row_weights[c] = 1
    with nogil:
        panel.resize(d * PANEL)
        gradient.resize(d * PANEL)
        scores.resize(n * PANEL)
        while first < m:
            count = min(PANEL, m - first)
            memset(start, 0, sizeof(start))
            memset(slopes, 0, sizeof(slopes))
            memset(losses, 0, sizeof(losses))
            for c in range(count):
                start[c] = bias[0, first + c]
            for i in range(d):
                for c in range(count):  # the panel's other columns stay 0
                    panel[i * PANEL + c] = weights[i, first + c] * scale[i]
                    start[c] -= panel[i * PANEL + c] * shift[i]
            products(&X[0, 0], n, d, 1, panel.data(), start, d, scores.data())
            for i in range(n):
                if class_weights.shape[0]:
                    memcpy(row_weights, &class_weights[<Py_ssize_t>y[i], first], count * sizeof(float))
                judge(loss, parameter, y[i], row_weights, weighs_loss, scores.data() + i * PANEL, slopes, losses)
            products(&X[0, 0], d, 1, d, scores.data(), nothing, n, gradient.data())
            for i in range(d):
                for c in range(count):
                    sums[i, first + c] = (gradient[i * PANEL + c] - shift[i] * slopes[c]) * scale[i]
            for c in range(count):
                sums[d, first + c] = slopes[c]
                sums[d + 1, first + c] = losses[c]
                sums[d + 2, first + c] = n
            first += PANEL


cdef inline void judge(
    int loss, float parameter, float y, const float *weights, bint weighs_loss, float *scores, float *slopes,
    float *losses,
) noexcept nogil:
    """Turns the scores of a row into the slopes of its losses, and adds both up; as loss.py has them."""
    cdef float values[PANEL]
    cdef Py_ssize_t c
    if loss == LOGISTIC:
        logistic(1 - 2 * y, scores, values)
    elif loss == HINGE:
        hinge(1 - 2 * y, parameter, scores, values)
    elif loss == SQUARED:
        squared(y, 0, scores, values)
    elif loss == ABSOLUTE:
        absolute(y, 0, scores, values)
    elif loss == INSENSITIVE_SQUARED:
        squared(y, parameter, scores, values)
    elif loss == INSENSITIVE_ABSOLUTE:
        absolute(y, parameter, scores, values)
    elif loss == QUANTILE:
        pinball(y, parameter, scores, values)
    else:
        huber(y, parameter, scores, values)
    for c in range(PANEL):
        scores[c] *= weights[c]
        slopes[c] += scores[c]
        losses[c] += values[c] * weights[c] if weighs_loss else values[c]


cdef inline void logistic(float away, float *scores, float *values) noexcept nogil:
    """away: 1 for label 0 and -1 for label 1, the direction in which the loss of a score grows."""
    cdef Py_ssize_t c
    cdef float z, e, share
    for c in range(PANEL):
        z = scores[c] * away
        e = exp_minus(fabsf(z))
        values[c] = log1p_short(e) + (0 if z < 0 else z)  # NaN stays NaN
        share = 1 / (1 + e)
        scores[c] = (e * share if z < 0 else share) * away


cdef inline void hinge(float away, float margin, float *scores, float *values) noexcept nogil:
    cdef Py_ssize_t c
    cdef float lack
    for c in range(PANEL):
        lack = scores[c] * away + margin
        values[c] = 0 if lack < 0 else lack
        scores[c] = away if lack > 0 else 0


cdef inline void squared(float y, float insensitivity, float *scores, float *values) noexcept nogil:
    cdef Py_ssize_t c
    cdef float error
    for c in range(PANEL):
        error = scores[c] - y
        error -= clipped(error, insensitivity)
        values[c] = error * error
        scores[c] = 2 * error


cdef inline void absolute(float y, float insensitivity, float *scores, float *values) noexcept nogil:
    cdef Py_ssize_t c
    cdef float error
    for c in range(PANEL):
        error = scores[c] - y
        error -= clipped(error, insensitivity)
        values[c] = fabsf(error)
        scores[c] = (1 if error > 0 else 0) - (1 if error < 0 else 0)


cdef inline void pinball(float y, float quantile, float *scores, float *values) noexcept nogil:
    cdef Py_ssize_t c
    cdef float error, slope
    for c in range(PANEL):
        error = scores[c] - y
        slope = (1 if error > 0 else 0) - quantile
        values[c] = error * slope
        scores[c] = slope


cdef inline void huber(float y, float delta, float *scores, float *values) noexcept nogil:
    cdef Py_ssize_t c
    cdef float error, slope
    for c in range(PANEL):
        error = scores[c] - y
        slope = clipped(error, delta)
        values[c] = slope * (error - slope / 2)
        scores[c] = slope


cdef inline float clipped(float x, float bound) noexcept nogil:
    """x between -bound and bound; NaN stays NaN."""
    x = -bound if x < -bound else x
    return bound if x > bound else x
