"""What the tests of GPUs share."""

from tests.gpu.forwarded import compiled, cupy, forwarding

__all__ = ["compiled", "cupy", "forwarding"]
