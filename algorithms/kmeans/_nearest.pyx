"""Squared distances of rows to centers, and the nearest center of a few rows.

BLAS finds the nearest centers of many rows faster. But NumPy gives the GIL up in each of the passes that it needs, another
thread of the server takes it, and this one waits: a row of 784 with 10 centers took 18 us alone, and 70 to 120 under load.
"""

cdef enum:
    LANES = 16  # sums side by side, so that the compiler may use vectors without changing the order of additions


def nearest_of_few(
    const float[:, ::1] X,  # IN: (n, d)
    const float[:, ::1] C,  # IN: (k, d)
    Py_ssize_t[::1] labels,  # OUT: (n,) the row of C nearest to each row of X, the first of equals
    double[::1] squared,  # OUT: (n,) its squared Euclidean distance
):
    """Compares every row with every center."""
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], k = C.shape[0], i, j
    cdef double distance
    for i in range(n):
        labels[i] = 0
        squared[i] = squared_distance(&X[i, 0], &C[0, 0], d)
        for j in range(1, k):
            distance = squared_distance(&X[i, 0], &C[j, 0], d)
            if distance < squared[i]:
                labels[i], squared[i] = j, distance


def squared_distances(
    const float[:, ::1] X,  # IN: (n, d)
    const float[:, ::1] C,  # IN: (k, d)
    const Py_ssize_t[::1] labels,  # IN: (n,) a row of C for each row of X
    double[::1] squared,  # OUT: (n,) the squared Euclidean distance between them
):
    """The same sums as above, so that an answer does not depend on how many rows were asked about."""
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], i
    with nogil:
        for i in range(n):
            squared[i] = squared_distance(&X[i, 0], &C[labels[i], 0], d)


def nearest_of_costs(
    const float[:, ::1] X,  # IN: (n, d)
    const float[:, ::1] C,  # IN: (k, d)
    const float[:, ::1] costs,  # IN: (n, k) what the centers cost each row, less the offset
    const float[::1] offset,  # IN: (k,)
    Py_ssize_t[::1] labels,  # OUT: (n,) the cheapest center of each row, the first of equals
    double[::1] squared,  # OUT: (n,) its squared Euclidean distance
):
    """Whether all costs are finite; where they are not, the output means nothing. In one pass and without the GIL."""
    cdef Py_ssize_t n = X.shape[0], d = X.shape[1], k = C.shape[0], i, j
    cdef float cost, least
    cdef bint finite = True
    with nogil:
        for i in range(n):
            labels[i], least = 0, costs[i, 0] + offset[0]
            finite &= least - least == 0
            for j in range(1, k):
                cost = costs[i, j] + offset[j]
                finite &= cost - cost == 0
                if cost < least:
                    labels[i], least = j, cost
            squared[i] = squared_distance(&X[i, 0], &C[labels[i], 0], d)
    return finite


cdef inline double squared_distance(const float *x, const float *c, Py_ssize_t d) noexcept nogil:
    cdef double[LANES] sums
    cdef double difference
    cdef double total = 0
    cdef Py_ssize_t at = 0, lane
    for lane in range(LANES):
        sums[lane] = 0
    while at + LANES <= d:
        for lane in range(LANES):
            difference = <double>x[at + lane] - c[at + lane]
            sums[lane] += difference * difference
        at += LANES
    for lane in range(LANES):
        total += sums[lane]
    while at < d:
        difference = <double>x[at] - c[at]
        total += difference * difference
        at += 1
    return total
