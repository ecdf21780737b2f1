"""One step of an optimizer for other kernels, which take many without the interpreter."""

cdef enum:
    ADAM, SGD, RMSPROP

cdef struct Rule:
    int kind
    float *first  # of ADAM the mean of the gradients, of SGD the last step, of RMSPROP the mean of their squares
    float *second  # of ADAM the mean of the squares
    float decay_1, rest_1, decay_2, rest_2  # beta 1 and beta 2, momentum, or the decay of the mean; 1 less each

cdef Rule rule_of(tuple plan) except *

cdef void move(
    const Rule& rule, float *weights, const float *gradient, Py_ssize_t rows, Py_ssize_t c, const float *rate,
    const float *wd, const float *l1,
) noexcept nogil

cdef void blend(float *mean, const float *w, Py_ssize_t n, float share, bint sparse) noexcept nogil
