"""A factorization machine's scores, and one step of Adam over the features that occur in a mini-batch.

NumPy would copy the factors of all entries, several times. What takes the time here is the way to memory: rows of the
(N, k) arrays are asked for well before they are used, and those of features that do not occur are not touched.

A row whose loss has the slope a at its margin w0 + sum_i w_i x_i + sum_{i<j} <v_i, v_j> x_i x_j adds a x_i to the
gradient of w_i and a x_i (S - v_i x_i) to that of v_i, where S = sum_j v_j x_j (Rendle 2010, equation 4).
"""

from cython.parallel cimport prange
from libc.math cimport exp, sqrtf
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libcpp.vector cimport vector

import numpy as np

cdef enum:
    AHEAD = 24  # entries between asking for a feature's numbers and using them
    DIGIT = 12  # bits to sort by in one pass, at most: its counters fill half of the first cache
    LINE = 4  # bits of a weight's place in its cache line, which is one thread's alone

cdef extern from *:
    """
    typedef float *__restrict__ Floats;
    typedef const float *__restrict__ ConstFloats;
    // Into the second cache, which can wait for more lines at once than the first: measured, twice as fast.
    // Always inlined: GCC takes a function that only fetches for one without effects, and drops its calls.
    __attribute__((always_inline)) static inline void fetch(const float *row, Py_ssize_t k) {
        for (Py_ssize_t i = 0; i < k; i += 16) __builtin_prefetch(row + i, 0, 2);
        if (k % 16 > 1) __builtin_prefetch(row + k - 1, 0, 2);  // the row need not begin where a cache line does
    }
    #define ask(term, feature) { \
        fetch((term).weights + (feature) * (term).c, (term).c); \
        fetch((term).mean + (feature) * (term).c, (term).c); \
        fetch((term).square + (feature) * (term).c, (term).c); \
    }
    """
    ctypedef float *Floats  # the only way to these numbers, so that the compiler may use vectors
    ctypedef const float *ConstFloats
    void fetch(const float *row, Py_ssize_t k) noexcept nogil

ctypedef fused Index:
    int32_t
    int64_t

cdef struct Keys:  # one of them, the other is NULL
    const int32_t *narrow
    const int64_t *wide

cdef struct Term:  # c numbers of each feature, and the rule by which they learn
    float *weights
    float *mean
    float *square
    Py_ssize_t c
    float scale, rate, wd, clip, epsilon, beta_1, rest_1, beta_2, rest_2

cdef struct Work:
    Keys indptr, indices
    const float *data
    Py_ssize_t n, entries, k
    double bias
    const float *linear
    const float *factors
    float *out
    float *sums  # S of each row, (n, k), or of each thread's last row where only the scores are wanted
    uint32_t *row_of  # of an entry; NULL where only the scores are wanted
    const float *slopes
    const float *gathered  # gradients (entries, 1 + k) if the entries are features of hosts, or NULL
    uint64_t *order  # feature << 32 | entry; those of thread t are starts[t] <= i < stops[t]
    uint64_t *spare
    Py_ssize_t *starts
    Py_ssize_t *stops
    int passes, digit
    bint is_sorted
    int64_t *features  # OUT, from places[t] on
    float *gradients
    Py_ssize_t *places
    Term w, v

cdef extern from *:
    void ask(Term term, Py_ssize_t feature) noexcept nogil

ctypedef void (*Task)(const Work *, int, int) noexcept nogil


cdef int divide(Task task, const Work *work, int threads) except -1:
    """The task of each thread; one thread alone must not start OpenMP, which does not survive a fork."""
    cdef int t
    if threads == 1:
        with nogil:
            task(work, 0, 1)
    else:
        for t in prange(threads, nogil=True, num_threads=threads, schedule="static"):
            task(work, t, threads)
    return 0


def margins(
    const Index[::1] indptr,  # IN: (n + 1,)
    const Index[::1] indices,  # IN: (entries,)
    const float[::1] data,  # IN: (entries,)
    double bias,  # IN
    const float[::1] linear,  # IN: (N,)
    const float[:, ::1] factors,  # IN: (N, k)
    float[::1] out,  # OUT: (n,)
    int threads,  # IN
):
    """Scores before a classifier's sigmoid. Raises IndexError for an index that is not 0 <= index < N."""
    cdef Work work = rows_of(indptr, indices, data, bias, linear, factors, out)
    cdef vector[float] sums = vector[float](work.k * threads)
    work.sums = sums.data()
    work.row_of = NULL
    divide(score, &work, threads)


def adam(
    const float[:, ::1] gradient,  # IN: (N, c)
    tuple weights,  # IN, OUT: as the terms of Step.update
):
    """Moves all of the term's weights."""
    cdef Term dense = term(weights)
    cdef Py_ssize_t i
    for i in range(gradient.shape[0]):
        adam_row(&dense, i, &gradient[i, 0])


