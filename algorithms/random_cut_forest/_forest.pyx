"""How deep queries would lie in random cut trees, and which features are the cause.

NumPy cannot walk trees. A tree's nodes are in depth-first order, so the left child of a node is the next node.
With one thread nothing enters OpenMP, which does not survive the fork of a server.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport fabsf, log2, log2f
from libc.stdint cimport int32_t

from algorithms.random_cut_forest._visit cimport LARGE, Travellers, visit

cdef enum:
    LEAF = -1  # the feature of a node without a cut


cdef struct Tree:
    const float *points  # (n, d) in the order of the leaves
    const int32_t *feature  # of each node's cut, or LEAF
    const float *value  # of the cut; what is not above it goes left
    const int32_t *mass  # number of points at or below a node
    const int32_t *link  # the right child; of a leaf its first point
    const Py_ssize_t *box  # where a node with a cut has its box, among those of all trees
    const float *boxes  # (2, 8 vectors) each, lowest and highest values
    const double *sides  # the sum of each box's sides
    Py_ssize_t d, vectors


cdef struct Scratch:
    float *x  # (block, 8 vectors) rows, zeros behind the features
    Travellers here, spare  # (block + 8,)
    int32_t *stack  # (n, 4) right children still to come to: node, depth, begin and number of their travellers


def score(
    const float[:, :, ::1] points,  # IN: (T, n, d), for this and the next eight see Tree; N nodes, C of them with a cut
    const Py_ssize_t[::1] starts,  # IN: (T,) the first node of each tree
    const int32_t[::1] feature,  # IN: (N,)
    const float[::1] value,  # IN: (N,)
    const int32_t[::1] mass,  # IN: (N,)
    const int32_t[::1] link,  # IN: (N,)
    const Py_ssize_t[::1] box,  # IN: (N,)
    const float[:, :, ::1] boxes,  # IN: (C, 2, 8 vectors)
    const double[::1] sides,  # IN: (C,)
    const float[:, ::1] X,  # IN: (m, d)
    double[::1] scores,  # OUT: (m,) expected inverse depth, summed over the trees
    float[:, ::1] shares,  # OUT: (m, d) each feature's part of it, or (0, d)
    Py_ssize_t block,  # IN: number of rows that are in the cache together
    bint large,  # IN: whether a point has values above LARGE
    float[:, ::1] floats,  # SCRATCH: (threads, block 8 vectors + 4 (block + 8)) zeros
    int32_t[:, ::1] integers,  # SCRATCH: (threads, 3 (block + 8) + 4 n)
    double[:, ::1] sums,  # SCRATCH: (threads, d)
    int threads,
):
    """Blocks of rows go through tree after tree, so that a tree's boxes and a block's rows stay in the cache."""
    cdef Py_ssize_t m = X.shape[0], blocks = (m + block - 1) // block, b
    cdef Tree first
    first.points, first.feature, first.value, first.mass = &points[0, 0, 0], &feature[0], &value[0], &mass[0]
    first.link, first.box, first.boxes, first.sides = &link[0], &box[0], &boxes[0, 0, 0], &sides[0]
    first.d, first.vectors = X.shape[1], boxes.shape[2] // 8
    if threads == 1:
        with nogil:
            for b in range(blocks):
                score_block(
                    &first, points.shape[0], points.shape[1], &starts[0], &X[b * block, 0], min(block, m - b * block),
                    &scores[b * block], &shares[b * block, 0] if shares.shape[0] else NULL, block, large,
                    &floats[0, 0], &integers[0, 0], &sums[0, 0],
                )
    else:
        for b in prange(blocks, nogil=True, num_threads=threads, schedule="dynamic"):
            score_block(
                &first, points.shape[0], points.shape[1], &starts[0], &X[b * block, 0], min(block, m - b * block),
                &scores[b * block], &shares[b * block, 0] if shares.shape[0] else NULL, block, large,
                &floats[threadid(), 0], &integers[threadid(), 0], &sums[threadid(), 0],
            )


cdef void score_block(
    const Tree *first, Py_ssize_t trees, Py_ssize_t n, const Py_ssize_t *starts, const float *X, Py_ssize_t m,
    double *scores, float *shares, Py_ssize_t block, bint large, float *floats, int32_t *integers, double *sums,
) noexcept nogil:
    cdef Py_ssize_t d = first.d, width = 8 * first.vectors, kept = 0, i, j, t
    cdef Scratch own
    cdef Tree tree
    cdef int32_t *rows
    own.x = floats
    own.here.weight = floats + block * width
    own.here.score = own.here.weight + block + 8
    own.spare.weight = own.here.score + block + 8
    own.spare.score = own.spare.weight + block + 8
    own.here.row, own.spare.row = integers, integers + block + 8
    rows = own.spare.row + block + 8
    own.stack = rows + block + 8
    for i in range(m):
        scores[i] = 0
        if shares != NULL or large or not load(X + i * d, own.x + i * width, d):
            for j in range(d):
                sums[j] = 0
            for t in range(trees):
                tree = tree_of(first, t, n, starts[t])
                scores[i] += walk(&tree, X + i * d, sums if shares != NULL else NULL, own.stack)
            if shares != NULL:
                for j in range(d):
                    shares[i * d + j] = <float>sums[j]
        else:
            rows[kept] = <int32_t>i
            kept += 1
    for t in range(trees if kept else 0):
        tree = tree_of(first, t, n, starts[t])
        for i in range(kept):
            own.here.row[i], own.here.weight[i], own.here.score[i] = rows[i], 1, 0
        score_tree(&tree, kept, &own, scores)


cdef inline Tree tree_of(const Tree *first, Py_ssize_t t, Py_ssize_t n, Py_ssize_t start) noexcept nogil:
    cdef Tree tree = first[0]
    tree.points += t * n * tree.d
    tree.feature += start
    tree.value += start
    tree.mass += start
    tree.link += start
    tree.box += start
    return tree


cdef bint load(const float *x, float *to, Py_ssize_t d) noexcept nogil:
    """Whether all values are small enough for the fast way."""
    cdef Py_ssize_t j
    cdef float most = 0
    for j in range(d):
        to[j] = x[j]
        most = max(most, fabsf(x[j]))
    return most <= LARGE


cdef void score_tree(const Tree *tree, Py_ssize_t count, Scratch *own, double *totals) noexcept nogil:
    cdef Py_ssize_t node = 0, depth = 0, right = 0
    cdef int32_t *stack = own.stack
    cdef Travellers here = own.here
    while True:
        if tree.feature[node] == LEAF:
            score_leaf(tree, node, depth, here, count, own.x, totals)
            count = 0
        else:
            count = visit(
                here, count, own.spare, own.x, tree.vectors, tree.boxes + tree.box[node] * 16 * tree.vectors,
                <float>tree.sides[tree.box[node]], 1 / <float>(depth + 1), tree.feature[node], tree.value[node],
                totals, right,
            )
            depth += 1
            if right:
                stack[0], stack[1] = tree.link[node], <int32_t>depth
                stack[2], stack[3] = <int32_t>(here.row - own.here.row + count), <int32_t>right
                stack += 4
            node += 1
        if count == 0:
            if stack == own.stack:
                return
            stack -= 4
            node, depth, count = stack[0], stack[1], stack[3]
            here.row = own.here.row + stack[2]
            here.weight = own.here.weight + stack[2]
            here.score = own.here.score + stack[2]


cdef void score_leaf(
    const Tree *tree, Py_ssize_t node, Py_ssize_t depth, const Travellers &here, Py_ssize_t count, const float *x,
    double *totals,
) noexcept nogil:
    cdef const float *point = tree.points + tree.link[node] * tree.d
    cdef const float *at
    cdef Py_ssize_t i, j
    cdef float apart = 1 / <float>(depth + 1), equal = 1 / (<float>depth + log2f(tree.mass[node]))
    for i in range(count):
        at = x + here.row[i] * 8 * tree.vectors
        j = 0
        while j < tree.d and at[j] == point[j]:
            j += 1
        totals[here.row[i]] += here.score[i] + here.weight[i] * (equal if j == tree.d else apart)


cdef double walk(const Tree *tree, const float *x, double *shares, int32_t *path) noexcept nogil:
    """The slow way of one row, in float64, and each feature's part if that is asked for."""
    cdef Py_ssize_t node = 0, depth = 0, width = 8 * tree.vectors, i
    cdef double weight = 1, total = 0, growth, off
    cdef const float *lo
    while tree.feature[node] != LEAF:
        lo = tree.boxes + tree.box[node] * 2 * width
        growth = beyond(x, lo, lo + width, tree.d)
        off = weight * (growth / (tree.sides[tree.box[node]] + growth))
        if growth > 0 and shares != NULL:
            share(x, lo, lo + width, tree.d, off / (depth + 1) / growth, shares)
        total += off / (depth + 1)
        weight -= off
        path[depth] = tree.feature[node]
        depth += 1
        node = node + 1 if x[tree.feature[node]] <= tree.value[node] else tree.link[node]
    lo = tree.points + tree.link[node] * tree.d
    growth = beyond(x, lo, lo, tree.d)
    off = weight / (depth + 1 if growth > 0 else depth + log2(tree.mass[node]))
    if shares != NULL:
        if growth > 0:
            share(x, lo, lo, tree.d, off / growth, shares)
        else:
            for i in range(depth):
                shares[path[i]] += off / depth
            for i in range(tree.d if depth == 0 else 0):
                shares[i] += off / tree.d
    return total + off


cdef double beyond(const float *x, const float *lo, const float *hi, Py_ssize_t d) noexcept nogil:
    """How far x lies outside a box."""
    cdef Py_ssize_t j
    cdef double total = 0
    for j in range(d):
        total += excess(x[j], lo[j], hi[j])
    return total


cdef void share(
    const float *x, const float *lo, const float *hi, Py_ssize_t d, double part, double *shares
) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(d):
        shares[j] += excess(x[j], lo[j], hi[j]) * part


cdef inline double excess(double x, double lo, double hi) noexcept nogil:
    return lo - x if x < lo else x - hi if x > hi else 0
