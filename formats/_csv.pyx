"""The native scan of CSV lines: cells to float32 values in one pass."""

from libc.math cimport NAN

from formats._gil cimport PyThreadState, let_others, take_back
from formats._number cimport signed_number, signed_word

USED_UP, BLANK_LINE, BAD_CELL, BAD_LENGTH = range(4)


def scan(const unsigned char[::1] text, Py_ssize_t position, float[::1] labels, float[:, ::1] features, Py_ssize_t row):
    """Reads lines from `position` on into the rows from `row` on, until either is used up or a line is refused.

    text      IN: whole lines; the last byte is a newline
    labels    OUT: (n,) the first cell of each line, or (0,) where lines have none
    features  OUT: (n, d) the other cells
    Returns (why it stopped, position of the next line, first row not filled, position of the cell at fault).
    """
    cdef const char *start = <const char *>&text[0]
    cdef const char *end = start + text.shape[0]
    cdef const char *line = start + position
    cdef const char *cell = line
    cdef const char *after = line
    cdef bint labelled = labels.shape[0] > 0
    cdef Py_ssize_t width = features.shape[1], rows = features.shape[0], column
    cdef int stop = 0
    cdef PyThreadState *state = let_others(text.shape[0])
    while row < rows and line < end:
        if blanks(line)[0] == c'\n' or is_blank_line(line):
            stop = 1
            break
        cell = line
        for column in range(-1 if labelled else 0, width):
            after = read_cell(cell, end, &labels[row] if column < 0 else &features[row, column])
            if after == NULL:
                stop = 2
                break
            if after[0] == c'\n' and column < width - 1:
                stop = 3
                break
            cell = after + 1
        if stop == 0 and after[0] != c'\n':
            stop = 3
        if stop != 0:
            break
        line = cell
        row += 1
    take_back(state)
    return stop, line - start, row, cell - start


cdef inline const char *blanks(const char *p) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t':
        p += 1
    return p


cdef inline bint is_blank_line(const char *p) noexcept nogil:
    while p[0] == c' ' or p[0] == c'\t' or p[0] == c'\r':
        p += 1
    return p[0] == c'\n'


cdef inline const char *read_cell(const char *p, const char *end, float *value) noexcept nogil:
    """Reads the cell at `p`; returns the comma or newline that ends it, or NULL if it holds no number."""
    cdef const char *after = signed_number(p, end, value)
    if after != NULL and (after[0] == c',' or after[0] == c'\n'):
        return after
    return unusual_cell(p, end, value)


cdef const char *unusual_cell(const char *p, const char *end, float *value) noexcept nogil:
    """As `read_cell`, for cells with blanks, quotes, words or nothing in them, and for the last one before `\\r\\n`."""
    cdef const char *after
    cdef bint quoted
    p = blanks(p)
    quoted = p[0] == c'"'
    if quoted:
        p = blanks(p + 1)
    after = signed_number(p, end, value)
    if after == NULL:
        after = signed_word(p, value)
    if after == NULL:  # an empty cell, unless something follows
        value[0] = NAN
        after = p
    after = blanks(after)
    if quoted:
        if after[0] != c'"':
            return NULL
        after = blanks(after + 1)
    if after[0] == c'\r' and after[1] == c'\n':
        after += 1
    return after if after[0] == c',' or after[0] == c'\n' else NULL