cdef class Step:
    """What a step knows of its mini-batch, in memory that the next one uses again.

    Each feature is computed by one thread in the order of the rows: the number of threads does not change a bit.
    """

    cdef readonly int threads  # at most
    cdef int used
    cdef Work work
    cdef object held  # the arrays that `work` points to
    cdef vector[float] sums, slopes
    cdef vector[uint32_t] row_of
    cdef vector[uint64_t] order, spare
    cdef vector[Py_ssize_t] starts, stops

    def __init__(self, int threads):
        self.threads = self.used = threads
        self.starts.resize(threads + 1)
        self.stops.resize(threads)

    def forward(
        self,
        const Index[::1] indptr,  # IN: (n + 1,)
        const Index[::1] indices,  # IN: (entries,)
        const float[::1] data,  # IN: (entries,)
        const float[::1] labels,  # IN: (n,)
        bint binary,  # IN: log loss, else the square of the error
        double bias,  # IN
        const float[::1] linear,  # IN: (N,)
        const float[:, ::1] factors,  # IN: (N, k)
        float[::1] out,  # OUT: (n,) margins
        bint alone=False,  # IN: whether one thread does this step
    ):
        """Returns the sum of the slopes (n,) of the rows' losses. Raises IndexError as margins does."""
        cdef double total = 0
        cdef Py_ssize_t i
        self.used = 1 if alone else self.threads
        self.work = rows_of(indptr, indices, data, bias, linear, factors, out)
        self.held = indptr, indices, data, linear, factors, out
        self.sums.resize(self.work.n * self.work.k)
        self.slopes.resize(self.work.n)
        self.row_of.resize(self.work.entries)
        self.work.sums, self.work.row_of, self.work.slopes = self.sums.data(), self.row_of.data(), self.slopes.data()
        self.work.starts, self.work.stops = self.starts.data(), self.stops.data()
        divide(score_and_count, &self.work, self.used)
        for i in range(self.work.n):
            self.slopes[i] = <float>(1 / (1 + exp(-<double>out[i]))) - labels[i] if binary else 2 * (out[i] - labels[i])
            total += self.slopes[i]
        self.share(linear.shape[0])
        return total

    def gradients(self):
        """After forward: the features that occur (u,) int64, and the sums of their gradients (u, 1 + k), w's first."""
        cdef vector[Py_ssize_t] places = vector[Py_ssize_t](self.used + 1)
        cdef int t
        divide(pick, &self.work, self.used)
        self.work.is_sorted = True
        for t in range(self.used):
            places[t + 1] = places[t] + different(self.order.data(), self.starts[t], self.stops[t])
        features = np.empty(places[self.used], np.int64)
        gradients = np.empty((places[self.used], 1 + self.work.k), np.float32)
        cdef int64_t[::1] found = features
        cdef float[:, ::1] sums = gradients
        if places[self.used]:
            self.work.features, self.work.gradients, self.work.places = &found[0], &sums[0, 0], places.data()
            divide(write, &self.work, self.used)
        return features, gradients

    def replace(
        self,
        const int64_t[::1] features,  # IN: (u,); one that several hosts have is there several times
        const float[:, ::1] gradients,  # IN: (u, 1 + k), to be added up in this order
        Py_ssize_t most,  # IN: N
    ):
        """Takes the gradients of all hosts in place of those of the rows."""
        self.held = features, gradients
        self.work.indices, self.work.entries = keys_of(features), features.shape[0]
        self.work.data = NULL
        self.work.gathered = &gradients[0, 0] if features.shape[0] else NULL
        divide(count, &self.work, self.used)
        self.share(most)

    def update(
        self,
        tuple linear,  # IN, OUT: weights, means and squares of the gradients, each (N, 1), and the rule, see term()
        tuple factors,  # IN, OUT: the same of (N, k)
    ):
        """Moves the features that occur."""
        self.work.w, self.work.v = term(linear), term(factors)
        divide(learn if self.work.is_sorted else pick_and_learn, &self.work, self.used)
        self.work.is_sorted = True

    cdef int share(self, Py_ssize_t features) except -1:
        """Room for each thread to sort the entries that it has counted."""
        cdef int bits = 1, t
        if max(features, self.work.entries) >> 32:
            raise ValueError("features and entries of a mini-batch must be fewer than 2**32")
        while (features - 1) >> bits:
            bits += 1
        self.work.passes = (bits + DIGIT - 1) // DIGIT
        self.work.digit = (bits + self.work.passes - 1) // self.work.passes
        self.work.is_sorted = False
        for t in range(self.used):
            self.starts[t + 1] = self.starts[t] + self.stops[t] + 1  # one more, for what pick() writes and drops
            self.stops[t] = self.starts[t + 1] - 1
        self.order.resize(self.starts[self.used])
        self.spare.resize(self.starts[self.used])
        self.work.order, self.work.spare = self.order.data(), self.spare.data()
        return 0


