"""The ledger as one object: its tables, each with its own module, through one connection."""

from logferry.server.storage.disk.ledger.damage import DamageRows
from logferry.server.storage.disk.ledger.extents import ExtentRows
from logferry.server.storage.disk.ledger.history import HistoryRows
from logferry.server.storage.disk.ledger.logs import LogRows
from logferry.server.storage.disk.ledger.losses import LossRows
from logferry.server.storage.disk.ledger.members import MemberRows
from logferry.server.storage.disk.ledger.overview import OverviewRows
from logferry.server.storage.disk.ledger.segments import SegmentRows
from logferry.server.storage.disk.ledger.sources import SourceRows
from logferry.server.storage.disk.ledger.starts import StartRows
from logferry.server.storage.disk.ledger.times import TimeRows
from logferry.server.storage.disk.ledger.unsynced import UnsyncedRows


class Ledger(
    SourceRows,
    ExtentRows,
    LossRows,
    SegmentRows,
    LogRows,
    MemberRows,
    TimeRows,
    DamageRows,
    UnsyncedRows,
    StartRows,
    OverviewRows,
    HistoryRows,
):
    """An open ledger, used by one thread at a time.

    The writer thread has the ledger object that records groups. The deferred sync thread has its own, which only
    deletes rows from `unsynced`, and the registry of damage has one, which only writes `damage` and `checks`. All
    others are read-only. SQLite serialises the writes.
    """
