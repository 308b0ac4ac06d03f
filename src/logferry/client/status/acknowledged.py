"""STATE_DIR/acknowledged.json, version 1: which losses somebody has read, so that they no longer count as problems.

    {"version": 1, "number": 7, "run": [<process id>, <start>], "counters": {<Counters>}}

`number` is that of the latest entry of losses.json (known_losses.py) at that time. `counters` are what the run of that
process, which began at the Unix time `start`, had counted by then. Only `logferry status --acknowledge` writes the
file, beside a running client; a crash leaves the old content or the new. An unreadable file acknowledges nothing.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from logferry.client.state.state_values import UNREADABLE, check_values
from logferry.client.status.snapshot import ClientReport
from logferry.durable import replace_file
from logferry.errors import StateError, cause_of
from logferry.permissions import advice
from logferry.small_files import read_small_file
from logferry.telemetry.table import Counters

VERSION: Final = 1
FILE_NAME: Final = "acknowledged.json"

_MAX_NUMBER: Final = 2**63 - 1
_MAX_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What was acknowledged: losses up to `number`, and `counters` of one run."""

    number: int = 0
    run: tuple[int, float] = (0, 0.0)
    counters: Counters = field(default_factory=Counters)

    def rest_of(self, client: ClientReport) -> Counters:
        """Return what a client has counted since then."""
        if self.run != _run(client):
            return client.counters
        counted = asdict(client.counters)
        return Counters(**{name: counted[name] - value for name, value in asdict(self.counters).items()})


def read(folder: Path) -> Acknowledged:
    """Return what was acknowledged in a state folder; nothing if the file cannot be read."""
    try:
        content = json.loads(read_small_file(folder / FILE_NAME, most=_MAX_BYTES))
        number, (pid, start), counters = content["number"], content["run"], content["counters"]
        if content["version"] != VERSION or [type(number), type(pid)] != [int, int] or not 0 <= number <= _MAX_NUMBER:
            return Acknowledged()
        return Acknowledged(number, (pid, float(start)), _counters(counters))
    except (OSError, *UNREADABLE):
        return Acknowledged()


def acknowledge(folder: Path, *, number: int, client: ClientReport) -> None:
    """Acknowledge the losses up to `number`, and what a client has counted. Raises StateError."""
    content = {"version": VERSION, "number": number, "run": _run(client), "counters": asdict(client.counters)}
    try:
        replace_file(folder / FILE_NAME, json.dumps(content).encode())
    except OSError as error:
        raise StateError(f"cannot write {folder / FILE_NAME}: {cause_of(error)}{advice(folder, error)}") from None


def _run(client: ClientReport) -> tuple[int, float]:
    return client.pid, float(client.started_at)


def _counters(values: Any) -> Counters:
    known = {each.name: values[each.name] for each in fields(Counters) if each.name in values}
    counters = Counters(**known)
    check_values(counters)
    return counters