cdef Work rows_of(
    const Index[::1] indptr, const Index[::1] indices, const float[::1] data, double bias,
    const float[::1] linear, const float[:, ::1] factors, float[::1] out,
) except *:
    cdef Work work
    cdef Py_ssize_t i
    work.n, work.k, work.bias = out.shape[0], factors.shape[1], bias
    work.indptr, work.indices = keys_of(indptr), keys_of(indices)
    work.gathered = NULL
    work.entries = indptr[work.n]
    for i in range(work.entries):
        if not 0 <= indices[i] < linear.shape[0]:
            raise IndexError(f"index must be at least 0 and less than {linear.shape[0]}, got {indices[i]}")
    work.data = &data[0] if work.entries else NULL
    work.linear, work.factors = &linear[0], &factors[0, 0]
    work.out = &out[0] if work.n else NULL
    return work


cdef Keys keys_of(const Index[::1] array) noexcept:
    cdef Keys keys
    keys.narrow = NULL
    keys.wide = NULL
    if array.shape[0]:
        if Index is int32_t:
            keys.narrow = &array[0]
        else:
            keys.wide = &array[0]
    return keys


cdef inline Py_ssize_t at(Keys keys, Py_ssize_t i) noexcept nogil:
    return keys.narrow[i] if keys.narrow != NULL else keys.wide[i]


cdef Term term(tuple state) except *:
    """scale: of the sum of the rows' gradients. rate: corrected for means that began at 0. clip: infinite if none."""
    cdef float[:, ::1] weights, mean, square
    cdef double scale, rate, wd, clip, epsilon, beta_1, beta_2
    weights, mean, square, scale, rate, wd, clip, epsilon, beta_1, beta_2 = state
    cdef Term term
    term.weights, term.mean, term.square, term.c = &weights[0, 0], &mean[0, 0], &square[0, 0], weights.shape[1]
    term.scale, term.rate, term.wd, term.clip, term.epsilon = scale, rate, wd, clip, epsilon
    term.beta_1, term.rest_1, term.beta_2, term.rest_2 = beta_1, 1 - beta_1, beta_2, 1 - beta_2
    return term


