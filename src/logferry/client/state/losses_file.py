"""The format of STATE_DIR/losses.json, version 1: what the client knows to be lost, and its unknown windows.

    {"version": 1, "numbered": 7, "forgotten": 0, "losses": [{<KnownLoss>}, ...]}

Keys are the names of the fields of KnownLoss; a value that equals its default is left out, and unknown keys are
ignored. `numbered` is the number of the latest entry: an entry gets a new number when it changes, so that what was
acknowledged before counts again, and numbers begin above what was acknowledged. Entries are in the order of their
numbers. `forgotten` counts all entries that made room for new ones; those that nobody had acknowledged are in an entry
without a path (`FORGOTTEN`).
The file is replaced as a whole and synced, so a crash leaves the old content or the new. A damaged file, or one of a
later version, is kept as `.damaged`, and the client begins a new one with an entry without a path that says so. Another
process may read the file at any time.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from logferry.client.state.state_values import (
    MAX_OFFSET,
    UNREADABLE,
    cannot_read,
    check_offset,
    check_values,
    shortly,
)
from logferry.durable import replace_file
from logferry.errors import StateError
from logferry.small_files import read_small_file

VERSION: Final = 1
FILE_NAME: Final = "losses.json"

# Losses of one file for one reason are one entry, so there are rarely more than a few.
MAX_ENTRIES: Final = 1000

FORGOTTEN: Final = f"losses that were forgotten before anybody acknowledged them (at most {MAX_ENTRIES} are kept)"

# The largest file that is read.
_MAX_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KnownLoss:
    """Bytes `[start, end)` of a source that are lost, or an unknown window from `start` on. Times are Unix times.

    `count` losses of the same path, of `size` bytes in all, had the same reason, and the other fields describe the
    latest; an unknown window is an entry of its own unless there are very many of one file. `is_over`: the file was
    found again, so nothing of it is unknown. `path` is "" if nobody knows any more which files the losses were of.
    """

    number: int
    path: str
    source: str
    start: int
    end: int
    reason: str
    noticed_at: float
    is_window: bool = False
    last_look: float = 0.0
    count: int = 1
    size: int = 0
    is_recorded: bool = False  # by the server, as far as it keeps windows
    is_over: bool = False


def without_files(loss: KnownLoss) -> str:
    """Return a sentence for losses of files that nobody knows any more: their entry has no path."""
    return (
        f"{loss.reason}: {loss.count}" if loss.reason == FORGOTTEN else f"losses are not known any more: {loss.reason}"
    )


class LossesFile(NamedTuple):
    """The content of the file: the number of the latest entry, how many were forgotten, and the entries."""

    numbered: int = 0
    forgotten: int = 0
    losses: tuple[KnownLoss, ...] = ()


def read_losses(folder: Path) -> LossesFile:
    """Return what is known in a state folder, oldest first. Raises StateError."""
    path = folder / FILE_NAME
    try:
        return _decoded(read_small_file(path, most=_MAX_BYTES))
    except FileNotFoundError:
        return LossesFile()
    except OSError as error:
        raise cannot_read(path, error) from None
    except UNREADABLE as error:
        raise StateError(f"cannot understand {path}: {error}") from None


def write_losses(path: Path, content: LossesFile) -> None:
    """Replace the file at `path`. Raises OSError."""
    losses = [_entry(known) for known in content.losses]
    entries = {"version": VERSION, "numbered": content.numbered, "forgotten": content.forgotten, "losses": losses}
    replace_file(path, json.dumps(entries, indent=1).encode())


def _decoded(data: bytes) -> LossesFile:
    content = json.loads(data)
    if content["version"] != VERSION:
        raise ValueError(f"its version is {shortly(content['version'])}, this program knows {VERSION}")
    losses = tuple(map(_loss, content["losses"]))
    return LossesFile(_number(content["numbered"]), _number(content["forgotten"]), losses)


def _number(value: Any) -> int:
    check_offset("number", value)
    return int(value)


def _entry(known: KnownLoss) -> dict[str, object]:
    return {name: value for name, value in asdict(known).items() if name not in _DEFAULTS or value != _DEFAULTS[name]}


def _loss(entry: Any) -> KnownLoss:
    known = KnownLoss(**{each.name: entry[each.name] for each in fields(KnownLoss) if each.name in entry})
    check_values(known, limits=dict.fromkeys(("number", "start", "end", "count", "size"), MAX_OFFSET))
    return known


_DEFAULTS: Final = {each.name: each.default for each in fields(KnownLoss)}
