"""Whose fault it is when a job fails: the exit code and the failure file's first word follow from it.

Anything that is neither of these two is ours: exit code 1, `AlgorithmError: `.
"""

from __future__ import annotations


class UserError(Exception):
    """The customer's data or settings are wrong: training ends with 2 and `ClientError: `, a request with HTTP 4xx."""

    exit_code = 2
    prefix = "ClientError: "


class PlatformError(Exception):
    """The machine failed us (disk full, a host lost): training ends with 3 and `PlatformError: `."""

    exit_code = 3
    prefix = "PlatformError: "
