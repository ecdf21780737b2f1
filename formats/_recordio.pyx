# distutils: language = c++
"""RecordIO frames and the Record messages in them, in one walk over bytes that are already in memory.

Wire format: protobuf's "Encoding" page; field numbers: proto/record.proto. Reading takes two passes over a block of
whole frames. `scan` finds what a record has and how much of it; Python then allocates exactly that and the `fill_*`
functions store it. Both passes are the same functions: a Tensor without a destination only counts.

Every read is bounded by a Cursor and every write by a Tensor's room, so bytes that lie cannot lead outside an array.
"""

from libc.stdint cimport INT64_MAX, UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    VARINT = 0, FIXED64 = 1, SPAN = 2, GROUP = 3, END_GROUP = 4, FIXED32 = 5  # wire types
    FLOAT32 = 2, FLOAT64 = 3, INT32 = 7, BYTES = 9  # fields of Value
    DEPTH = 100  # nested groups, as protobuf's own limit

# The same numbers as `Fault` in recordio.py, which has the sentences.
cdef enum:
    FINE, BAD_MAGIC, MULTIPART, MALFORMED, EMPTY, NO_VALUES, NO_TENSOR, NOT_NUMBERS, HUGE_SHAPE, UNEQUAL, MISSHAPEN
    LABEL_SIZE, KEY

cdef uint32_t MAGIC = 0xCED7230A


cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end


cdef struct Tensor:
    int kind               # FLOAT32, FLOAT64, INT32, BYTES; 0 for none
    int64_t values         # how many so far
    int64_t keys
    int64_t dimensions
    uint64_t cells         # product of the dimensions
    bint huge              # that product is beyond int64
    float* to_values       # NULL: only count
    int64_t room_values
    int64_t* to_keys
    int64_t room_keys


cdef struct Record:  # the row of `RECORD` in recordio.py
    int64_t begin      # the map entry of the features; after NO_VALUES the name that was found instead
    int64_t end
    int64_t values
    int64_t keys
    int64_t width      # product of the shape; without a shape the number of values; -1: sparse without a shape
    int64_t sparse
    int64_t label      # the map entry of the label; -1: none
    int64_t label_end
    int64_t labels
    int64_t uid        # the text of uid; -1: none
    int64_t uid_end


cdef inline bint read_varint(Cursor* c, uint64_t* value) noexcept nogil:
    cdef uint64_t byte
    cdef int shift = 0
    value[0] = 0
    while c.at < c.end and shift < 70:
        byte = c.at[0]
        c.at += 1
        value[0] |= (byte & 127) << shift
        if byte < 128:
            return True  # what a tenth byte has beyond 64 bits is dropped, as protobuf does
        shift += 7
    return False


cdef inline bint read_span(Cursor* c, Cursor* inner) noexcept nogil:
    cdef uint64_t length
    if not read_varint(c, &length) or length > <uint64_t>(c.end - c.at):
        return False
    inner.at = c.at
    inner.end = c.at + length
    c.at = inner.end
    return True


cdef inline bint read_tag(Cursor* c, uint32_t* number, int* wire) noexcept nogil:
    cdef uint64_t tag
    if not read_varint(c, &tag) or tag > UINT32_MAX:
        return False
    number[0] = <uint32_t>(tag >> 3)
    wire[0] = tag & 7
    return number[0] != 0


cdef bint skip(Cursor* c, uint32_t number, int wire, int depth) noexcept nogil:
    """Passes over one field of any kind."""
    cdef uint64_t ignored
    cdef Cursor inner
    cdef uint32_t inner_number
    cdef int inner_wire
    cdef int size
    if wire == VARINT:
        return read_varint(c, &ignored)
    if wire == SPAN:
        return read_span(c, &inner)
    if wire == FIXED32 or wire == FIXED64:
        size = 4 if wire == FIXED32 else 8
        if c.end - c.at < size:
            return False
        c.at += size
        return True
    if wire != GROUP or depth == 0:
        return False
    while read_tag(c, &inner_number, &inner_wire):
        if inner_wire == END_GROUP:
            return inner_number == number
        if not skip(c, inner_number, inner_wire, depth - 1):
            return False
    return False


