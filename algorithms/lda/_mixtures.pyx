"""The topic mixture of a document that makes its words most likely, by Newton's method on the topics that take part.

NumPy would do some ten steps on matrices of a hundred numbers a document; calling it takes longer than they do.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport log, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

cdef enum:
    LANES = 8  # words are padded to a multiple of it
    EM_STEPS = 4  # cheap steps from the uniform mixture, before Newton's
    MAX_STEPS = 500
    MAX_HALVINGS = 60

cdef double RIDGE = 1e-10  # of the mean curvature: topics that a document's words cannot tell apart are singular
cdef double ARMIJO = 1e-4
cdef double SHRUNK = 0.3  # of its first share
cdef double TINY = 1e-4  # a share that may be one on its way to 0


cdef struct Room:  # what the work on one document takes
    double *D  # (k, m) probabilities of the document's words in each topic, over the greatest of a word
    double *c  # (m,) share of each word in the document
    double *s  # (m,) probabilities of the words in the mixture
    double *s_z  # (m,) the same of the mixture that Newton's model proposes
    double *r  # (m,)
    double *x  # (k,) the mixture
    double *g  # (k,) what a topic would gain: 1 at the optimum where x > 0, at most 1 elsewhere
    double *z  # (k,) the proposal
    double *y  # (k,)
    double *H  # (k, k) of the chosen topics
    double *L  # (k, k) its Cholesky factor for the passive ones
    Py_ssize_t *chosen  # (k,) topics that take part in a step
    Py_ssize_t *passive  # (k,) of those, the places that are not held at 0


def maximise(
    const int64_t[::1] starts,  # IN: (n + 1,) where each document starts in columns and counts
    const int32_t[::1] columns,  # IN: words, all < V
    const float[::1] counts,  # IN: >= 0 and finite
    const float[:, ::1] words,  # IN: (V, k) the transposed beta, >= 0 and finite
    const float[::1] prior,  # IN: (k,) the answer for documents without words
    double tolerance,
    int threads,
    float[:, ::1] answers,  # OUT: (n, k)
    double[::1] gaps,  # OUT: (n,) how far each is from the optimum at most, in log likelihood a word
):
    cdef Py_ssize_t n = starts.shape[0] - 1, k = words.shape[1], longest = 0, i
    cdef Room *rooms
    cdef int made = 0, t
    for i in range(n):
        longest = max(longest, <Py_ssize_t>(starts[i + 1] - starts[i]))
    longest = (longest + LANES - 1) // LANES * LANES
    threads = max(1, threads)
    rooms = <Room *>malloc(threads * sizeof(Room))
    if rooms == NULL:
        raise MemoryError
    try:
        while made < threads:
            if not furnish(&rooms[made], longest, k):
                raise MemoryError
            made += 1
        if threads == 1:  # without a parallel region
            with nogil:
                for i in range(n):
                    gaps[i] = answer(&rooms[0], starts, columns, counts, words, prior, tolerance, i, answers)
        else:
            for i in prange(n, nogil=True, schedule="dynamic", chunksize=16, num_threads=threads):
                gaps[i] = answer(&rooms[threadid()], starts, columns, counts, words, prior, tolerance, i, answers)
    finally:
        for t in range(made):
            free(rooms[t].D)
            free(rooms[t].chosen)
        free(rooms)


cdef bint furnish(Room *o, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    o.D = <double *>malloc((k * m + 4 * m + 4 * k + 2 * k * k) * sizeof(double))
    o.chosen = <Py_ssize_t *>malloc(2 * k * sizeof(Py_ssize_t))
    if o.D == NULL or o.chosen == NULL:
        free(o.D)
        free(o.chosen)
        return False
    o.c, o.s, o.s_z, o.r = o.D + k * m, o.D + (k + 1) * m, o.D + (k + 2) * m, o.D + (k + 3) * m
    o.x = o.D + (k + 4) * m
    o.g, o.z, o.y, o.H = o.x + k, o.x + 2 * k, o.x + 3 * k, o.x + 4 * k
    o.L = o.H + k * k
    o.passive = o.chosen + k
    return True


cdef double answer(
    Room *o, const int64_t[::1] starts, const int32_t[::1] columns, const float[::1] counts,
    const float[:, ::1] words, const float[::1] prior, double tolerance, Py_ssize_t i, float[:, ::1] answers,
) noexcept nogil:
    """One document; returns its gap."""
    cdef Py_ssize_t k = words.shape[1], j, m
    cdef double gap = 0
    m = gather(o, starts[i], starts[i + 1], columns, counts, words)
    if m == 0:
        for j in range(k):
            answers[i, j] = prior[j]
        return 0
    gap = optimise(o, m, k, tolerance)
    for j in range(k):
        answers[i, j] = <float>o.x[j]
    return gap


cdef Py_ssize_t gather(
    Room *o, Py_ssize_t start, Py_ssize_t stop, const int32_t[::1] columns, const float[::1] counts,
    const float[:, ::1] words,
) noexcept nogil:
    """Fills D and c; returns the padded number of words, without those that do not occur or that no topic has.

    A word's probabilities are divided by their greatest: the optimum is the same, and nothing underflows.
    """
    cdef Py_ssize_t k = words.shape[1], most = (stop - start + LANES - 1) // LANES * LANES, e, j, m = 0
    cdef double greatest, total = 0
    for e in range(start, stop):
        greatest = 0
        for j in range(k):
            greatest = max(greatest, <double>words[columns[e], j])
        if greatest == 0 or counts[e] == 0:
            continue
        for j in range(k):
            o.D[j * most + m] = words[columns[e], j] / greatest
        o.c[m] = counts[e]
        total += counts[e]
        m += 1
    if m == 0:
        return 0
    for e in range(m):
        o.c[e] /= total
    while m % LANES:
        o.c[m] = 0
        for j in range(k):
            o.D[j * most + m] = 1
        m += 1
    for j in range(1, k):  # close the gaps that words left out have made
        for e in range(m if m < most else 0):
            o.D[j * m + e] = o.D[j * most + e]
    return m


cdef double optimise(Room *o, Py_ssize_t m, Py_ssize_t k, double tolerance) noexcept nogil:
    """Maximises sum_w c_w log(s_w) - sum_k x_k over x >= 0, whose optimum lies on the simplex; x is left there.

    Sequential quadratic programming: Kim, Carbonetto, Stephens and Anitescu, JCGS 29 (2020), section 3.
    Returns the greatest g less 1, which is at least what is lost in log likelihood a word.
    """
    cdef Py_ssize_t step, j, w, chosen, best
    cdef double gap = 0, slope
    for j in range(k):
        o.x[j] = 1.0 / k
    mix(o.s, o.x, o.D, m, k)
    for step in range(MAX_STEPS):
        for w in range(m):
            o.r[w] = o.c[w] / o.s[w]
        best = 0
        for j in range(k):
            o.g[j] = dot(o.D + j * m, o.r, m)
            if o.g[j] > o.g[best]:
                best = j
        gap = o.g[best] - 1
        if gap <= tolerance:
            return purged(o, m, k, tolerance, gap)
        if step < EM_STEPS:
            for j in range(k):
                o.x[j] *= o.g[j]
            mix(o.s, o.x, o.D, m, k)
            continue
        chosen = 0
        for j in range(k):
            # the first time all are there; those that shrank so soon are left out, and come back if they gain
            if o.g[j] > 1 or o.x[j] > (SHRUNK / k if step == EM_STEPS else 0):
                o.chosen[chosen] = j
                chosen += 1
        curvature(o, m, chosen)
        propose(o, k, chosen, step > EM_STEPS)
        slope = 0
        for j in range(k):
            slope += (o.g[j] - 1) * (o.z[j] - o.x[j])
        if slope <= 0 or not climb(o, m, k, slope):  # rounding: towards the topic that gains most, as Frank and Wolfe
            for j in range(k):
                o.z[j] = 0
            o.z[best] = 1
            if not climb(o, m, k, gap):
                break
    return gap


cdef double purged(Room *o, Py_ssize_t m, Py_ssize_t k, double tolerance, double gap) noexcept nogil:
    """Sets shares to 0 that were on their way there, if the optimum is as near then; returns the gap."""
    cdef Py_ssize_t j, w
    cdef double total = 0, found = 0
    for j in range(k):
        o.z[j] = o.x[j] if o.x[j] > TINY else 0
        total += o.z[j]
    if total == 1:
        return gap
    for j in range(k):
        o.z[j] /= total
    mix(o.s_z, o.z, o.D, m, k)
    for w in range(m):
        if o.s_z[w] <= 0:
            return gap
        o.r[w] = o.c[w] / o.s_z[w]
    for j in range(k):
        found = max(found, dot(o.D + j * m, o.r, m) - 1)
    if not found <= tolerance:
        return gap
    for j in range(k):
        o.x[j] = o.z[j]
    return found


cdef void mix(double *s, const double *x, const double *D, Py_ssize_t m, Py_ssize_t k) noexcept nogil:
    """s = x D; topics that take no part cost nothing."""
    cdef Py_ssize_t j, w
    cdef double share
    for w in range(m):
        s[w] = 0
    for j in range(k):
        share = x[j]
        if share != 0:
            for w in range(m):
                s[w] += share * D[j * m + w]


cdef inline double dot(const double *a, const double *b, Py_ssize_t m) noexcept nogil:
    """Of a multiple of LANES numbers, in as many sums, which the compiler keeps in two registers."""
    cdef double[LANES] sums
    cdef Py_ssize_t block, lane
    for lane in range(LANES):
        sums[lane] = 0
    for block in range(m // LANES):
        for lane in range(LANES):
            sums[lane] += a[LANES * block + lane] * b[LANES * block + lane]
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]))


cdef void curvature(Room *o, Py_ssize_t m, Py_ssize_t chosen) noexcept nogil:
    """H_ij = sum_w c_w D_iw D_jw / s_w^2 of the chosen topics, the lower triangle."""
    cdef Py_ssize_t i, j, w
    cdef const double *row
    for i in range(chosen):
        row = o.D + o.chosen[i] * m
        for w in range(m):
            o.s_z[w] = row[w] * o.r[w] / o.s[w]
        for j in range(i + 1):
            o.H[i * chosen + j] = dot(o.s_z, o.D + o.chosen[j] * m, m)


cdef inline double entry(const double *H, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return H[i * n + j] if i >= j else H[j * n + i]


cdef void propose(Room *o, Py_ssize_t k, Py_ssize_t n, bint warm) noexcept nogil:
    """z >= 0 that minimises z'Hz / 2 - b'z on the n chosen topics, with b = 2 g - 1 since Hx = g; 0 on the others.

    The active set method of Lawson and Hanson, begun from x or, not warm, from 0. A small multiple of |z - x|^2 is
    added, so that there is one optimum.
    """
    cdef Py_ssize_t i, j, w, p = 0, best, rounds
    cdef double ridge = 0, dual, greatest, share, ratio
    for i in range(n):
        ridge += RIDGE / n * o.H[i * n + i]
    for i in range(n):
        o.H[i * n + i] += ridge
    for j in range(k):
        o.z[j] = 0
    if warm:
        for i in range(n):
            if o.x[o.chosen[i]] > 0:
                o.z[o.chosen[i]] = o.x[o.chosen[i]]
                o.passive[p] = i
                p += 1
    for rounds in range(3 * n + 10):
        if p > 0:
            factorise(o, n, p, ridge)
            share = 1
            for i in range(p):
                j = o.chosen[o.passive[i]]
                if o.y[i] <= 0:
                    ratio = o.z[j] / (o.z[j] - o.y[i]) if o.z[j] > 0 else 0
                    share = min(share, ratio)
            best = 0  # of those that stay
            for i in range(p):
                j = o.chosen[o.passive[i]]
                dual = o.z[j] + share * (o.y[i] - o.z[j])
                if o.y[i] <= 0 and not dual > 1e-15:
                    o.z[j] = 0
                    continue
                o.z[j] = dual
                o.passive[best] = o.passive[i]
                best += 1
            if best < p:
                p = best
                continue
        best, greatest = -1, 1e-9
        for i in range(n):
            j = o.chosen[i]
            if o.z[j] > 0:
                continue
            dual = 2 * o.g[j] - 1 + ridge * o.x[j]
            for w in range(p):
                dual -= entry(o.H, n, i, o.passive[w]) * o.z[o.chosen[o.passive[w]]]
            if dual > greatest:
                best, greatest = i, dual
        if best < 0:
            return
        o.passive[p] = best
        p += 1


cdef void factorise(Room *o, Py_ssize_t n, Py_ssize_t p, double ridge) noexcept nogil:
    """y of the p passive topics, H y = b, by Cholesky factorisation."""
    cdef Py_ssize_t i, j, l
    cdef double total
    for i in range(p):
        for j in range(i + 1):
            total = entry(o.H, n, o.passive[i], o.passive[j])
            for l in range(j):
                total -= o.L[i * p + l] * o.L[j * p + l]
            if i > j:
                o.L[i * p + j] = total / o.L[j * p + j]
            else:
                o.L[i * p + i] = sqrt(max(total, 0.01 * ridge))  # rounding could make it negative
    for i in range(p):
        j = o.chosen[o.passive[i]]
        total = 2 * o.g[j] - 1 + ridge * o.x[j]
        for l in range(i):
            total -= o.L[i * p + l] * o.y[l]
        o.y[i] = total / o.L[i * p + i]
    for i in range(p - 1, -1, -1):
        total = o.y[i]
        for l in range(i + 1, p):
            total -= o.L[l * p + i] * o.y[l]
        o.y[i] = total / o.L[i * p + i]


cdef bint climb(Room *o, Py_ssize_t m, Py_ssize_t k, double slope) noexcept nogil:
    """Goes from x towards z as far as it is worth it, and scales x to the simplex; false where nothing is gained.

    slope: derivative of the objective along z - x, > 0
    """
    cdef double t = 1, gain, change = 0, total = 0
    cdef Py_ssize_t halvings, j, w
    for j in range(k):
        change += o.z[j] - o.x[j]
    mix(o.s_z, o.z, o.D, m, k)
    for halvings in range(MAX_HALVINGS):
        gain = -t * change
        for w in range(m):
            gain += o.c[w] * log(1 + t * (o.s_z[w] / o.s[w] - 1))
        if gain >= ARMIJO * t * slope:
            break
        t /= 2
    else:
        return False
    for j in range(k):
        o.x[j] = o.z[j] if t == 1 else o.x[j] + t * (o.z[j] - o.x[j])
        total += o.x[j]
    for j in range(k):
        o.x[j] /= total
    mix(o.s, o.x, o.D, m, k)
    return True