cdef void score(const Work *work, int t, int threads) noexcept nogil:
    """Scores of a share of the rows, from sum_i x_i <v_i, sum_{j<i} v_j x_j>: nothing cancels, and S is there too."""
    cdef Py_ssize_t k = work.k, i, j, f
    cdef vector[float] pairs = vector[float](k)
    cdef float *sums
    cdef double total
    for i in range(work.n * t // threads, work.n * (t + 1) // threads):
        sums = work.sums + (t if work.row_of == NULL else i) * k
        total = work.bias
        for f in range(k):
            sums[f] = pairs[f] = 0
        for j in range(at(work.indptr, i), at(work.indptr, i + 1)):
            if j + AHEAD < work.entries:
                fetch(work.factors + at(work.indices, j + AHEAD) * k, k)
                fetch(work.linear + at(work.indices, j + AHEAD), 1)
            f = at(work.indices, j)
            total += <double>work.linear[f] * work.data[j]
            interact(work.factors + f * k, work.data[j], sums, pairs.data(), k)
            if work.row_of != NULL:
                work.row_of[j] = <uint32_t>i
        for f in range(k):
            total += pairs[f]
        work.out[i] = <float>total


cdef inline void interact(ConstFloats v, float x, Floats sums, Floats pairs, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t f
    cdef float part
    for f in range(k):
        part = x * v[f]
        pairs[f] += part * sums[f]
        sums[f] += part


cdef inline bint owns(const Work *work, Py_ssize_t i, int t, int threads) noexcept nogil:
    """True for an entry of thread t that is not 0. Lines of weights are divided by Knuth's multiplicative hashing."""
    cdef uint32_t hashed = <uint32_t>(at(work.indices, i) >> LINE) * <uint32_t>2654435769
    return <int>(<uint64_t>hashed * threads >> 32) == t and (work.data == NULL or work.data[i] != 0)


cdef void count(const Work *work, int t, int threads) noexcept nogil:
    cdef Py_ssize_t found = 0, i
    for i in range(work.entries):
        found += owns(work, i, t, threads)
    work.stops[t] = found


cdef void pick(const Work *work, int t, int threads) noexcept nogil:
    """The entries of thread t, sorted: a pass for each digit, the least first (radix sort)."""
    cdef Py_ssize_t start = work.starts[t], n = work.stops[t] - start, found = 0, i, place, total
    cdef uint64_t *source = (work.spare if work.passes % 2 else work.order) + start
    cdef uint64_t *target = (work.order if work.passes % 2 else work.spare) + start
    cdef uint64_t digits = (1 << work.digit) - 1
    cdef int step, shift
    cdef vector[Py_ssize_t] places
    for i in range(work.entries):  # without a branch, which could not be foreseen
        source[found] = <uint64_t>at(work.indices, i) << 32 | <uint64_t>i
        found += owns(work, i, t, threads)
    for step in range(work.passes):
        shift = 32 + step * work.digit
        places.assign(digits + 1, 0)
        for i in range(n):
            places[source[i] >> shift & digits] += 1
        total = 0
        for i in range(<Py_ssize_t>digits + 1):
            place = places[i]
            places[i] = total
            total += place
        for i in range(n):
            place = source[i] >> shift & digits
            target[places[place]] = source[i]
            places[place] += 1
        source, target = target, source


cdef void score_and_count(const Work *work, int t, int threads) noexcept nogil:
    score(work, t, threads)  # threads wait for each other only twice a step: waiting costs more than what they share
    count(work, t, threads)


cdef void pick_and_learn(const Work *work, int t, int threads) noexcept nogil:
    pick(work, t, threads)
    learn(work, t, threads)


cdef Py_ssize_t different(const uint64_t *order, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Py_ssize_t found = 0, i
    for i in range(start, stop):
        found += i == start or order[i] >> 32 != order[i - 1] >> 32
    return found


cdef Py_ssize_t gradient(const Work *work, Py_ssize_t i, Py_ssize_t stop, float *sums) noexcept nogil:
    """The sum (1 + k,) over the entries of one feature from i on; returns where those of the next one begin."""
    cdef Py_ssize_t k = work.k, feature = work.order[i] >> 32, entry, row, f
    cdef float x, slope
    for f in range(1 + k):
        sums[f] = 0
    while i < stop and <Py_ssize_t>(work.order[i] >> 32) == feature:
        entry = <uint32_t>work.order[i]
        if work.gathered != NULL:
            add(work.gathered + entry * (1 + k), sums, 1 + k)
        else:
            row, x = work.row_of[entry], work.data[entry]
            slope = work.slopes[row] * x
            sums[0] += slope
            # alone in its row it has no partner; S - x v would be what rounding left of one, and Adam magnifies that
            if at(work.indptr, row + 1) - at(work.indptr, row) > 1:
                attract(work.factors + feature * k, work.sums + row * k, x, slope, sums + 1, k)
        i += 1
    return i


cdef inline void add(ConstFloats part, Floats sums, Py_ssize_t c) noexcept nogil:
    cdef Py_ssize_t f
    for f in range(c):
        sums[f] += part[f]


cdef inline void attract(ConstFloats v, ConstFloats S, float x, float slope, Floats sums, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t f
    for f in range(k):
        sums[f] += slope * (S[f] - x * v[f])


cdef void write(const Work *work, int t, int threads) noexcept nogil:
    cdef Py_ssize_t i = work.starts[t], place = work.places[t]
    while i < work.stops[t]:
        work.features[place] = work.order[i] >> 32
        i = gradient(work, i, work.stops[t], work.gradients + place * (1 + work.k))
        place += 1


cdef void learn(const Work *work, int t, int threads) noexcept nogil:
    cdef Py_ssize_t i = work.starts[t], stop = work.stops[t], asked = i, feature
    cdef vector[float] sums = vector[float](1 + work.k)
    while i < stop:
        while asked < min(stop, i + AHEAD):
            feature = work.order[asked] >> 32
            ask(work.w, feature)
            ask(work.v, feature)
            if work.gathered == NULL:
                fetch(work.sums + work.row_of[<uint32_t>work.order[asked]] * work.k, work.k)
            asked += 1
        feature = work.order[i] >> 32
        i = gradient(work, i, stop, sums.data())
        adam_row(&work.w, feature, sums.data())
        adam_row(&work.v, feature, sums.data() + 1)


cdef inline void adam_row(const Term *term, Py_ssize_t feature, const float *sums) noexcept nogil:
    cdef Py_ssize_t place = feature * term.c
    move(term.weights + place, term.mean + place, term.square + place, sums, term[0])


cdef inline void move(Floats w, Floats m, Floats s, ConstFloats sums, Term term) noexcept nogil:
    """Kingma and Ba 2015, section 2, after what MXNet 1.9.1 does: decay is part of the gradient, which is clipped."""
    cdef Py_ssize_t f
    cdef float slope
    for f in range(term.c):
        slope = term.scale * sums[f] + term.wd * w[f]
        slope = term.clip if slope > term.clip else slope
        slope = -term.clip if slope < -term.clip else slope
        m[f] = term.beta_1 * m[f] + term.rest_1 * slope
        s[f] = term.beta_2 * s[f] + term.rest_2 * (slope * slope)
        w[f] -= term.rate * m[f] / (sqrtf(s[f]) + term.epsilon)
