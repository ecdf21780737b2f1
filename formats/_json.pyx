"""The native scan of JSON instances that hold nothing but a row of numbers, as nearly all do.

Whatever is written in another way, refused or not, is left to the parser of all JSON: the scan stops before it.
"""

from libc.math cimport NAN
from libc.string cimport memcmp

from formats._gil cimport PyThreadState, let_others, take_back
from formats._number cimport json_number


def scan(bytes text not None, float[:, ::1] features, bint lines):
    """The number of instances, all of them in the first rows of `features`; -1 where any is written in another way.

    text      IN: with `lines` an instance a line, else {"instances": [...]}; its last byte is followed by a NUL
    features  OUT: (n, d)
    """
    cdef const char *start = text
    cdef const char *end = start + len(text)
    cdef PyThreadState *state = let_others(end - start)
    cdef Py_ssize_t found = of_lines(start, end, features) if lines else of_document(start, end, features)
    take_back(state)
    return found


cdef Py_ssize_t of_document(const char *p, const char *end, float[:, ::1] features) noexcept nogil:
    cdef Py_ssize_t row = 0
    p = skip(p, True)
    if p[0] != c'{':
        return -1
    p = after_key(skip(p + 1, True), b'"instances"', 11, True)
    if p == NULL or p[0] != c'[':
        return -1
    while True:
        if row == features.shape[0]:
            return -1
        p = instance(skip(p + 1, True), end, &features[row, 0], features.shape[1], True)
        if p == NULL:
            return -1
        row += 1
        p = skip(p, True)
        if p[0] != c',':
            break
    if p[0] != c']':
        return -1
    p = skip(p + 1, True)
    if p[0] != c'}':
        return -1
    return row if skip(p + 1, True) == end else -1


cdef Py_ssize_t of_lines(const char *p, const char *end, float[:, ::1] features) noexcept nogil:
    cdef Py_ssize_t row = 0
    while p < end:
        if row == features.shape[0]:
            return -1
        p = instance(skip(p, False), end, &features[row, 0], features.shape[1], False)
        if p == NULL:
            return -1
        row += 1
        p = skip(p, False)
        if p == end:
            break
        if p[0] != c'\n':
            return -1
        p += 1
    return row


cdef inline const char *instance(
    const char *p, const char *end, float *values, Py_ssize_t width, bint newlines
) noexcept nogil:
    """Reads [...], {"features": [...]}, or that in "data", with {"values": [...]} or without; returns its end, or NULL."""
    cdef Py_ssize_t column
    cdef int open = 0, inside = 0  # of what: 1 "data", 2 "features", 3 "values"
    cdef const char *after
    while p[0] == c'{':
        p = skip(p + 1, newlines)
        after = NULL
        if inside == 0:
            after = after_key(p, b'"data"', 6, newlines)
            inside = 1
        if after == NULL and inside == 1:
            after = after_key(p, b'"features"', 10, newlines)
            inside = 2
        elif inside == 2:
            after = after_key(p, b'"values"', 8, newlines)
            inside = 3
        if after == NULL:
            return NULL
        p = after
        open += 1
    if p[0] != c'[' or inside == 1:
        return NULL
    for column in range(width):
        p = skip(p + 1, newlines)
        after = json_number(p, end, &values[column])
        if after == NULL:
            after = word(p, end, &values[column])
            if after == NULL:
                return NULL
        p = skip(after, newlines)
        if p[0] != c',':
            break
    if p[0] != c']' or column != width - 1:
        return NULL
    while open > 0:
        p = skip(p + 1, newlines)
        if p[0] != c'}':
            return NULL
        open -= 1
    return p + 1


cdef inline const char *word(const char *p, const char *end, float *value) noexcept nogil:
    """Reads null, true or false; returns its end, or NULL."""
    if end - p >= 5 and memcmp(p, b"false", 5) == 0:
        value[0] = 0
        return p + 5
    if end - p < 4 or (memcmp(p, b"null", 4) != 0 and memcmp(p, b"true", 4) != 0):
        return NULL
    value[0] = NAN if p[0] == c'n' else 1
    return p + 4


cdef inline const char *after_key(const char *p, const char *key, int length, bint newlines) noexcept nogil:
    """What follows a key and its colon, or NULL where there is another."""
    cdef int i
    for i in range(length):
        if p[i] != key[i]:
            return NULL
    p = skip(p + length, newlines)
    return skip(p + 1, newlines) if p[0] == c':' else NULL


cdef inline const char *skip(const char *p, bint newlines) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t' or p[0] == c'\r' or (newlines and p[0] == c'\n'):
        p += 1
    return p
