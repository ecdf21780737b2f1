"""What the slow readers of CSV and LibSVM, the scanners' twins, have in common; and a slow stream."""

import io
import re
from typing import Any

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
TRUTH = {b"True": 1.0, b"true": 1.0, b"TRUE": 1.0, b"False": 0.0, b"false": 0.0, b"FALSE": 0.0}


class Trickle(io.RawIOBase):
    """A stream that gives one to three bytes at a time, as a slow pipe may."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        self.count += 1
        size = min(1 + self.count % 3, len(target), len(self.body))
        target[:size], self.body = self.body[:size], self.body[size:]
        return size
