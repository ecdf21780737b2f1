"""Steps over dense rows: losses, gradients and new weights, without a call to the interpreter.

NumPy needs twenty calls a step, between which the thread that reads the next rows takes the interpreter's lock; here
groups of models and the reader run side by side. Sixteen models at a time are a panel: their weights stay in the
cache, and the sums of six rows in the registers. Of rows that are mostly zeros only the others are multiplied.
"""

import numpy as np

from libc.string cimport memcpy
from libcpp.vector cimport vector

from algorithms.linear_learner._losses cimport (
    ABSOLUTE, HINGE, HUBER, INSENSITIVE_ABSOLUTE, INSENSITIVE_SQUARED, LOGISTIC, PANEL, QUANTILE, SQUARED, judge,
)
from algorithms.linear_learner._optimizer cimport Rule, blend, move, rule_of
from algorithms.linear_learner._products cimport (
    Entries, add_gradient, is_mostly_zero, list_entries, products, scores_of,
)

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

cdef enum:
    LISTED = 65536  # numbers whose non-zeros are listed together: these stay in the cache
    JUDGED = 8  # rows that tell whether the others are worth listing

cdef extern from *:
    """
    typedef float *__restrict__ Floats;
    typedef const float *__restrict__ ConstFloats;
    """
    ctypedef float *Floats  # the only way to these numbers, so that the compiler may use vectors
    ctypedef const float *ConstFloats


cdef struct Task:
    Py_ssize_t d, m
    const float *weights  # (d, m)
    const float *bias  # (m,)
    const float *scale  # (d,)
    const float *shift  # (d,)
    int loss
    float parameter
    const float *class_weights  # (classes, m) or NULL
    bint weighs_loss
    float *sums  # (d + 3, m)


def add(
    const float[:, ::1] X,  # IN: (n, d)
    const float[::1] y,  # IN: (n,)
    const float[:, ::1] weights,  # IN: (d, m)
    const float[:, ::1] bias,  # IN: (1, m)
    tuple loss,  # IN: see task_of
    float[:, ::1] sums,  # OUT: (d + 3, m) gradients by the weights and by the bias, losses, number of rows
):
    """What the rows add up to, for hosts that add up theirs."""
    cdef Task task = task_of(weights, bias, loss, sums)
    cdef Py_ssize_t n = X.shape[0]
    cdef Entries entries
    with nogil:
        add_rows(task, &X[0, 0], &y[0], n, 1, entries)


def learn(
    const float[:, ::1] X,  # IN: (n, d)
    const float[::1] y,  # IN: (n,)
    Py_ssize_t rows,  # IN: of a mini-batch
    float[:, ::1] weights,  # IN, OUT: (d, m)
    float[:, ::1] bias,  # IN, OUT: (1, m)
    tuple loss,  # IN: see task_of
    float[:, ::1] sums,  # SCRATCH: (d + 3, m)
    const float[::1] factors,  # IN: (steps,) what the gradient's sums are multiplied by
    tuple plan,  # IN, OUT: of the weights' optimizer
    bias_plan,  # IN, OUT: of the bias's, or None if it stays as it is
    float[:, ::1] mean,  # IN, OUT: (d, m) of the weights
    float[:, ::1] bias_mean,  # IN, OUT: (1, m)
    const float[::1] shares,  # IN: (steps,) how far the means move
    double[::1] losses,  # IN, OUT: (m,)
):
    """A step for each mini-batch; adds up the losses."""
    cdef Task task = task_of(weights, bias, loss, sums)
    cdef Rule rule = rule_of(plan), bias_rule
    cdef const float[:, ::1] rates = plan[5], bias_rates = plan[5]
    cdef const float[::1] wd = plan[6], l1 = plan[7], bias_wd = plan[6], bias_l1 = plan[7]
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], m = weights.shape[1], step = 0, c
    cdef Entries entries
    cdef bint learns_bias = bias_plan is not None, sparse = np.any(plan[7])
    if learns_bias:
        bias_rule, bias_rates, bias_wd, bias_l1 = rule_of(bias_plan), bias_plan[5], bias_plan[6], bias_plan[7]
    with nogil:
        while step * rows < n:
            add_rows(task, &X[step * rows, 0], &y[step * rows], min(rows, n - step * rows), factors[step], entries)
            for c in range(m):
                losses[c] += sums[d + 1, c]
            move(rule, &weights[0, 0], &sums[0, 0], d, m, &rates[step, 0], &wd[0], &l1[0])
            blend(&mean[0, 0], &weights[0, 0], d * m, shares[step], sparse)
            if learns_bias:
                move(bias_rule, &bias[0, 0], &sums[d, 0], 1, m, &bias_rates[step, 0], &bias_wd[0], &bias_l1[0])
                blend(&bias_mean[0, 0], &bias[0, 0], m, shares[step], False)
            step += 1