cdef bint count_varints(Cursor block, int64_t* count) noexcept nogil:
    """Adds the number of varints, that is of bytes below 128, which end them; storing finds those that are too long."""
    cdef int64_t size = block.end - block.at
    cdef int64_t i
    cdef int64_t ends = 0
    for i in range(size):
        ends += block.at[i] < 128
    count[0] += ends
    return size == 0 or block.at[size - 1] < 128


cdef bint read_values(Cursor block, Tensor* t) noexcept nogil:
    """The values of one packed block."""
    cdef int width = 4 if t.kind == FLOAT32 else 8
    cdef int64_t count = (block.end - block.at) // width
    cdef int64_t room = t.room_values - t.values
    cdef int64_t i
    cdef double real
    cdef uint64_t whole
    if t.kind == INT32:
        if t.to_values == NULL:
            return count_varints(block, &t.values)
        while block.at < block.end:
            if not read_varint(&block, &whole):
                return False
            if t.values < t.room_values:
                t.to_values[t.values] = <float>(<int32_t>whole)
            t.values += 1
        return True
    if (block.end - block.at) % width:
        return False
    if t.to_values != NULL and t.kind == FLOAT32 and count <= room:
        memcpy(t.to_values + t.values, block.at, count * sizeof(float))
    elif t.to_values != NULL and t.kind == FLOAT64:
        for i in range(min(count, room)):
            memcpy(&real, block.at + 8 * i, sizeof(double))
            t.to_values[t.values + i] = <float>real
    t.values += count
    return True


cdef bint read_keys(Cursor block, Tensor* t) noexcept nogil:
    """The keys of one packed block."""
    cdef uint64_t key
    if t.to_keys == NULL:
        return count_varints(block, &t.keys)
    while block.at < block.end:
        if block.end - block.at > 1 and block.at[0] >= 128 and block.at[1] < 128:  # most keys have two bytes
            key = (block.at[0] & 127) | <uint64_t>block.at[1] << 7
            block.at += 2
        elif not read_varint(&block, &key):
            return False
        if t.keys < t.room_keys:
            t.to_keys[t.keys] = <int64_t>key
        t.keys += 1
    return True


cdef bint read_shape(Cursor block, Tensor* t) noexcept nogil:
    """The dimensions of one packed block."""
    cdef uint64_t length
    while block.at < block.end:
        if not read_varint(&block, &length):
            return False
        t.huge |= length != 0 and t.cells > <uint64_t>INT64_MAX // length
        t.cells *= length
        t.dimensions += 1
    return True


cdef bint read_tensor(Cursor c, Tensor* t) noexcept nogil:
    """A Float32Tensor, Float64Tensor or Int32Tensor; each repeated field in one block, in several, or unpacked."""
    cdef uint32_t number
    cdef int wire
    cdef int unpacked
    cdef Cursor block
    cdef bint good
    while c.at < c.end:
        if not read_tag(&c, &number, &wire):
            return False
        unpacked = VARINT
        if number == 1:
            unpacked = FIXED32 if t.kind == FLOAT32 else FIXED64 if t.kind == FLOAT64 else VARINT
        block.at = c.at
        if wire == SPAN:
            good = read_span(&c, &block)
        else:  # an unpacked element is a packed block of one
            good = skip(&c, number, wire, DEPTH)
            block.end = c.at
        if good and (wire == SPAN or wire == unpacked):
            if number == 1:
                good = read_values(block, t)
            elif number == 2:
                good = read_keys(block, t)
            elif number == 3:
                good = read_shape(block, t)
        if not good:
            return False
    return True


