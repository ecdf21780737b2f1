"""What the labels of the nearest rows say.

NumPy has no vote a row; a loop over rows in Python costs as much as an inverted index takes to find the neighbours.
"""

from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


def vote(
    const float[::1] labels,  # IN: (rows,) of all rows of the index
    const int64_t[:, ::1] numbers,  # IN: (n, k) the rows nearest to each query, nearest first; -1 where there is none
    const float[:, ::1] distances,  # IN: (n, k)
    bint classifier,  # IN: majority of the labels, else their mean
    bint farthest,  # IN: of labels with equal votes the one that the farthest row has, else the nearest row
    float[::1] answers,  # OUT: (n,)
):
    """Returns the first query that has fewer than k neighbours at finite distances, -1 if all have."""
    cdef Py_ssize_t n = numbers.shape[0], k = numbers.shape[1], i, j
    cdef float *seen = <float *>malloc(k * sizeof(float))
    cdef Py_ssize_t *votes = <Py_ssize_t *>malloc(k * sizeof(Py_ssize_t))
    cdef double total
    if seen == NULL or votes == NULL:
        free(seen)
        free(votes)
        raise MemoryError
    with nogil:
        for i in range(n):
            for j in range(k):
                if numbers[i, j] < 0 or not isfinite(distances[i, j]):
                    break
            else:
                if classifier:
                    answers[i] = majority(&labels[0], &numbers[i, 0], k, farthest, seen, votes)
                else:
                    total = 0
                    for j in range(k):
                        total += labels[numbers[i, j]]
                    answers[i] = <float>(total / k)
                continue
            break
        else:
            i = -1
    free(seen)
    free(votes)
    return i


cdef inline float majority(
    const float *labels, const int64_t *numbers, Py_ssize_t k, bint farthest, float *seen, Py_ssize_t *votes
) noexcept nogil:
    cdef Py_ssize_t different = 0, best = 0, i, j
    cdef float label
    for j in range(k):
        label = labels[numbers[j]]
        for i in range(different):
            if seen[i] == label:
                votes[i] += 1
                break
        else:
            seen[different], votes[different] = label, 1
            different += 1
    for i in range(1, different):  # in the order of their nearest rows
        if votes[i] > votes[best]:
            best = i
    if farthest:
        for j in range(k - 1, -1, -1):
            for i in range(different):
                if seen[i] == labels[numbers[j]] and votes[i] == votes[best]:
                    return seen[i]
    return seen[best]
