"""The answers of the plain protocol: one ack or error per line (docs/protocol.md, rules A1 to A6)."""

import json
from dataclasses import dataclass
from typing import Final

ACK_OK: Final = b'{"status": "ok", "message": "received"}\n'

# A reason is for a person; the server must not echo a sender's garbage by the megabyte.
MAX_REASON_CHARS: Final = 200


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
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("status") not in ("ok", "error"):
        return None
    return Ack(ok=fields["status"] == "ok", message=str(fields.get("message", ""))[:MAX_REASON_CHARS])
