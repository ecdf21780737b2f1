"""Rows copied to their slots.

NumPy would gather them first, and wait for each slot's memory in turn: twice as long where the sample is larger than
the cache.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define AHEAD 8  // rows whose slots are fetched meanwhile
    #define LINE 16  // floats
    static inline void fetch(const float *row, ptrdiff_t d) {
        for (ptrdiff_t t = 0; t < d; t += LINE) __builtin_prefetch(row + t, 1);
    }
    """
    enum: AHEAD
    void fetch(const float *row, Py_ssize_t d) nogil


def place(
    const float[:, ::1] X,  # IN: (n, d)
    const int64_t[::1] rows,  # IN: (m,) of X
    const int64_t[::1] slots,  # IN: (m,) of `kept`, one for each of these rows
    float[:, ::1] kept,  # OUT: (slots, d)
):
    """kept[slots] = X[rows]"""
    cdef Py_ssize_t m = rows.shape[0], d = X.shape[1], j
    if d == 0:
        return
    with nogil:
        for j in range(m):
            if j + AHEAD < m:
                fetch(&kept[slots[j + AHEAD], 0], d)
            memcpy(&kept[slots[j], 0], &X[rows[j], 0], d * sizeof(float))
