"""Lanes: which of the deliveries that wait are stored together next. Each sender has a lane, and senders take turns.

Owns what the writer thread has taken from its queue and not stored yet, and the order: that of submitting within a
lane, and round robin among lanes. A group is bounded by the work that it makes: what needs a file that is not open,
what adds rows to the ledger, and plain appends have a bound each. A sender that is over one of
them waits for the next group, and nobody else does. Used by the writer thread alone; never touches a file.
"""

import enum
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from logferry.protocol.messages.requests import BatchRequest
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.log_names import LogName


class Work(enum.Enum):
    """What storing a delivery takes, roughly; a file that must be opened first takes the most."""

    APPEND = enum.auto()
    RECORD = enum.auto()
    OPEN_FILE = enum.auto()


# Deliveries of one group, of each kind. A transaction with this many small requests takes a fraction of a second; those
# behind them wait for it, and group commit gains nothing from more.
MAX_GROUP: Final = 2000
_MOST: Final[Mapping[Work, int]] = {Work.APPEND: MAX_GROUP, Work.RECORD: 400, Work.OPEN_FILE: 16}

# The same of a sender while nobody else waits: group commit makes many new files fast.
_MOST_ALONE: Final[Mapping[Work, int]] = {Work.APPEND: MAX_GROUP, Work.RECORD: MAX_GROUP // 2, Work.OPEN_FILE: 256}

# New names of one group, of folders and of files: a log may need twenty-three folders, and a disk makes about ten
# thousand in a second.
_MOST_NAMES: Final = 256
_MOST_NAMES_ALONE: Final = 512

# This many need no order: whatever they are, they are one group.
_ANY: Final = _MOST[Work.OPEN_FILE]


class Lanes:
    """What waits, by its sender."""

    def __init__(self, *, max_logs: int, new_names: Callable[[Delivery], int]) -> None:
        """`max_logs` bounds the logs of a group; `new_names` returns how many names of folders and files a delivery may
        need at most, 0 if its file is open.
        """
        self._max_logs = max_logs
        self._new_names = new_names
        self._lanes: OrderedDict[str | int, deque[Delivery]] = OrderedDict()  # those whose turn it is, first
        self.lines = 0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def take(self, arrived: Collection[Delivery]) -> Sequence[Delivery]:
        """Add what has arrived; return the next group."""
        if not self._lanes and (len(arrived) <= min(_ANY, MAX_GROUP, self._max_logs) or self._are_appends(arrived)):
            return list(arrived)
        for delivery in arrived:
            lane = self._lanes.get(delivery.sender)
            if lane is None:
                lane = self._lanes[delivery.sender] = deque()
            lane.append(delivery)
            self.lines += delivery.lines
        group = self._next_group()
        self.lines -= sum(delivery.lines for delivery in group)
        return group

    def _are_appends(self, arrived: Collection[Delivery]) -> bool:
        """Whether these are one group of plain lines for open files: the lines of a thousand clients need no lanes."""
        if len(arrived) > MAX_GROUP:
            return False
        logs: dict[LogName, Delivery] = {}
        for delivery in arrived:
            if delivery.source_request is not None:
                return False
            if delivery.pieces:
                logs[delivery.log] = delivery
        return len(logs) <= self._max_logs and not any(map(self._new_names, logs.values()))

    def _next_group(self) -> Sequence[Delivery]:
        room = _Room(len(self._lanes), self._max_logs, self._new_names)
        before = -1
        while before < len(room.group) and not room.is_full:
            before = len(room.group)
            for sender in list(self._lanes):
                self._take_from(sender, room)
        return room.group

    def _take_from(self, sender: str | int, room: "_Room") -> None:
        """Take what there is room for; a lane from which nothing is taken keeps its place."""
        lane = self._lanes[sender]
        room.begin_lane()
        taken = 0
        while lane and room.take(lane[0]):
            lane.popleft()
            taken += 1
        if not lane:
            del self._lanes[sender]
        elif taken:
            self._lanes.move_to_end(sender)


class _Room:
    """A group that is being gathered, and what it has room for: in all, and from a lane before the next one."""

    def __init__(self, lanes: int, max_logs: int, new_names: Callable[[Delivery], int]) -> None:
        self._left = dict(_MOST if lanes > 1 else _MOST_ALONE)
        self._parts = {work: max(1, left // lanes) for work, left in self._left.items()}
        self._of_lane: dict[Work, int]
        self._max_logs = max_logs
        self._new_names = new_names
        self._names_left = _MOST_NAMES if lanes > 1 else _MOST_NAMES_ALONE
        self._keys: set[LogName | str] = set()  # the logs of this group, and the sources that its lines belong to
        self.group: list[Delivery] = []
        self.is_full = False

    def begin_lane(self) -> None:
        """Begin to take from another lane."""
        self._of_lane = dict(self._parts)

    def take(self, delivery: Delivery) -> bool:
        """Add a delivery if there is room for it."""
        if self.is_full:
            return False
        key = _place_of(delivery)
        names = 0 if key is None or key in self._keys else self._new_names(delivery)
        work = _work_of(delivery, key, names)
        if not self._of_lane[work] or not self._left[work] or names > self._names_left:
            return False
        if key and key not in self._keys:
            if len(self._keys) >= self._max_logs:
                self.is_full = True
                return False
            self._keys.add(key)
        self._of_lane[work] -= 1
        self._left[work] -= 1
        self._names_left -= names
        self.group.append(delivery)
        self.is_full = len(self.group) >= MAX_GROUP
        return True


def _work_of(delivery: Delivery, place: LogName | str | None, names: int) -> Work:
    if place is None:
        return Work.RECORD if delivery.source_request else Work.APPEND
    return Work.OPEN_FILE if names else Work.APPEND


def _place_of(delivery: Delivery) -> LogName | str | None:
    """Return the log of plain lines, or the source of a batch: only admission knows the log of a source."""
    if delivery.source_request is None:
        return delivery.log if delivery.pieces else None
    message = delivery.source_request.message
    return message.source if isinstance(message, BatchRequest) else None