cdef void forget(Tensor* t) noexcept nogil:
    t.kind = 0
    t.values = t.keys = t.dimensions = 0
    t.cells = 1
    t.huge = False


cdef bint read_value(Cursor c, Tensor* t) noexcept nogil:
    """A Value: of several members the last counts, and the same member twice is one (protobuf's rules for oneof)."""
    cdef uint32_t number
    cdef int wire
    cdef Cursor inner
    while c.at < c.end:
        if not read_tag(&c, &number, &wire):
            return False
        if wire == SPAN and number in (FLOAT32, FLOAT64, INT32, BYTES):
            if t.kind != <int>number:
                forget(t)
            t.kind = number
            if not read_span(&c, &inner) or (number != BYTES and not read_tensor(inner, t)):
                return False
        elif not skip(&c, number, wire, DEPTH):
            return False
    return True


cdef bint read_entry(Cursor c, Cursor* key, Tensor* t) noexcept nogil:
    """An entry of map<string, Value>: its key and, added to `t`, its value."""
    cdef uint32_t number
    cdef int wire
    cdef Cursor inner
    forget(t)
    key.at = key.end = c.at
    while c.at < c.end:
        if not read_tag(&c, &number, &wire):
            return False
        if wire == SPAN and number == 1:
            if not read_span(&c, key):
                return False
        elif wire == SPAN and number == 2:
            if not read_span(&c, &inner) or not read_value(inner, t):
                return False
        elif not skip(&c, number, wire, DEPTH):
            return False
    return True


cdef int read_record(Cursor c, const uint8_t* base, Record* r) noexcept nogil:
    """Notes in `r` what a Record has; offsets count from `base`."""
    cdef uint32_t number
    cdef int wire
    cdef Cursor inner, key
    cdef Tensor t, features, label
    cdef bint found = False
    t.to_values = NULL
    t.to_keys = NULL
    r.begin = r.label = r.uid = -1
    r.labels = 0
    forget(&features)
    while c.at < c.end:
        if not read_tag(&c, &number, &wire):
            return MALFORMED
        if wire != SPAN or number > 3:
            if not skip(&c, number, wire, DEPTH):
                return MALFORMED
            continue
        if not read_span(&c, &inner):
            return MALFORMED
        if number == 3:
            r.uid, r.uid_end = inner.at - base, inner.end - base
        elif not read_entry(inner, &key, &t):
            return MALFORMED
        elif key.end - key.at != 6 or memcmp(key.at, b"values", 6) != 0:
            if number == 1 and not found:
                r.begin, r.end = key.at - base, key.end - base
        elif number == 1:
            found, features = True, t
            r.begin, r.end = inner.at - base, inner.end - base
        else:
            label = t
            r.label, r.label_end, r.labels = inner.at - base, inner.end - base, 0 if t.kind == BYTES else t.values
    if not found:
        return EMPTY if r.begin < 0 else NO_VALUES
    if r.label >= 0 and r.labels != 1:
        return LABEL_SIZE
    return judge(&features, r)


cdef int judge(Tensor* t, Record* r) noexcept nogil:
    """What the features' counts mean: dense or sparse, how wide, or which fault."""
    r.values, r.keys, r.width = t.values, t.keys, <int64_t>t.cells
    r.sparse = t.keys > 0 or t.values == 0
    if t.kind == 0:
        return NO_TENSOR
    if t.kind == BYTES:
        return NOT_NUMBERS
    if t.huge:
        return HUGE_SHAPE
    if t.keys > 0 and t.keys != t.values:
        return UNEQUAL
    if t.dimensions == 0:
        r.width = -1 if t.keys > 0 else t.values
    elif not r.sparse and t.values != r.width:
        return MISSHAPEN
    return EMPTY if r.width == 0 else FINE


