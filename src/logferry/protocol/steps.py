"""How much a server does for one client before it gives the event loop back: the bounds of a step, and their reasons.

Every message that costs more than a step is judged in several of them; between two steps the server reads, stores and
answers for other clients. Owns the constants and the account of one step. Counts work, never time: what a step costs
must not depend on how busy the machine is.
"""

from typing import Final

from logferry import speedups

_IS_FAST: Final = speedups.compiled is not None

# Bytes that patterns recognise. The compiled part takes a millisecond for a mebibyte, Python's `re` two for a quarter;
# a client's usual batch is one step.
STEP_BYTES: Final = (1024 if _IS_FAST else 256) * 1024

# Lines that no pattern recognises: each is refused, or parsed by itself, in about 10 microseconds.
STEP_LINES: Final = 100

# Control lines, batches with their headers, and frames: each is parsed and submitted, or refused, in about 10
# microseconds, however few bytes it has.
STEP_REQUESTS: Final = 200

# Lines longer than this that no pattern recognises are not parsed but scanned (long_lines.py): `json` cannot stop in
# between.
LONG_LINE_BYTES: Final = 8 * 1024

# Work of other kinds is charged as more bytes, by what a step has room for in a few milliseconds: what `json` parses
# (some lines make an object of every two bytes), what is scanned, and what is inflated.
PARSED_WEIGHT: Final = STEP_BYTES // (16 * 1024)
SCANNED_WEIGHT: Final = STEP_BYTES // ((256 if _IS_FAST else 4) * 1024)
INFLATED_WEIGHT: Final = STEP_BYTES // (256 * 1024)

# What is judged as it arrives, however much was done for others: a few lines, a small part of a step. But a frame
# of this size may inflate to as much as a step takes, and lines of two bytes each are refused one by one.
SMALL_BYTES: Final = 1024
SMALL_LINES: Final = 8

# A checksum takes a small part of the time.
BYTES_SUMMED_AS_ONE: Final = 8

# What is parsed of each control line, but for the longest ones, belongs to the cost of a request.
USUAL_CONTROL_BYTES: Final = 512


def is_small(data: bytes) -> bool:
    """Whether judging bytes that begin a message takes a small part of a step at most."""
    return len(data) <= SMALL_BYTES and data.startswith(b"{") and data.count(b"\n") <= SMALL_LINES


class Allowance:
    """What is left of one step. Each step has its own; what works charges it, and stops once it `is_used_up`."""

    __slots__ = ("bytes", "lines", "requests")

    def __init__(self) -> None:
        self.bytes = STEP_BYTES
        self.lines = STEP_LINES
        self.requests = STEP_REQUESTS

    @property
    def used(self) -> float:
        """How much of the step is used; more than 1 if the last piece of work was larger than what was left."""
        return max(1 - self.bytes / STEP_BYTES, 1 - self.lines / STEP_LINES, 1 - self.requests / STEP_REQUESTS)

    @property
    def is_used_up(self) -> bool:
        """Whether the rest of the work must wait for the next step."""
        return self.bytes <= 0 or self.lines <= 0 or self.requests <= 0
