"""A CuPy that forwards to NumPy, so that the code for a GPU runs, and its mistakes show, on machines that have none.

Its arrays are as strict as CuPy's: they do not mix with those of NumPy, and become such only through `asnumpy`. What
would make the host wait for a device is counted in `waits`. Nothing is learned from it about speed, about streams, or
about what real CuPy lacks: tests/gpu runs on a device for that.
"""

import os
from types import SimpleNamespace

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

WAITING = {"argwhere", "dump", "dumps", "flatnonzero", "item", "nonzero", "tobytes", "tolist", "unique"}
waits = 0
copies = []  # what was copied to the device ahead of computing, and over which stream: (number of values, stream)


class Ndarray(NDArrayOperatorsMixin):
    """An array on the device."""

    def __init__(self, host):
        self._host = host

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if out is not None:
            options["out"] = tuple(each._host for each in out)
        result = getattr(ufunc, method)(*map(_host_of, inputs), **options)
        return out[0] if out is not None else _placed(result)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __getitem__(self, key):
        if isinstance(key, Ndarray) and key.dtype == bool:
            _wait()  # for the number of true ones
        return _placed(self._host[_host_of(key)])

    def __setitem__(self, key, value):
        self._host[_host_of(key)] = _host_of(value)

    def __len__(self):
        return len(self._host)

    def __float__(self):
        return _wait(float(self._host))

    def __int__(self):
        return _wait(int(self._host))

    def __bool__(self):
        return _wait(bool(self._host))

    def __index__(self):
        return _wait(self._host.__index__())

    def __iter__(self):
        return map(_placed, self._host)

    def set(self, array, stream=None):
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        copies.append((array.size, stream))
        self._host[...] = array

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._host, name)
        if isinstance(found, np.ndarray):
            return Ndarray(found)
        return _forwarding(found, name in WAITING) if callable(found) else found


def _wait(result=None):
    global waits
    waits += 1
    return result


def _host_of(value):
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, Ndarray):
        return value._host
    return type(value)(map(_host_of, value)) if isinstance(value, list | tuple) else value


def _placed(value):
    if isinstance(value, tuple):
        return tuple(map(_placed, value))
    return Ndarray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def _forwarding(function, waits=False):
    def forwarded(*arguments, **options):
        if waits:
            _wait()
        options = {name: _host_of(value) for name, value in options.items()}
        return _placed(function(*map(_host_of, arguments), **options))

    return forwarded


def __getattr__(name):
    if name.startswith("_") or name == "ElementwiseKernel":
        raise AttributeError(name)
    found = getattr(np, name)
    return found if isinstance(found, type | float) or not callable(found) else _forwarding(found, name in WAITING)


def asarray(array):
    return array if isinstance(array, Ndarray) else Ndarray(np.array(array))


def asnumpy(array):
    return _wait(array._host.copy())


def get_default_memory_pool():
    return SimpleNamespace(free_bytes=lambda: 0)


class _Event:
    def __init__(self, disable_timing=False):
        self.stream = None

    def record(self, stream):
        self.stream = stream

    def synchronize(self):
        pass


class _Stream:
    def __init__(self, non_blocking=False):
        self.awaited = []

    def wait_event(self, event):
        self.awaited.append(event)

    def synchronize(self):
        pass


_current = _Stream()
linalg = SimpleNamespace(eigh=_forwarding(np.linalg.eigh))
cuda = SimpleNamespace(
    Event=_Event,
    Stream=_Stream,
    alloc_pinned_memory=bytearray,
    get_current_stream=lambda: _current,
    runtime=SimpleNamespace(
        getDeviceCount=lambda: int(os.environ.get("FORWARDED_GPUS", "1")),
        getDeviceProperties=lambda number: {"name": b"NumPy in disguise"},
        memGetInfo=lambda: (int(os.environ.get("FORWARDED_MEMORY", 2**33)), 2**34),
    ),
)
