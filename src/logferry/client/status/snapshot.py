"""What a client reports about itself, and the format of `STATE_DIR/status.json`, which holds the report.

    {"version": 1,
    "client": {<ClientReport>},
    "files": [
    {<FileReport>},
    ...
    ]}

Keys are the names of the fields. A value that equals the default of its field is left out, and a reader assumes the
default. A reader ignores unknown keys, so that fields can be added without a new version, and refuses a file of another
version. The file is not synced: a crash of the machine may leave it empty, or leave an older one.
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from logferry.client.state.state_values import UNREADABLE, check_values, shortly
from logferry.client.status.connection_state import ConnectionState
from logferry.errors import StateError, cause_of
from logferry.model.file_report import FileReport
from logferry.permissions import advice
from logferry.small_files import read_small_file
from logferry.telemetry.pieces import in_pieces
from logferry.telemetry.table import Counters

VERSION: Final = 1
STATUS_FILE: Final = "status.json"

# About 150 us of work.
_FILES_PER_PIECE: Final = 10

# The largest file that is read: a million files with long paths.
_MAX_BYTES: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientReport:
    """The client as a whole. Times are Unix times, 0 for never; sizes are bytes.

    Relative names of files start at `directory`. `outcome` says how a finished run ended, "" if all went
    well. `lines_per_second` counts lines acked in the second, or longer, before `written_at`. `server` is the one
    in use, `link` the connection to it.
    """

    pid: int
    mode: str
    server: str
    started_at: float
    written_at: float
    directory: str = ""
    ended_at: float = 0.0
    outcome: str = ""
    lines_per_second: float = 0.0
    queue_lines: int = 0
    held_files: int = 0
    held_bytes: int = 0
    link: ConnectionState = field(default_factory=ConnectionState)
    counters: Counters = field(default_factory=Counters)
    servers: str = ""  # all of them, if there are several


@dataclass(frozen=True, slots=True)
class Status:
    """The whole content of the file."""

    client: ClientReport
    files: tuple[FileReport, ...]


Part = TypeVar("Part", ClientReport, FileReport, ConnectionState, Counters)

# The names of the fields of each part with their defaults; a field without a default is never equal to MISSING.
_DEFAULTS: Final = {
    kind: tuple(
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    )
    for kind in (ClientReport, FileReport, ConnectionState, Counters)
}


def encode(status: Status, *, pause: Callable[[], object] = lambda: None) -> bytes:
    """Return the content of the file, encoded line by line; `pause` lets other threads run."""
    client = json.dumps(_entry(status.client), default=_entry)
    head = f'{{"version": {VERSION},\n"client": {client},\n"files": [\n'.encode()
    files = [json.dumps(_entry(report)).encode() for report in in_pieces(status.files, _FILES_PER_PIECE, pause)]
    return b"".join((head, b",\n".join(files), b"\n]}\n"))


def decode(data: bytes) -> Status:
    """Return the content of the file. Raises ValueError, TypeError or KeyError if the data is not a status."""
    content = json.loads(data)
    if content["version"] != VERSION:
        raise ValueError(f"its version is {shortly(content['version'])}, this program knows {VERSION}")
    client = dict(content["client"])
    parts = {
        "link": _part(ConnectionState, client.pop("link", {})),
        "counters": _part(Counters, client.pop("counters", {})),
    }
    return Status(
        _part(ClientReport, {**client, **parts}), tuple(_part(FileReport, entry) for entry in content["files"])
    )


def read(folder: Path) -> Status | None:
    """Return the last report of the client of a state folder, or None if it never wrote one.

    Raises StateError if the file cannot be read or understood.
    """
    path = folder / STATUS_FILE
    try:
        return decode(read_small_file(path, most=_MAX_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {cause_of(error)}{advice(path, error)}") from None
    except UNREADABLE as error:
        raise StateError(f"cannot understand {path}: {error}") from None


def _entry(part: Any) -> dict[str, object]:
    """Return the values that differ from the defaults."""
    values = ((name, getattr(part, name), default) for name, default in _DEFAULTS[type(part)])
    return {name: value for name, value, default in values if value != default}


def _part(kind: type[Part], entry: Any) -> Part:
    """Return the part that an entry describes; ignores unknown keys. Raises ValueError or TypeError."""
    if not isinstance(entry, dict):
        raise TypeError(f"{kind.__name__} is {shortly(entry)}")
    part = kind(**{name: entry[name] for name, _ in _DEFAULTS[kind] if name in entry})
    check_values(part)
    return part
