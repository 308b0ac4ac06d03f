"""Makes a new ledger in the folder `ledger.new`, and puts it in the place of the old one, which is kept.

The old one is renamed to `ledger.sqlite3.damaged-<n>`, with SQLite's files beside it. A crash at any moment leaves the
old ledger or the new one, or a server that asks for another rebuild. Works in the held data folder: others may exchange
what has its names. SQLite works by names, so root makes a ledger for others where only root can, and copies it.
"""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from logferry.errors import StoreError
from logferry.permissions import give_to_owner_of
from logferry.server.storage.disk.files.held_folder import HeldFolder, identity_of
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger, sort_in

_NEW_FOLDER: Final = "ledger.new"
_BESIDE: Final = ("-wal", "-shm", "")  # what SQLite has beside a ledger; the ledger itself last

_kept_name: Final = re.compile(rf"{re.escape(FILE_NAME)}\.damaged-(\d{{1,9}})(?:-wal|-shm)?", re.ASCII)

Result = TypeVar("Result")


def replace_ledger(data: HeldFolder, fill: Callable[[Ledger], Result]) -> tuple[Result, str]:
    """Make a ledger, have it filled in one transaction, and put it in its place.

    Returns what `fill` returns, and the name under which the old ledger is kept; "" if there was none. Raises
    StoreError or OSError; then the old ledger is as it was.
    """
    with data.naming():
        _clear(data)
        os.mkdir(_NEW_FOLDER, mode=0o750, dir_fd=data.descriptor)
        with data.below(_NEW_FOLDER) as folder:
            _create(data, folder)
            with _place_to_make_it(data, folder) as place:
                result = _made(place, folder, fill)
                _take_in(place, folder)
            os.fsync(folder.descriptor)
            return result, _exchange(data, folder)


def _create(data: HeldFolder, folder: HeldFolder) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(FILE_NAME, flags, 0o640, dir_fd=folder.descriptor)
    try:
        give_to_owner_of(data.path, descriptor)  # SQLite gives the files beside the ledger the same owner
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _place_to_make_it(data: HeldFolder, folder: HeldFolder) -> Iterator[Path]:
    """Give the folder in which SQLite makes the ledger: one whose name nobody but this user can give to another."""
    status = os.fstat(data.descriptor)
    if os.geteuid() or (status.st_uid == 0 and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        yield folder.name
        return
    import tempfile  # here because it imports much that is needed only by root

    with tempfile.TemporaryDirectory(prefix="logferry-rebuild-") as place:
        yield Path(place)


def _made(place: Path, folder: HeldFolder, fill: Callable[[Ledger], Result]) -> Result:
    sort_in(place)
    ledger = Ledger(place, durable=True)
    try:
        _refuse_if_exchanged(place, folder)
        with ledger.transaction():
            result = fill(ledger)
        ledger.move_log_into_file()  # only the file takes the place of the old ledger
    finally:
        ledger.close()
    _check(place)
    _refuse_if_exchanged(place, folder)
    return result


def _refuse_if_exchanged(place: Path, folder: HeldFolder) -> None:
    """Raise StoreError if SQLite has not worked in the held folder, although it should have."""
    if place == folder.name and identity_of(os.stat(place)) != folder.identity:
        raise StoreError(f"cannot rebuild the ledger: {place} was exchanged for another folder meanwhile")


def _take_in(place: Path, folder: HeldFolder) -> None:
    """Copy the ledger into the held folder, if it was made elsewhere."""
    if place == folder.name:
        return
    flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe keeps nobody waiting
    with (
        open(place / FILE_NAME, "rb") as made,
        open(os.open(FILE_NAME, flags, dir_fd=folder.descriptor), "wb") as copy,
    ):
        shutil.copyfileobj(made, copy)
        copy.flush()
        os.fsync(copy.fileno())


def _check(folder: Path) -> None:
    """Raise StoreError unless the new ledger is whole: nothing may take the place of the old one that is not."""
    ledger = Ledger(folder, durable=False, read_only=True)
    try:
        problems = ledger.problems()
    finally:
        ledger.close()
    if problems:
        raise StoreError(f"cannot rebuild the ledger: the new one is damaged ({problems[0]}); the old one is kept")


def _clear(data: HeldFolder) -> None:
    """Remove what a rebuild that was interrupted has left. Never follows a link: others may write into data folders.

    Raises OSError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(_NEW_FOLDER, flags, dir_fd=data.descriptor)
    except FileNotFoundError:
        return
    try:
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{FILE_NAME}{suffix}", dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(_NEW_FOLDER, dir_fd=data.descriptor)


def _exchange(data: HeldFolder, folder: HeldFolder) -> str:
    """Keep the old ledger under another name, and put the new one in its place; return that name."""
    here = data.path
    numbers = [int(match[1]) for name in os.listdir(here) if (match := _kept_name.fullmatch(name))]
    kept = f"{FILE_NAME}.damaged-{max(numbers, default=0) + 1}"
    was_there = False
    for suffix in _BESIDE:  # its log first: SQLite must never find that beside another ledger
        with contextlib.suppress(FileNotFoundError):
            os.rename(here / f"{FILE_NAME}{suffix}", here / f"{kept}{suffix}")
            was_there = True
    os.fsync(data.descriptor)
    os.rename(folder.path / FILE_NAME, here / FILE_NAME)
    os.fsync(data.descriptor)
    _clear(data)
    return kept if was_there else ""
