"""The order of what a server lists in pages: each entry is behind the one before, and the list ends.

Owns how much a list may have. A server that repeats a page, promises more after an empty page, or lists without an end,
must not keep a client busy.
"""

from collections.abc import Iterable
from typing import Final

from logferry.errors import ProtocolError

# A source of a terabyte has 250,000 extents; a million take a quarter of a gigabyte.
MAX_LISTED: Final = 1_000_000


class Pages:
    """What was listed so far of one list of ranges, or of ids."""

    def __init__(self, what: str) -> None:
        """`what` names the entries, for messages."""
        self._what = what
        self._listed = 0
        self.after = 0  # no range may begin before this offset
        self.after_id = ""  # every id must be greater

    def take_ranges(self, ranges: Iterable[tuple[int, int]], *, has_more: bool) -> bool:
        """Note the ranges of a page, each with its start and its end; return `has_more`. Raises ProtocolError."""
        listed = self._listed
        for start, end in ranges:
            if not self.after <= start < end:
                raise ProtocolError(f"the server lists {self._what} out of order: {start} to {end} after {self.after}")
            self.after = end
            self._listed += 1
        return self._has_more(listed, has_more)

    def take_ids(self, ids: Iterable[str], *, has_more: bool) -> bool:
        """Note the ids of a page; return `has_more`. Raises ProtocolError."""
        listed = self._listed
        for each in ids:
            if each <= self.after_id:
                raise ProtocolError(f"the server lists {self._what} out of order")
            self.after_id = each
            self._listed += 1
        return self._has_more(listed, has_more)

    def _has_more(self, listed_before: int, has_more: bool) -> bool:
        if has_more and self._listed == listed_before:
            raise ProtocolError(f"the server has sent a page without {self._what} that promises more of them")
        if self._listed > MAX_LISTED:
            raise ProtocolError(f"the server lists more than {MAX_LISTED} {self._what}")
        return has_more
