"""Letting other threads of Python go on during a native scan, if it is long enough."""

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *state)

cdef enum:
    LARGE = 65536  # bytes; a request of fewer is scanned sooner than the GIL comes back from another thread


cdef inline PyThreadState *let_others(Py_ssize_t size) noexcept:
    """Gives the GIL up for a text of so many bytes; for `take_back`."""
    return PyEval_SaveThread() if size > LARGE else NULL


cdef inline void take_back(PyThreadState *state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)
