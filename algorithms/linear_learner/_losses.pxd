"""The losses of a row's scores by sixteen models, and their slopes, as loss.py has them."""

from libc.math cimport fabsf

cdef enum:
    PANEL = 16  # models: two vectors of AVX2
    LOGISTIC, HINGE, SQUARED, ABSOLUTE, INSENSITIVE_SQUARED, INSENSITIVE_ABSOLUTE, QUANTILE, HUBER

cdef extern from *:
    """
    #include <cstdint>
    #include <cstring>

    namespace {

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
    float exp_minus(float a) noexcept nogil
    float log1p_short(float e) noexcept nogil


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
