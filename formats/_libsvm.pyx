"""The native scan of LibSVM lines: labels, weights, queries and the entries of a CSR matrix in one pass."""

from libc.stdint cimport INT64_MAX, UINT32_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy
from libcpp.algorithm cimport sort
from libcpp.vector cimport vector

from formats._number cimport is_digit, signed_number, signed_word

cdef enum:
    LARGE = 65536  # bytes; a request of fewer is scanned sooner than the GIL comes back from another thread

cdef enum:
    READ_ALL
    MET_BLANK_LINE
    MET_BAD_LINE

cdef enum:  # what a line can begin with
    HAS_LABEL = 1
    HAS_WEIGHT = 2
    HAS_GROUP = 4

USED_UP, BLANK_LINE, BAD_LINE = READ_ALL, MET_BLANK_LINE, MET_BAD_LINE
LABEL, WEIGHT, GROUP = HAS_LABEL, HAS_WEIGHT, HAS_GROUP

cdef struct Line:  # what a line must look like, and what is known once it has been read
    int64_t first_index
    uint64_t width
    bint training  # the line begins with a label, and after it comes a weight; else the label may be absent
    int kind
    Py_ssize_t row, entry  # the first that are not filled

cdef struct Rows:  # where they go; see `scan`
    float *labels
    float *weights
    int64_t *groups
    int64_t *bounds
    int32_t *indices
    float *values


def count(const unsigned char[::1] text):
    """Returns the number of newlines and of colons: as many rows and entries as a scan can find, or fewer."""
    cdef Py_ssize_t newlines, colons
    if text.shape[0] > LARGE:
        with nogil:
            newlines, colons = occurrences(&text[0], text.shape[0], c'\n'), occurrences(&text[0], text.shape[0], c':')
    else:
        newlines, colons = occurrences(&text[0], text.shape[0], c'\n'), occurrences(&text[0], text.shape[0], c':')
    return newlines, colons


def scan(
    const unsigned char[::1] text,
    Py_ssize_t position,
    int64_t first_index,
    int64_t width,
    bint training,
    int kind,
    float[::1] labels,
    float[::1] weights,
    int64_t[::1] groups,
    int64_t[::1] bounds,
    int32_t[::1] indices,
    float[::1] values,
):
    """Reads all lines from `position` on, until one is blank or refused; those that hold only a comment are passed over.

    text         IN: whole lines; the last byte is a newline
    first_index  IN: what the lines call feature 0
    width        IN: number of features, at most 2**31 - 1
    training     IN: each line begins with a label, or label:weight; else the label may be absent and has no weight
    kind         IN: LABEL | WEIGHT | GROUP of the rows so far, -1 if there are none. In training all have the same;
                 else it becomes what all have
    labels, weights  OUT: (n,) of each row, where it has one; n newlines are in the text
    groups       OUT: (n,) the queries, where rows have one
    bounds       OUT: (n + 1,) the entries of row i are bounds[i] to bounds[i + 1] - 1
    indices      OUT: (m,) the features of the entries, from 0, sorted and unique in each row; m colons are in the text
    values       OUT: (m,) of the entries
    Returns (why it stopped, position of the next line, lines read, rows filled, kind).
    """
    cdef Rows rows
    cdef Line line
    cdef const char *start = <const char *>&text[0]
    cdef const char *p = start + position
    cdef const char *end = start + text.shape[0]
    cdef Py_ssize_t lines = 0
    cdef int stop = 0
    rows.labels, rows.weights, rows.groups = &labels[0], &weights[0], &groups[0]
    rows.bounds, rows.indices, rows.values = &bounds[0], &indices[0], &values[0]
    line.first_index, line.width, line.training, line.kind = first_index, <uint64_t>width, training, kind
    line.row = line.entry = 0
    bounds[0] = 0
    if text.shape[0] > LARGE:
        with nogil:
            stop = read_lines(&p, end, &line, &rows, &lines)
    else:
        stop = read_lines(&p, end, &line, &rows, &lines)
    return stop, p - start, lines, line.row, line.kind


cdef Py_ssize_t occurrences(const unsigned char *text, Py_ssize_t size, unsigned char character) noexcept nogil:
    cdef Py_ssize_t i, found = 0
    for i in range(size):
        found += text[i] == character
    return found


cdef int read_lines(const char **position, const char *end, Line *line, Rows *rows, Py_ssize_t *lines) except -1 nogil:
    """Moves `position` behind each line that it reads; returns why it stopped."""
    cdef const char *p = position[0]
    cdef const char *after
    while p < end:
        after = blanks(p)
        if after[0] == c'#':
            p = <const char *>memchr(after, c'\n', end - after) + 1
        elif after[0] == c'\n' or (after[0] == c'\r' and is_blank_line(after)):
            return MET_BLANK_LINE
        else:
            p = read_row(after, end, line, rows)
            if p == NULL:
                return MET_BAD_LINE
        lines[0] += 1
        position[0] = p
    return READ_ALL


