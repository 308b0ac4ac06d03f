"""The ledger as one object: its tables, each with its own module, through one connection."""

from logferry.server.storage.disk.ledger.queries.accounts import AccountRows
from logferry.server.storage.disk.ledger.queries.log_ends import LogEndRows
from logferry.server.storage.disk.ledger.queries.overview import OverviewRows
from logferry.server.storage.disk.ledger.tables.damage import DamageRows
from logferry.server.storage.disk.ledger.tables.extents import ExtentRows
from logferry.server.storage.disk.ledger.tables.logs import LogRows
from logferry.server.storage.disk.ledger.tables.losses import LossRows
from logferry.server.storage.disk.ledger.tables.members import MemberRows
from logferry.server.storage.disk.ledger.tables.segments import SegmentRows
from logferry.server.storage.disk.ledger.tables.sources import SourceRows
from logferry.server.storage.disk.ledger.tables.starts import StartRows
from logferry.server.storage.disk.ledger.tables.times import TimeRows
from logferry.server.storage.disk.ledger.tables.unsynced import UnsyncedRows


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
    LogEndRows,
    AccountRows,
):
    """An open ledger, used by one thread at a time.

    The writer thread has the ledger object that records groups. The deferred sync thread has its own, which only
    deletes rows from `unsynced`, and the registry of damage has one, which only writes `damage` and `checks`. All
    others are read-only. SQLite serialises the writes.
    """
