"""The ledger: what the store holds, from which source, in which segment. One SQLite file, written by the writer thread.

`tables` has a module for each table, `queries` what needs several, and `database` the file below them: file_format.py
describes it, and migrates earlier versions of it.

A group of deliveries is one transaction, committed after its segments are synced and before its acks are sent. So what
a segment holds beyond its length in the ledger was never acked, unless the ledger has lost transactions: nothing is
deleted because the ledger lacks it. A segment is recorded before its first byte is written.

After a crash the last transaction is either complete or absent: SQLite reads its log (`ledger.sqlite3-wal`) when it
opens the file again, and recovery.py then makes the segments agree. If that log is lost, the journals of the segments
have what it had (lost_transactions.py); if the ledger is lost, rebuild.py makes it anew from them. With `fsync`, a
committed transaction is on the disk (WAL, synchronous=FULL). Otherwise a power cut may undo the last transactions, but
the file stays intact (synchronous=NORMAL).
"""

from logferry.server.storage.disk.ledger.database.database import FILE_NAME, sort_in
from logferry.server.storage.disk.ledger.ledger import Ledger

__all__ = ["FILE_NAME", "Ledger", "sort_in"]
