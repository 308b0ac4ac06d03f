"""Refuses a data folder whose names this process cannot read: they are UTF-8, and its locale has another encoding.

Python cannot open such names then, or opens others. A server would fail at the first line of such a log, or find all of
its segments missing, and start anew beside them if its ledger is lost. Only reads names.
"""

import os
import sys
from pathlib import Path

from logferry.errors import StoreError
from logferry.names import are_utf_8
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME


def refuse_other_encoding(data_dir: Path) -> None:
    """Raise StoreError if there are folders with names that this process cannot read."""
    if are_utf_8(sys.getfilesystemencoding()):
        return
    for _, folders, _ in os.walk(os.fsencode(data_dir / FOLDER_NAME)):
        for name in folders:
            if not name.isascii():
                raise StoreError(
                    f"cannot use the data folder {data_dir}: it has folders with names in UTF-8, such as "
                    f"{name.decode(errors='backslashreplace')!r}, and in this locale names are "
                    f"{sys.getfilesystemencoding()}; LC_ALL=C.UTF-8 (or PYTHONUTF8=1) allows all names"
                )
