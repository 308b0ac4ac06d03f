"""Remembers whether all servers since the last clean stop have synced: only then has the ledger every ack.

A server that does not sync (`--durability os` or `none`) leaves a mark beside the ledger for as long as it runs. A
start that finds one knows that a power cut may have undone acks, in the ledger and in the journals alike. So nothing of
a surplus is called never acked, whatever the durability is now. A clean stop has brought the ledger to the disk, and
removes the mark. It is a file and not a row: what is lost with the ledger's last transactions could not say so.
"""

from pathlib import Path
from typing import Final

from logferry.durable import replace_file, sync_folder
from logferry.server.storage.disk.ledger import FILE_NAME

MARK_NAME: Final = f"{FILE_NAME}-unsynced"


def have_synced(data_dir: Path) -> bool:
    """Whether every server since the last clean stop has synced. Raises OSError."""
    return not (data_dir / MARK_NAME).exists()


def note_unsynced(data_dir: Path) -> None:
    """Note, on the disk, that a server runs that does not sync. Raises OSError."""
    if have_synced(data_dir):
        replace_file(data_dir / MARK_NAME, b"", mode=0o640)


def note_clean_stop(data_dir: Path) -> None:
    """Note that the ledger is closed, and on the disk. Raises OSError."""
    if not have_synced(data_dir):
        (data_dir / MARK_NAME).unlink()
        sync_folder(data_dir)
