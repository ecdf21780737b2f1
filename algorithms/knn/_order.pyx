"""Candidates put in order.

They nearly are, so that insertion takes 0.3 us a row of 100, where NumPy's sort by two keys takes 7.
"""

from libc.stdint cimport int64_t


def put_in_order(
    float[:, ::1] distances,  # IN, OUT: (n, m)
    int64_t[:, ::1] numbers,  # IN, OUT: (n, m)
):
    """Sorts each row by distance, and equal distances by number; what is not a number stays where it is.

    Insertion: as rounding has left them, few candidates have to move, and not far.
    """
    cdef Py_ssize_t n = distances.shape[0], m = distances.shape[1], i, j, at
    cdef float distance
    cdef int64_t number
    with nogil:
        for i in range(n):
            for j in range(1, m):
                distance, number = distances[i, j], numbers[i, j]
                at = j
                while at > 0 and (
                    distances[i, at - 1] > distance or distances[i, at - 1] == distance and numbers[i, at - 1] > number
                ):
                    distances[i, at], numbers[i, at] = distances[i, at - 1], numbers[i, at - 1]
                    at -= 1
                distances[i, at], numbers[i, at] = distance, number
