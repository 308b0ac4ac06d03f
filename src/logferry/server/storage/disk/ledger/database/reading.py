"""Opens a ledger to read it wherever it lies: beside a running server, after a crash, on a read-only file system.

SQLite reads a ledger with a log only through a third file beside them. Where that cannot be created, ledger and log are
copied to a temporary folder: a ledger that is read without its log lacks the last transactions. Never changes a ledger.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from logferry.errors import StoreError
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger


@contextmanager
def ledger_for_reading(data_dir: Path) -> Iterator[Ledger]:
    """Open the ledger of a data folder. Raises StoreError or OSError."""
    try:
        ledger = Ledger(data_dir, durable=False, read_only=True)
    except StoreError:
        if os.access(data_dir, os.W_OK) or not (data_dir / f"{FILE_NAME}-wal").exists():
            raise
    else:
        with closing(ledger):
            yield ledger
        return
    import shutil  # here because they import much that is rarely needed
    import tempfile

    with tempfile.TemporaryDirectory(prefix="logferry-fsck-") as folder:
        for suffix in ("", "-wal"):
            shutil.copyfile(data_dir / f"{FILE_NAME}{suffix}", Path(folder) / f"{FILE_NAME}{suffix}")
        with closing(Ledger(Path(folder), durable=False, read_only=True)) as ledger:
            yield ledger
