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


KINDS = {"adam": ADAM, "sgd": SGD, "rmsprop": RMSPROP}


def step(
    float[:, ::1] weights,  # IN, OUT: (r, c)
    const float[:, ::1] gradient,  # IN: (r, c)
    tuple plan,  # IN, OUT: of one step, see rule_of
):
    """Changes the weights by the gradient."""
    cdef Rule rule = rule_of(plan)
    cdef const float[:, ::1] rates = plan[5]
    cdef const float[::1] wd = plan[6], l1 = plan[7]
    cdef Py_ssize_t r = weights.shape[0], c = weights.shape[1]
    with nogil:
        move(rule, &weights[0, 0], &gradient[0, 0], r, c, &rates[0, 0], &wd[0], &l1[0])


def average(
    float[:, ::1] mean,  # IN, OUT: (r, c)
    const float[:, ::1] weights,  # IN: (r, c)
    float share,
    bint sparse,
):
    """Moves the mean towards the weights by a share of what is between them; see `blend`."""
    cdef Py_ssize_t size = weights.shape[0] * weights.shape[1]
    with nogil:
        blend(&mean[0, 0], &weights[0, 0], size, share, sparse)


cdef Rule rule_of(tuple plan) except *:
    """plan: the kind; its state, two arrays (r, c); two decays; then rates (steps, c), wd (c,) and l1 (c,)."""
    cdef Rule rule
    cdef float[:, ::1] first = plan[1], second = plan[2]
    cdef double decay_1 = plan[3], decay_2 = plan[4]
    rule.kind, rule.first, rule.second = plan[0], &first[0, 0], &second[0, 0]
    rule.decay_1, rule.rest_1, rule.decay_2, rule.rest_2 = decay_1, 1 - decay_1, decay_2, 1 - decay_2
    return rule


cdef void move(
    const Rule& rule, float *weights, const float *gradient, Py_ssize_t rows, Py_ssize_t c, const float *rate,
    const float *wd, const float *l1,
) noexcept nogil:
    cdef Py_ssize_t size = rows * c, copies = max(1, TILE // c), width = c * copies, start = 0, n
    cdef vector[float] rates = vector[float](width), decays = vector[float](width), bounds = vector[float](width)
    cdef bint sparse = False
    for n in range(width):
        rates[n], decays[n], bounds[n] = rate[n % c], wd[n % c], l1[n % c]
        sparse = sparse or bounds[n] != 0
    while start < size:
        n = min(width, size - start)
        if rule.kind == ADAM:
            adam_tile(
                weights + start, gradient + start, rule.first + start, rule.second + start, rates.data(),
                decays.data(), bounds.data(), rule.decay_1, rule.rest_1, rule.decay_2, rule.rest_2, sparse, n,
            )
        elif rule.kind == SGD:
            sgd_tile(
                weights + start, gradient + start, rule.first + start, rates.data(), decays.data(), bounds.data(),
                rule.decay_1, sparse, n,
            )
        else:
            rmsprop_tile(
                weights + start, gradient + start, rule.first + start, rates.data(), decays.data(), bounds.data(),
                rule.decay_1, rule.rest_1, sparse, n,
            )
        start += n


cdef void adam_tile(
    Floats w, ConstFloats g, Floats m, Floats v, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float beta_1, float rest_1, float beta_2, float rest_2, bint sparse, Py_ssize_t n,
) noexcept nogil:
    """Kingma and Ba 2015, algorithm 1, in the order of section 2's last lines; `rate` is corrected for zero means."""
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


cdef void sgd_tile(
    Floats w, ConstFloats g, Floats velocity, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float momentum, bint sparse, Py_ssize_t n,
) noexcept nogil:
    """Gradient descent with momentum, in the order of MXNet; with l1 it is iPiano (Ochs et al. 2014)."""
    cdef Py_ssize_t i
    cdef float taken
    for i in range(n):
        velocity[i] = momentum * velocity[i] - rate[i] * (g[i] + wd[i] * w[i])
        w[i] += velocity[i]
        if sparse:  # what the threshold takes is part of the step, else momentum would outweigh the penalty
            taken = within(w[i], rate[i] * l1[i])
            w[i] -= taken
            velocity[i] -= taken


cdef void rmsprop_tile(
    Floats w, ConstFloats g, Floats v, ConstFloats rate, ConstFloats wd, ConstFloats l1,
    float decay, float rest, bint sparse, Py_ssize_t n,
) noexcept nogil:
    """Tieleman and Hinton 2012, lecture 6.5, with epsilon where MXNet has it."""
    cdef Py_ssize_t i
    cdef float slope, step
    for i in range(n):
        slope = g[i] + wd[i] * w[i]
        v[i] = decay * v[i] + rest * (slope * slope)
        step = rate[i] / sqrtf(v[i] + EPSILON)
        w[i] -= step * slope
        if sparse:
            w[i] -= within(w[i], step * l1[i])


cdef void blend(Floats mean, ConstFloats w, Py_ssize_t n, float share, bint sparse) noexcept nogil:
    """sparse: what l1 has just set to 0 is 0 in the mean, too."""
    cdef Py_ssize_t i
    for i in range(n):
        mean[i] += share * (w[i] - mean[i])
        if sparse:
            mean[i] = 0 if w[i] == 0 else mean[i]


cdef inline float within(float w, float bound) noexcept nogil:
    """What the threshold takes of w: all of it, so that exactly 0 is left, or +-bound; NaN of NaN."""
    w = -bound if w < -bound else w
    return bound if w > bound else w