cdef const char *read_row(const char *p, const char *end, Line *line, Rows *rows) except? NULL nogil:
    """Reads the row at `p`; returns the next line, or NULL if it is refused."""
    cdef Py_ssize_t first = line.entry, entry = line.entry
    cdef int64_t previous = -1, feature
    cdef uint64_t index
    cdef bint is_sorted = True
    cdef const char *start
    cdef int kind = 0
    p = read_label(p, end, line, rows, &kind)
    if p == NULL:
        return NULL
    if p[0] == c'q':
        p = read_group(p, &rows.groups[line.row])
        if p == NULL:
            return NULL
        kind |= HAS_GROUP
    if not line.training:
        line.kind &= kind
    elif line.kind != kind:
        if line.kind >= 0:
            return NULL
        line.kind = kind
    while not ends_row(p):
        start = p
        index = 0
        while is_digit(p[0]):
            if index <= UINT32_MAX:  # what is greater is refused, however great
                index = index * 10 + <uint64_t>(p[0] - c'0')
            p += 1
        feature = <int64_t>index - line.first_index
        if p == start or p[0] != c':' or <uint64_t>feature >= line.width:
            return NULL
        p = number(p + 1, end, &rows.values[entry])
        if p == NULL or not ends_token(p):
            return NULL
        p = blanks(p)
        rows.indices[entry] = <int32_t>feature
        is_sorted &= feature > previous
        previous = feature
        entry += 1
    if not is_sorted and not sort_entries(rows.indices + first, rows.values + first, entry - first):
        return NULL
    line.row += 1
    line.entry = rows.bounds[line.row] = entry
    if p[0] == c'#':
        p = <const char *>memchr(p, c'\n', end - p)
    return p + 1 if p[0] == c'\n' else p + 2


cdef inline const char *read_label(const char *p, const char *end, Line *line, Rows *rows, int *kind) noexcept nogil:
    """Reads the label at `p`, and in training its weight; returns the next token, `p` itself where no label must be."""
    cdef const char *after = number(p, end, &rows.labels[line.row])
    if after == NULL or (after[0] == c':' and not line.training):
        if line.training:
            return NULL
        return p
    kind[0] = HAS_LABEL
    if after[0] == c':':
        after = number(after + 1, end, &rows.weights[line.row])
        kind[0] |= HAS_WEIGHT
    if after == NULL or not ends_token(after):
        return NULL
    return blanks(after)


cdef const char *read_group(const char *p, int64_t *group) noexcept nogil:
    """Reads the query `qid:7` at `p`; returns the next token, or NULL where it is none."""
    cdef uint64_t query = 0
    cdef unsigned int digit
    if p[1] != c'i' or p[2] != c'd' or p[3] != c':' or not is_digit(p[4]):
        return NULL
    p += 4
    while is_digit(p[0]):
        digit = p[0] - c'0'
        if query > (<uint64_t>INT64_MAX - digit) // 10:
            return NULL
        query = query * 10 + digit
        p += 1
    if not ends_token(p):
        return NULL
    group[0] = <int64_t>query
    return blanks(p)


cdef inline const char *number(const char *p, const char *end, float *value) noexcept nogil:
    """Reads the number at `p` as in CSV; returns its end, or NULL where there is none."""
    cdef const char *after = signed_number(p, end, value)
    return after if after != NULL else signed_word(p, value)


cdef inline const char *blanks(const char *p) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t':
        p += 1
    return p


cdef bint is_blank_line(const char *p) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t' or p[0] == c'\r':
        p += 1
    return p[0] == c'\n'


cdef inline bint ends_row(const char *p) noexcept nogil:
    return p[0] == c'\n' or p[0] == c'#' or (p[0] == c'\r' and p[1] == c'\n')


cdef inline bint ends_token(const char *p) noexcept nogil:
    return p[0] == c' ' or p[0] == c'\t' or ends_row(p)


cdef int sort_entries(int32_t *indices, float *values, Py_ssize_t n) except -1 nogil:
    """Sorts the entries of a row by feature; returns 0 if one is given twice."""
    cdef vector[uint64_t] entries  # the feature above the bits of the value: sorting them sorts by feature
    cdef uint32_t bits
    cdef Py_ssize_t i
    entries.resize(n)
    for i in range(n):
        memcpy(&bits, &values[i], 4)
        entries[i] = <uint64_t>indices[i] << 32 | bits
    sort(entries.begin(), entries.end())
    for i in range(n):
        bits = <uint32_t>entries[i]
        memcpy(&values[i], &bits, 4)
        indices[i] = <int32_t>(entries[i] >> 32)
        if i > 0 and indices[i] == indices[i - 1]:
            return 0
    return 1
