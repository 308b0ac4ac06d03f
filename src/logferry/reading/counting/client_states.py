"""What clients last said about themselves, for everybody who lists hosts: the command line and the console alike.

They are claims of clients, and hostile. Times are milliseconds of Unix time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from logferry.reading.query.records import utc
from logferry.server.clients.reporting.states_file import read_states

# Clients say how they are once a minute: what one said longer ago than this says nothing about now.
PRESENT_MS: Final = 300_000

_AS_SAID: Final = ("version", "waits_for", "unread_bytes", "unacked_bytes", "unacked_lines")

State = Mapping[str, Any]
"""`at` is when the client said it; `behind_since` since when it has had something to deliver, None if it has not."""


def client_states(data_dir: Path) -> Mapping[str, State]:
    """Return the last state of each host, as far as the server has written it."""
    return {host: _state(said) for host, said in read_states(data_dir).items()}


def _state(said: Mapping[str, Any]) -> State:
    times = {"at": round(said["at"] * 1000), "behind_since": said["behind_since"] or None}
    return {**times, **{name: said[name] for name in _AS_SAID}}


def state_in_utc(state: State) -> Mapping[str, object]:
    """Return a state with its times as text; nothing for none."""
    return {**state, "at": utc(state["at"]), "behind_since": utc(state["behind_since"])} if state else {}


def is_present(state: State, now: int) -> bool:
    """Whether a client has said something that is about now."""
    return bool(state) and now - int(state["at"]) < PRESENT_MS
