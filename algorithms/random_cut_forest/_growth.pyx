"""The growth of random cut trees, Guha et al. 2016, definition 1, and the boxes of their nodes.

NumPy cannot grow trees. A tree's nodes are in depth-first order, so the left child of a node is the next node.
With one thread nothing enters OpenMP, which does not survive the fork of a server.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, nextafterf
from libc.stdint cimport int32_t

cdef enum:
    LEAF = -1  # the feature of a node without a cut

cdef enum Fault:  # of a tree; forest.py has a sentence for each
    SOUND, NODES, MASS, FEATURE, POINTS, CUT

cdef extern from *:
    """
    typedef float *__restrict__ Floats;
    typedef const float *__restrict__ ConstFloats;
    """
    ctypedef float *Floats  # the only way to these numbers, so that the compiler may use vectors
    ctypedef const float *ConstFloats


def grow(
    const float[:, :, ::1] points,  # IN: (T, n, d)
    const double[:, :, ::1] uniform,  # IN: (T, n, 2) in [0, 1): of a tree's k-th cut the place of feature and value
    int32_t[:, ::1] order,  # OUT: (T, n) the points of the leaves, from left to right
    int32_t[:, ::1] feature,  # OUT: (T, 2 n - 1) of a node's cut, or LEAF
    float[:, ::1] value,  # OUT: (T, 2 n - 1) of the cut; points not above it lie to the left
    int32_t[:, ::1] mass,  # OUT: (T, 2 n - 1) number of points at or below a node
    int32_t[::1] nodes,  # OUT: (T,)
    float[:, ::1] boxes,  # SCRATCH: (threads, 2 d)
    int32_t[:, ::1] ends,  # SCRATCH: (threads, n)
    int threads,
):
    """Where all points of a node are equal it is a leaf."""
    cdef Py_ssize_t t, T = points.shape[0], n = points.shape[1], d = points.shape[2]
    if threads == 1:
        with nogil:
            for t in range(T):
                nodes[t] = grow_tree(
                    &points[t, 0, 0], n, d, &uniform[t, 0, 0], &order[t, 0], &feature[t, 0], &value[t, 0],
                    &mass[t, 0], &boxes[0, 0], &ends[0, 0],
                )
    else:
        for t in prange(T, nogil=True, num_threads=threads, schedule="dynamic"):
            nodes[t] = grow_tree(
                &points[t, 0, 0], n, d, &uniform[t, 0, 0], &order[t, 0], &feature[t, 0], &value[t, 0],
                &mass[t, 0], &boxes[threadid(), 0], &ends[threadid(), 0],
            )


cdef int32_t grow_tree(
    const float *points, Py_ssize_t n, Py_ssize_t d, const double *uniform, int32_t *order, int32_t *feature,
    float *value, int32_t *mass, float *lo, int32_t *ends,
) noexcept nogil:
    """Returns the number of nodes."""
    cdef Py_ssize_t begin = 0, end = n, waiting = 0, i
    cdef int32_t node = 0, f
    cdef float *hi = lo + d
    cdef double side
    for i in range(n):
        order[i] = <int32_t>i
    while True:
        side = enclose(points, d, order + begin, end - begin, lo, hi)
        mass[node] = <int32_t>(end - begin)
        if side > 0:
            f = feature_at(lo, hi, d, uniform[0] * side)
            feature[node], value[node] = f, value_at(lo[f], hi[f], uniform[1])
            uniform += 2
            ends[waiting] = <int32_t>end  # of the right child, which begins where the left one ends
            waiting += 1
            end = begin + part(points + f, d, order + begin, end - begin, value[node])
        else:
            feature[node], value[node] = LEAF, 0
            if waiting == 0:
                return node + 1
            waiting -= 1
            begin, end = end, ends[waiting]
        node += 1


cdef double enclose(
    const float *points, Py_ssize_t d, const int32_t *order, Py_ssize_t count, float *lo, float *hi
) noexcept nogil:
    """The box of the points; returns the sum of its sides, which float32 might not hold."""
    cdef Py_ssize_t i, j
    cdef double side = 0
    for j in range(d):
        lo[j] = hi[j] = points[order[0] * d + j]
    for i in range(1, count):
        widen(points + order[i] * d, d, lo, hi)
    for j in range(d):
        side += <double>hi[j] - lo[j]
    return side


cdef inline void widen(ConstFloats point, Py_ssize_t d, Floats lo, Floats hi) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(d):
        lo[j] = point[j] if point[j] < lo[j] else lo[j]
        hi[j] = point[j] if point[j] > hi[j] else hi[j]


cdef int32_t feature_at(const float *lo, const float *hi, Py_ssize_t d, double place) noexcept nogil:
    """The feature in whose side a place lies when all sides are laid end to end."""
    cdef Py_ssize_t j
    cdef int32_t found = 0
    cdef double side
    for j in range(d):
        side = <double>hi[j] - lo[j]
        if side > 0:
            found = <int32_t>j  # the last one if rounding has put the place beyond the end
            if place < side:
                break
            place -= side
    return found


cdef float value_at(float lo, float hi, double share) noexcept nogil:
    """A value that keeps lo at its left and hi at its right, even where no float32 lies between them."""
    cdef float value = <float>(lo + share * (<double>hi - lo))
    return value if value < hi else nextafterf(hi, -INFINITY)


cdef Py_ssize_t part(
    const float *column, Py_ssize_t d, int32_t *order, Py_ssize_t count, float value
) noexcept nogil:
    """Puts the points that lie to the left first; returns how many they are."""
    cdef Py_ssize_t i, left = 0
    cdef int32_t point
    for i in range(count):
        point = order[i]
        if column[point * d] <= value:
            order[i], order[left] = order[left], point
            left += 1
    return left


def enclose_nodes(
    const float[:, :, ::1] points,  # IN: (T, n, d), a tree's in the order of its leaves
    const Py_ssize_t[::1] starts,  # IN: (T + 1,) the first node of each tree; N in all
    const int32_t[::1] feature,  # IN: (N,)
    const float[::1] value,  # IN: (N,)
    const int32_t[::1] mass,  # IN: (N,)
    const Py_ssize_t[::1] box,  # IN: (N,) number of nodes with a cut up to this one, less 1
    int32_t[::1] link,  # OUT: (N,) the right child, counted from the first node of its tree; of a leaf its first point
    float[:, :, ::1] boxes,  # OUT: (C, 2, w) of each node with a cut, lowest and highest values; w - d are left as is
    double[::1] sides,  # OUT: (C,) the sum of a box's sides
    int32_t[::1] height,  # OUT: (N,) number of nodes on the longest way down
    int32_t[:, ::1] stacks,  # SCRATCH: (threads, 2 n)
    int32_t[::1] faults,  # OUT: (T,) a Fault of each tree; trees may come from a damaged file
    int threads,
):
    """Boxes of all nodes, from the leaves up, and everything else that a file does not hold."""
    cdef Py_ssize_t t, T = points.shape[0], n = points.shape[1], d = points.shape[2], at
    if threads == 1:
        with nogil:
            for t in range(T):
                at = starts[t]
                faults[t] = enclose_tree(
                    &points[t, 0, 0], n, d, starts[t + 1] - at, &feature[at], &value[at], &mass[at], &box[at],
                    &link[at], &boxes[0, 0, 0], boxes.shape[2], &sides[0], &height[at], &stacks[0, 0],
                )
    else:
        for t in prange(T, nogil=True, num_threads=threads, schedule="dynamic"):
            at = starts[t]
            faults[t] = enclose_tree(
                &points[t, 0, 0], n, d, starts[t + 1] - at, &feature[at], &value[at], &mass[at], &box[at],
                &link[at], &boxes[0, 0, 0], boxes.shape[2], &sides[0], &height[at], &stacks[threadid(), 0],
            )


cdef Fault enclose_tree(
    const float *points, Py_ssize_t n, Py_ssize_t d, Py_ssize_t nodes, const int32_t *feature, const float *value,
    const int32_t *mass, const Py_ssize_t *box, int32_t *link, float *boxes, Py_ssize_t width, double *sides,
    int32_t *height, int32_t *stack,
) noexcept nogil:
    """From the last node to the first: where a node is come to, its children lie on top of the stack."""
    cdef Py_ssize_t first = n, node, left, right, depth = 0, f, i
    cdef const float *low[2]
    cdef const float *high[2]
    cdef float *own
    for node in range(nodes - 1, -1, -1):
        f = feature[node]
        if f == LEAF:
            if not 1 <= mass[node] <= first:
                return MASS
            first -= mass[node]
            if not equal(points + first * d, d, mass[node]):
                return POINTS
            link[node], height[node] = <int32_t>first, 1
        else:
            if not 0 <= f < d:
                return FEATURE
            if depth < 2:
                return NODES
            depth -= 2
            left, right = stack[depth + 1], stack[depth]
            if <Py_ssize_t>mass[left] + mass[right] != mass[node]:
                return MASS
            link[node], height[node] = <int32_t>right, 1 + max(height[left], height[right])
            for i in range(2):
                own = boxes + box[stack[depth + i]] * 2 * width
                low[i] = points + link[stack[depth + i]] * d if feature[stack[depth + i]] == LEAF else own
                high[i] = low[i] if feature[stack[depth + i]] == LEAF else own + width
            if not high[1][f] <= value[node] < low[0][f]:
                return CUT
            own = boxes + box[node] * 2 * width
            sides[box[node]] = unite(low[0], low[1], high[0], high[1], d, own, own + width)
        stack[depth] = <int32_t>node
        depth += 1
    return SOUND if depth == 1 and first == 0 else NODES


cdef bint equal(const float *points, Py_ssize_t d, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(d, count * d):
        if points[i] != points[i - d]:
            return False
    return True


cdef double unite(
    ConstFloats low, ConstFloats other_low, ConstFloats high, ConstFloats other_high, Py_ssize_t d, Floats lo, Floats hi
) noexcept nogil:
    """The box around two boxes; returns the sum of its sides."""
    cdef Py_ssize_t j
    cdef double side = 0
    for j in range(d):
        lo[j] = other_low[j] if other_low[j] < low[j] else low[j]
        hi[j] = other_high[j] if other_high[j] > high[j] else high[j]
    for j in range(d):
        side += <double>hi[j] - lo[j]
    return side
