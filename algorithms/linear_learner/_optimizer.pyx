"""One step of an optimizer, in one pass over the weights.

NumPy needs a dozen passes, each of which moves its arrays between the caches and the processor.
A column has its own learning rate and penalties. They are laid side by side until they fill TILE numbers, so that the
inner loops are long enough for vectors even where there are few columns.
"""

from libc.math cimport sqrtf
from libcpp.vector cimport vector

cdef enum:
    TILE = 256  # numbers of an inner loop, at least: 1 KB of each array

cdef extern from *:
    """
    typedef float *__restrict__ Floats;
    typedef const float *__restrict__ ConstFloats;
    static const float EPSILON = 1e-8f;
    """
    ctypedef float *Floats  # the only way to these numbers, so that the compiler may use vectors
    ctypedef const float *ConstFloats
    const float EPSILON


def adam(
    float[:, ::1] weights,  # IN, OUT: (r, c)
    const float[:, ::1] gradient,  # IN: (r, c)
    float[:, ::1] mean,  # IN, OUT: (r, c) of the gradients
    float[:, ::1] square,  # IN, OUT: (r, c) the mean of their squares
    const float[::1] rate,  # IN: (c,) corrected for means that began at 0
    const float[::1] wd,  # IN: (c,)
    const float[::1] l1,  # IN: (c,)
    double beta_1,  # IN
    double beta_2,  # IN
):
    """Kingma and Ba 2015, algorithm 1, in the order of section 2's last lines."""
    cdef Py_ssize_t size = weights.shape[0] * weights.shape[1], width, start = 0
    cdef vector[float] rates, decays, bounds
    cdef bint sparse
    with nogil:
        width = fill(rates, rate)
        fill(decays, wd)
        fill(bounds, l1)
        sparse = any_of(bounds)
        while start < size:
            adam_tile(
                &weights[0, 0] + start, &gradient[0, 0] + start, &mean[0, 0] + start, &square[0, 0] + start,
                rates.data(), decays.data(), bounds.data(), <float>beta_1, <float>(1 - beta_1), <float>beta_2,
                <float>(1 - beta_2), sparse, min(width, size - start),
            )
            start += width


cdef void adam_tile(
    Floats w, ConstFloats g, Floats m, Floats v, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float beta_1, float rest_1, float beta_2, float rest_2, bint sparse, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef float slope, step
    for i in range(n):
        slope = g[i] + wd[i] * w[i]
        m[i] = beta_1 * m[i] + rest_1 * slope
        v[i] = beta_2 * v[i] + rest_2 * (slope * slope)
        step = rate[i] / (sqrtf(v[i]) + EPSILON)
        w[i] -= step * m[i]
        if sparse:
            w[i] -= within(w[i], step * l1[i])


def sgd(
    float[:, ::1] weights,  # IN, OUT: (r, c)
    const float[:, ::1] gradient,  # IN: (r, c)
    float[:, ::1] velocity,  # IN, OUT: (r, c) the last step
    const float[::1] rate,  # IN: (c,)
    const float[::1] wd,  # IN: (c,)
    const float[::1] l1,  # IN: (c,)
    double momentum,  # IN
):
    """Gradient descent with momentum, in the order of MXNet; with l1 it is iPiano (Ochs et al. 2014)."""
    cdef Py_ssize_t size = weights.shape[0] * weights.shape[1], width, start = 0
    cdef vector[float] rates, decays, bounds
    cdef bint sparse
    with nogil:
        width = fill(rates, rate)
        fill(decays, wd)
        fill(bounds, l1)
        sparse = any_of(bounds)
        while start < size:
            sgd_tile(
                &weights[0, 0] + start, &gradient[0, 0] + start, &velocity[0, 0] + start, rates.data(), decays.data(),
                bounds.data(), <float>momentum, sparse, min(width, size - start),
            )
            start += width


cdef void sgd_tile(
    Floats w, ConstFloats g, Floats velocity, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float momentum, bint sparse, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef float taken
    for i in range(n):
        velocity[i] = momentum * velocity[i] - rate[i] * (g[i] + wd[i] * w[i])
        w[i] += velocity[i]
        if sparse:  # what the threshold takes is part of the step, else momentum would outweigh the penalty
            taken = within(w[i], rate[i] * l1[i])
            w[i] -= taken
            velocity[i] -= taken


def rmsprop(
    float[:, ::1] weights,  # IN, OUT: (r, c)
    const float[:, ::1] gradient,  # IN: (r, c)
    float[:, ::1] square,  # IN, OUT: (r, c) the mean of the gradients' squares
    const float[::1] rate,  # IN: (c,)
    const float[::1] wd,  # IN: (c,)
    const float[::1] l1,  # IN: (c,)
    double decay,  # IN: of the mean
):
    """Tieleman and Hinton 2012, lecture 6.5, with epsilon where MXNet has it."""
    cdef Py_ssize_t size = weights.shape[0] * weights.shape[1], width, start = 0
    cdef vector[float] rates, decays, bounds
    cdef bint sparse
    with nogil:
        width = fill(rates, rate)
        fill(decays, wd)
        fill(bounds, l1)
        sparse = any_of(bounds)
        while start < size:
            rmsprop_tile(
                &weights[0, 0] + start, &gradient[0, 0] + start, &square[0, 0] + start, rates.data(), decays.data(),
                bounds.data(), <float>decay, <float>(1 - decay), sparse, min(width, size - start),
            )
            start += width


cdef void rmsprop_tile(
    Floats w, ConstFloats g, Floats v, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float decay, float rest, bint sparse, Py_ssize_t n,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef float slope, step
    for i in range(n):
        slope = g[i] + wd[i] * w[i]
        v[i] = decay * v[i] + rest * (slope * slope)
        step = rate[i] / sqrtf(v[i] + EPSILON)
        w[i] -= step * slope
        if sparse:
            w[i] -= within(w[i], step * l1[i])


cdef inline float within(float w, float bound) noexcept nogil:
    """What the threshold takes of w: all of it, so that exactly 0 is left, or +-bound; NaN of NaN."""
    w = -bound if w < -bound else w
    return bound if w > bound else w


cdef Py_ssize_t fill(vector[float]& tile, const float[::1] columns) except -1 nogil:
    """Lays the columns' numbers side by side; returns how many there are then."""
    cdef Py_ssize_t c = columns.shape[0], copies = max(1, TILE // c), copy, i
    tile.resize(c * copies)
    for copy in range(copies):
        for i in range(c):
            tile[copy * c + i] = columns[i]
    return c * copies


cdef bint any_of(const vector[float]& tile) noexcept nogil:
    cdef size_t i
    for i in range(tile.size()):
        if tile[i] != 0:
            return True
    return False