def scan(
    const uint8_t[::1] data,  # IN: whole frames and perhaps a part of one, beginning at a frame
    Record[::1] records,      # OUT: one row per record
    bint last,                # no more bytes follow, so the last record's padding may be missing
):
    """Finds the records in `data`, up to a fault, a frame in parts, an incomplete frame, or the end of the table.

    Returns (number of records, offset behind their last frame, fault); after a fault the faulty record is one more.
    """
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t size = data.shape[0]
    cdef Py_ssize_t room = records.shape[0]
    cdef const uint8_t* base = &data[0]
    cdef uint32_t header[2]
    cdef Py_ssize_t length, padded
    cdef Cursor payload
    cdef int fault = FINE
    with nogil:
        while count < room and size - at >= 4:
            memcpy(header, base + at, min(8, size - at))
            if header[0] != MAGIC:
                fault = BAD_MAGIC
                break
            if size - at < 8:
                break
            length = header[1] & 0x1FFFFFFF
            padded = length + 3 & ~3
            if header[1] >> 29 != 0:
                fault = MULTIPART
                break
            if size - at - 8 < (length if last else padded):
                break
            payload.at = base + at + 8
            payload.end = payload.at + length
            fault = read_record(payload, base, &records[count])
            if fault != FINE:
                break
            at = min(at + 8 + padded, size)
            count += 1
    return count, at, fault


def fill_dense(
    const uint8_t[::1] data,   # IN: what `scan` saw
    const int64_t[:] begin,    # IN: (n,) where the map entries of features or labels begin
    const int64_t[:] end,      # IN: (n,) and end
    float[:, ::1] values,      # OUT: (n, d), as many values as `scan` has counted in each
):
    """Stores dense values; returns the index of the first entry whose bytes are malformed, n if none is."""
    cdef Py_ssize_t n = values.shape[0]
    cdef Py_ssize_t i
    cdef Cursor entry, key
    cdef Tensor t
    t.to_keys = NULL
    t.room_values = values.shape[1]
    with nogil:
        for i in range(n):
            entry.at, entry.end = &data[0] + begin[i], &data[0] + end[i]
            t.to_values = &values[i, 0]
            if not read_entry(entry, &key, &t):
                break
        else:
            i = n
    return i


def fill_sparse(
    const uint8_t[::1] data,     # IN: what `scan` saw
    const Record[::1] records,   # IN: n records, sparse or dense, each with its width
    float[::1] values,           # OUT: room for the values of all records
    int64_t[::1] keys,           # OUT: as many; unsigned on the wire, so a negative one was beyond int64
    int64_t[::1] row_starts,     # OUT: (n + 1,), the `indptr` of a CSR matrix
):
    """Stores the features as CSR, all of a dense record: its zeros are known, not missing.

    Returns (index of the first faulty record or n, fault, offending key, whether keys strictly increase in each row).
    """
    cdef Py_ssize_t n = records.shape[0]
    cdef Py_ssize_t i, j
    cdef int64_t first = 0
    cdef int64_t count
    cdef int64_t key = 0
    cdef int fault = FINE
    cdef bint increasing = True
    cdef Cursor entry, name
    cdef Tensor t
    row_starts[0] = 0
    with nogil:
        for i in range(n):
            entry.at, entry.end = &data[0] + records[i].begin, &data[0] + records[i].end
            t.to_values, t.room_values = &values[0] + first, records[i].values
            t.to_keys, t.room_keys = &keys[0] + first, records[i].keys
            if not read_entry(entry, &name, &t):
                fault = MALFORMED
                break
            count = records[i].values
            if not records[i].sparse:
                for j in range(count):
                    t.to_keys[j] = j
            for j in range(count):
                key = t.to_keys[j]
                increasing &= j == 0 or t.to_keys[j - 1] < key
                if not 0 <= key < records[i].width:
                    fault = KEY
                    break
            if fault != FINE:
                break
            first += count
            row_starts[i + 1] = first
        else:
            i = n
    return i, fault, key, increasing
