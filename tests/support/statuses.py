"""What clients say of themselves, made up: for tests of `logferry status`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from logferry.client.status.snapshot import ClientReport, Status, encode
from logferry.folder_lock import lock_folder
from logferry.model.file_report import FileReport

NOW: Final = 1_700_000_000.0
DEAD: Final = 4_000_000  # no process has such an id


def many(count: int, **more: Any) -> list[FileReport]:
    """Return what is said of so many quiet files."""
    return [
        FileReport(
            *(
                f"/var/log/service-{number}/app.log",
                f"/var/log/service-{number}/app.log",
                f"{number:016x}",
                65024,
                number,
            ),
            **{"size": 5000, "offset": 5000, "committed": 5000, "format": "plain", **more},
        )
        for number in range(1, count + 1)
    ]


def of_file(path: Path, *, committed: int, **more: Any) -> FileReport:
    """Return what a client says that has read and shipped a file up to `committed` and knows of no more."""
    status = path.stat()
    identity = {"device": status.st_dev, "inode": status.st_ino}
    up_to = {"size": committed, "offset": committed, "committed": committed}
    return FileReport(str(path), str(path), "aaaa", **{**identity, **up_to, **more})


def say(folder: Path, *files: FileReport, **more: Any) -> Path:
    """Write what a client would; return the folder."""
    said = {"pid": DEAD, "mode": "continuous", "server": "localhost:9000", "started_at": NOW - 100, "written_at": NOW}
    folder.mkdir(exist_ok=True)
    (folder / "status.json").write_bytes(encode(Status(ClientReport(**{**said, **more}), files)))
    return folder


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Hold the lock of a folder, as a client of this process id does."""
    folder.mkdir(exist_ok=True)
    lock = lock_folder(folder)
    try:
        yield folder
    finally:
        lock.close()