cdef Task task_of(const float[:, ::1] weights, const float[:, ::1] bias, tuple loss, float[:, ::1] sums) except *:
    """loss: scale (d,) and shift (d,): the weights are of (X - shift) * scale; one of LOSSES, and its own parameter,
    margin, quantile, insensitivity or delta; class weights (classes, m), what a row of a class counts in the gradient,
    or (0, 0); whether they count in the loss, too.
    """
    cdef const float[::1] scale = loss[0], shift = loss[1]
    cdef const float[:, ::1] class_weights = loss[4]
    cdef Task task
    task.d, task.m, task.weights, task.bias = weights.shape[0], weights.shape[1], &weights[0, 0], &bias[0, 0]
    task.scale, task.shift, task.loss, task.parameter = &scale[0], &shift[0], loss[2], loss[3]
    task.class_weights = &class_weights[0, 0] if class_weights.shape[0] else NULL
    task.weighs_loss, task.sums = loss[5], &sums[0, 0]
    return task


cdef void add_rows(
    const Task& task, const float *X, const float *y, Py_ssize_t n, float factor, Entries& entries
) noexcept nogil:
    """(X - shift) scale W = X (scale W) - shift scale W, and so for the gradient: rows are neither scaled nor copied.

    Of rows that are mostly zeros the others are listed, and only they are multiplied.

    factor: of the gradients
    """
    cdef Py_ssize_t d = task.d, m = task.m, panels = (m + PANEL - 1) // PANEL, size = d * PANEL
    cdef bint listed = is_mostly_zero(X, min(n, JUDGED) * d)
    cdef Py_ssize_t part = max(1, min(n, LISTED // d)) if listed else n, first = 0, rows, p, i, c
    cdef vector[float] weights = vector[float](panels * size), gradient = vector[float](panels * size)
    cdef vector[float] scores = vector[float](part * PANEL)
    cdef vector[float] start = vector[float](panels * PANEL), slopes = vector[float](panels * PANEL)
    cdef vector[float] losses = vector[float](panels * PANEL)
    cdef float nothing[PANEL]
    cdef float row_weights[PANEL]
    for c in range(PANEL):
        nothing[c], row_weights[c] = 0, 1
    for c in range(m):
        start[c] = task.bias[c]
    for p in range(panels):
        for i in range(d):
            fold(
                &weights[p * size + i * PANEL], &start[p * PANEL], task.weights + i * m + p * PANEL, task.shift[i],
                task.scale[i], min(PANEL, m - p * PANEL),
            )
    while first < n:
        rows = min(part, n - first)
        if listed:
            list_entries(X + first * d, rows, d, entries)
        for p in range(panels):
            if listed:
                scores_of(entries, &weights[p * size], &start[p * PANEL], scores.data())
            else:
                products(X, n, d, 1, &weights[p * size], &start[p * PANEL], d, scores.data())
            for i in range(rows):
                if task.class_weights != NULL:
                    c = min(PANEL, m - p * PANEL)
                    memcpy(
                        row_weights, task.class_weights + <Py_ssize_t>y[first + i] * m + p * PANEL, c * sizeof(float)
                    )
                judge(
                    task.loss, task.parameter, y[first + i], row_weights, task.weighs_loss, &scores[i * PANEL],
                    &slopes[p * PANEL], &losses[p * PANEL],
                )
            if listed:
                add_gradient(entries, scores.data(), &gradient[p * size])
            else:
                products(X, d, 1, d, scores.data(), nothing, n, &gradient[p * size])
        first += part
    for p in range(panels):
        for i in range(d):
            unfold(
                task.sums + i * m + p * PANEL, &gradient[p * size + i * PANEL], &slopes[p * PANEL], task.shift[i],
                task.scale[i] * factor, min(PANEL, m - p * PANEL),
            )
    for c in range(m):
        task.sums[d * m + c] = slopes[c] * factor
        task.sums[(d + 1) * m + c] = losses[c]
        task.sums[(d + 2) * m + c] = n


cdef inline void fold(
    Floats panel, Floats start, ConstFloats weights, float shift, float scale, Py_ssize_t count
) noexcept nogil:
    """The panel's row of a feature; what is beyond `count` is of no use."""
    cdef Py_ssize_t c
    for c in range(count):
        panel[c] = weights[c] * scale
        start[c] -= panel[c] * shift


cdef inline void unfold(
    Floats sums, ConstFloats gradient, ConstFloats slopes, float shift, float scale, Py_ssize_t count
) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(count):
        sums[c] = (gradient[c] - shift * slopes[c]) * scale
