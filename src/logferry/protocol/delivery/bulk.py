"""Opens what follows the header of a batch or a repair, in steps: inflates, sums and judges it.

Owns one body, and what it inflates to. A batch stops at its first line that cannot be stored, with one refusal. Never
does more in one call than a step (steps.py; docs/protocol.md, rules E7, E11 and E16).
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from logferry import checksum
from logferry.errors import FrameError
from logferry.model.event_times import NO_TIMES, joined
from logferry.protocol.compressor import Inflation
from logferry.protocol.lines.validation import Accept, LineJudge, Rejected, Run, count_if_usual
from logferry.protocol.messages.requests import BatchRequest, Repair, Violation
from logferry.protocol.steps import BYTES_SUMMED_AS_ONE, INFLATED_WEIGHT, Allowance


def open_usual(header: Mapping[str, Any], body: bytes, allowance: Allowance) -> BatchRequest | None:
    """Return a batch at once if nothing is special about it and a step has room for it; else it must be a `Bulk`."""
    if header["logferry"] != "batch" or header["encoding"] != "identity" or len(body) > allowance.bytes:
        return None
    allowance.bytes -= len(body)
    if checksum.crc32(body) != header["crc32"]:
        return None
    lines, times = count_if_usual(body)
    return (
        BatchRequest(**_values_of(header, BatchRequest), payload=body, times=times)
        if lines == header["lines"]
        else None
    )


class Bulk:
    """The body of one batch or repair with its header; each `step` does a part of the work."""

    def __init__(self, header: Mapping[str, Any], body: bytes, *, max_bytes: int) -> None:
        self._header = header
        self._kind: str = header["logferry"]
        self._inflation = Inflation(body, max_inflated_bytes=max_bytes) if header["encoding"] == "gzip" else None
        self._payload = b"" if self._inflation else body
        self._max_bytes = max_bytes
        self._judge: LineJudge | None = None
        self._crc32 = 0
        self._summed_to = 0
        self._lines = 0
        self._times = NO_TIMES
        self._counted_to = 0
        self._refusal: str | None = None

    @property
    def held_bytes(self) -> int:
        """How many bytes are held."""
        return self._inflation.held_bytes if self._inflation else len(self._payload)

    @property
    def is_inflating(self) -> bool:
        """Whether the next step makes the server hold more, because it inflates."""
        return self._inflation is not None

    @property
    def rest_bytes(self) -> int:
        """How many bytes more it may inflate to."""
        return self._inflation.rest_bytes if self._inflation else 0

    def open(self, allowance: Allowance) -> BatchRequest | Repair | Violation | None:
        """Do as much as the allowance allows; return the request once it is complete."""
        while not allowance.is_used_up:
            if self._inflation:
                if problem := self._inflate(self._inflation, allowance):
                    return Violation(problem)
            elif self._summed_to < len(self._payload):
                self._sum(allowance)
            elif problem := self._problem():
                return Violation(problem)
            elif self._counted_to == len(self._payload):
                return self._request()
            elif self._kind == "repair" or self._refusal:  # the store compares a repair with what it has recorded
                self._count(allowance)
            else:
                self._judge_lines(allowance)
        return None

    def _inflate(self, inflation: Inflation, allowance: Allowance) -> str | None:
        try:
            allowance.bytes -= INFLATED_WEIGHT * inflation.step(allowance.bytes // INFLATED_WEIGHT)
        except FrameError as error:
            return str(error)
        if inflation.is_done:
            self._payload, self._inflation = inflation.payload(), None
        return None

    def _sum(self, allowance: Allowance) -> None:
        """Add the next part to the checksum."""
        start, end = self._next_part(self._summed_to, allowance)
        part = self._payload if end - start == len(self._payload) else memoryview(self._payload)[start:end]
        self._crc32 = checksum.crc32(part, self._crc32)
        self._summed_to = end

    def _count(self, allowance: Allowance) -> None:
        """Count the lines of the next part, which need not be judged."""
        start, end = self._next_part(self._counted_to, allowance)
        self._lines += self._payload.count(b"\n", start, end)
        self._counted_to = end

    def _next_part(self, start: int, allowance: Allowance) -> tuple[int, int]:
        end = min(len(self._payload), start + allowance.bytes * BYTES_SUMMED_AS_ONE)
        allowance.bytes -= (end - start) // BYTES_SUMMED_AS_ONE
        return start, end

    def _judge_lines(self, allowance: Allowance) -> None:
        """Judge and count the next lines, up to the first that cannot be stored."""
        judge = self._judge
        if judge is None:
            judge = LineJudge(self._payload, accept=Accept.LEVEL_AND_MESSAGE, max_line_bytes=self._max_bytes)
            self._judge = judge
        for verdict in judge.step(allowance):
            if isinstance(verdict, Run):
                self._lines += verdict.count
                self._times = joined(self._times, verdict.times)
            else:
                self._lines += 1
                self._refusal = verdict.reason if isinstance(verdict, Rejected) else "white space around a line"
                break
        self._counted_to = judge.position

    def _problem(self) -> str | None:
        """Return what is wrong with the body as a whole."""
        if self._crc32 != self._header["crc32"]:
            return f"a {self._kind} does not match its checksum"
        if self._payload and not self._payload.endswith(b"\n"):
            return f"a {self._kind} does not end with a newline"
        return None

    def _request(self) -> BatchRequest | Repair | Violation:
        if self._lines != self._header["lines"]:
            return Violation(f"a {self._kind} does not have as many lines as it says")
        if self._kind == "repair":
            return Repair(**_values_of(self._header, Repair), payload=self._payload)
        values = _values_of(self._header, BatchRequest)
        return BatchRequest(**values, payload=self._payload, times=self._times, refusal=self._refusal)


def _values_of(header: Mapping[str, Any], kind: type[BatchRequest | Repair]) -> dict[str, Any]:
    return {field.name: header[field.name] for field in fields(kind) if field.name in header}
