"""The answers of the plain protocol: one ack or error per line (docs/protocol.md, rules A1 to A6)."""

import json
from dataclasses import dataclass
from typing import Any, Final

from logferry.errors import SPEAKS_TLS
from logferry.printable import printable

ACK_OK: Final = b'{"status": "ok", "message": "received"}\n'

# A reason is for a person; the server must not echo a sender's garbage by the megabyte.
MAX_REASON_CHARS: Final = 200

_MAX_SHOWN_CHARS: Final = 80

# An alert of TLS, of any version from SSL 3 on: what a server of TLS answers to anything else than a handshake.
_TLS_ALERT: Final = b"\x15\x03"

# What a server of ours answers to a hello without TLS at a port for TLS, as an error.
TLS_ONLY: Final = "this port takes connections with TLS only (--tls)"

# A record that a client sends has all of these: a peer that answers with them sends back what it gets.
_OF_A_RECORD: Final = frozenset(("level", "message", "timestamp"))


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to one line: stored (`ok`), or refused with a reason in `message`."""

    ok: bool
    message: str


def error_ack(reason: str) -> bytes:
    """Return the answer that refuses one line (or one frame) for `reason`, newline included."""
    return json.dumps({"status": "error", "message": reason[:MAX_REASON_CHARS]}).encode() + b"\n"


def parse_ack(line: bytes) -> Ack | None:
    """Parse one answer; return None for anything else."""
    fields = _object_in(line)
    if fields.get("status") not in ("ok", "error") or fields.keys() >= _OF_A_RECORD:
        return None
    return Ack(ok=fields["status"] == "ok", message=str(fields.get("message", ""))[:MAX_REASON_CHARS])


def denial_in(line: bytes) -> str | None:
    """Return why the server does not admit the client, if it says so (rule A7); None for anything else."""
    fields = _object_in(line)
    if fields.get("status") != "denied":
        return None
    return printable(str(fields.get("message", ""))[:MAX_REASON_CHARS])


def answered(data: bytes) -> str:
    """Return what a peer answered that is not a log server, for people: its first line that is not blank."""
    if data.startswith(_TLS_ALERT):
        return SPEAKS_TLS
    line = data.lstrip(b" \t\r\n").partition(b"\n")[0]
    if _is_from_a_client(line):
        return "it sends back what it receives"
    return f'it answered "{printable(line[: 4 * _MAX_SHOWN_CHARS].rstrip(), max_chars=_MAX_SHOWN_CHARS)}"'


def _is_from_a_client(line: bytes) -> bool:
    """Whether only a client sends such a line: a control line, a record, or the beginning of a frame."""
    if line.startswith((b'{"logferry"', b"\0")):
        return True
    return _object_in(line).keys() >= _OF_A_RECORD


def _object_in(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line; an empty one for anything else."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
