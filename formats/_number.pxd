"""Decimal text to float32, for every native scan of lines.

Every value is float32(float64(text)): the decimal text is rounded to the nearest double, and that to the nearest
float32, as `np.float32(float(text))` and the JSON formats do. Up to 19 digits are converted here (W. Clinger, "How to
read floating point numbers accurately", PLDI 1990: doubles hold the digits and the power of ten exactly, so one
division rounds once); the rare rest goes to `std::from_chars`. The text must end in a newline, which stops every loop.
"""

from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from "<charconv>" namespace "std" nogil:
    cdef struct from_chars_result:
        const char *ptr
    from_chars_result from_chars(const char *first, const char *last, double &value)

cdef extern from *:
    """
    static const double POWERS[23] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
                                      1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    static const uint64_t WHOLE_POWERS[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    """
    const double *POWERS
    const uint64_t *WHOLE_POWERS
    int count_trailing_zeros "__builtin_ctzll"(uint64_t bits) nogil

cdef enum:
    WHOLE_DIGITS = 15  # 10**15 - 1 < 2**53
    MOST_DIGITS = 19  # 10**19 - 1 < 2**64
    GREATEST_POWER = 22  # 10**22 is the last power of ten that is a double
    ENOUGH_POWER = 1000000000  # no text has so many digits that it comes back into range


cdef inline const char *signed_word(const char *p, float *value) noexcept nogil:
    """Reads True, False, inf, infinity or nan at `p`; returns its end, or NULL. A word stops before any newline."""
    cdef bint negative = p[0] == c'-'
    if starts(p, b"True", 0) or starts(p, b"true", 0) or starts(p, b"TRUE", 0):
        value[0] = 1
        return p + 4
    if starts(p, b"False", 0) or starts(p, b"false", 0) or starts(p, b"FALSE", 0):
        value[0] = 0
        return p + 5
    if negative or p[0] == c'+':
        p += 1
    if starts(p, b"nan", 0x20):
        value[0] = NAN
        return p + 3
    if not starts(p, b"inf", 0x20):
        return NULL
    value[0] = -INFINITY if negative else INFINITY
    return p + 8 if starts(p, b"infinity", 0x20) else p + 3


cdef inline bint starts(const char *p, const char *word, char case_bit) noexcept nogil:
    """Whether `word` is at `p`; with the bit 0x20 in lower or upper case."""
    while word[0] != 0:
        if p[0] | case_bit != word[0]:
            return False
        p += 1
        word += 1
    return True


cdef inline const char *signed_number(const char *p, const char *end, float *value) noexcept nogil:
    """Reads the decimal number at `p`; returns its end, or NULL where there is none. The newline stops every loop."""
    cdef bint negative = p[0] == c'-'
    return decimal(p + (negative or p[0] == c'+'), end, negative, False, value)


cdef inline const char *json_number(const char *p, const char *end, float *value) noexcept nogil:
    """As `signed_number`, with the grammar of JSON (RFC 8259, section 6); NULL also where its value is beyond float32,
    or whole and of more digits than a double holds."""
    cdef bint negative = p[0] == c'-'
    p = decimal(p + negative, end, negative, True, value)
    return p if p != NULL and value[0] - value[0] == 0 else NULL


cdef inline const char *decimal(
    const char *p, const char *end, bint negative, bint json, float *value
) noexcept nogil:
    cdef const char *start = p
    cdef const char *point
    cdef uint64_t number = 0
    cdef Py_ssize_t count, power = 0
    cdef bint whole = True
    while is_digit(p[0]):  # few digits, often as many as in the last cell: the processor guesses right
        number = number * 10 + <uint64_t>(p[0] - c'0')
        p += 1
    count = p - start
    if json and (count == 0 or (count > 1 and start[0] == c'0')):
        return NULL
    if p[0] == c'.':
        whole = False
        point = p + 1
        p = digits(point, end, &number)
        power = point - p
        count -= power
        if json and power == 0:
            return NULL
    if count == 0:
        return NULL
    if p[0] | 0x20 == c'e':
        whole = False
        p = exponent(p + 1, &power)
        if p == NULL:
            return NULL
    if json and whole:
        if count > WHOLE_DIGITS:
            return NULL
        negative = negative and number > 0  # an integer 0 has no sign
    value[0] = rounded(number, count, power, start, p)
    if negative:
        value[0] = -value[0]
    return p


cdef inline bint is_digit(char character) noexcept nogil:
    return <unsigned char>(character - c'0') <= 9


cdef inline const char *digits(const char *p, const char *end, uint64_t *number) noexcept nogil:
    """Appends the digits at `p` to `number`, modulo 2**64; returns the first character that is no digit."""
    cdef uint64_t eight, others
    cdef int count
    while end - p >= 8:
        memcpy(&eight, p, 8)
        eight ^= 0x3030303030303030ULL  # digits become 0 to 9, all else is greater
        # The high bit marks a byte above 9. A carry spoils only what comes after one, and the first is all that counts.
        others = ((eight + 0x7676767676767676ULL) | eight) & 0x8080808080808080ULL
        count = count_trailing_zeros(others) >> 3 if others else 8
        if count == 0:
            return p
        number[0] = number[0] * WHOLE_POWERS[count] + joined(eight << (64 - 8 * count))
        p += count
        if count < 8:
            return p
    while is_digit(p[0]):
        number[0] = number[0] * 10 + <uint64_t>(p[0] - c'0')
        p += 1
    return p


cdef inline uint64_t joined(uint64_t eight) noexcept nogil:
    """The number of eight digits, first digit in the lowest byte: pairs first, then two sums of two pairs each."""
    eight = eight * 10 + (eight >> 8)
    return ((eight & 0x000000FF000000FFULL) * 0x000F424000000064ULL
            + ((eight >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL) >> 32


cdef inline const char *exponent(const char *p, Py_ssize_t *power) noexcept nogil:
    """Adds the exponent at `p` to `power`; returns its end, or NULL where there is none."""
    cdef bint negative = p[0] == c'-'
    cdef Py_ssize_t size = 0
    p += negative or p[0] == c'+'
    if not is_digit(p[0]):
        return NULL
    while is_digit(p[0]):
        if size < ENOUGH_POWER:
            size = size * 10 + (p[0] - c'0')
        p += 1
    power[0] += -size if negative else size
    return p


cdef inline float rounded(
    uint64_t number, Py_ssize_t count, Py_ssize_t power, const char *start, const char *end
) noexcept nogil:
    """float32(float64(number * 10**power)); the same in decimal is [start, end), with `count` digits."""
    cdef uint64_t bits
    cdef double value
    if count > MOST_DIGITS or not -GREATEST_POWER <= power <= GREATEST_POWER:
        return rounded_slowly(power, start, end)
    value = <double>number
    value = value / POWERS[-power] if power < 0 else value * POWERS[power]
    if number > <uint64_t>1 << 53:
        # Two roundings: `value` is at most 3 units from the right double. That is the same float32 unless the middle of
        # two float32 values lies between: then the 29 bits that a float32 lacks are next to 2**28.
        memcpy(&bits, &value, 8)
        if not 1e-30 < value < 1e30 or 0x0FFFFFFC <= (bits & 0x1FFFFFFF) <= 0x10000004:
            return rounded_slowly(power, start, end)
    return <float>value


cdef inline float rounded_slowly(Py_ssize_t power, const char *start, const char *end) noexcept nogil:
    """As `rounded`, for any well-formed number: `power` is that of its last digit."""
    cdef const char *p = start
    cdef double value = 0
    cdef Py_ssize_t count = 0  # of digits from the first that is not 0
    while is_digit(p[0]) or p[0] == c'.':
        count += p[0] != c'.' and (count > 0 or p[0] != c'0')
        p += 1
    # from_chars leaves `value` as it was where no double is near: infinity above them all, zero below.
    if count > 0 and count + power > 0:
        value = INFINITY
    from_chars(start, end, value)
    return <float>value
