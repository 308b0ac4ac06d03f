"""What clients say of themselves (docs/protocol.md, rule E38): apart from the other requests, which only servers need.

Every start of a client imports this.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientState:
    """What a client says about itself: its version, what it has not delivered, and what it waits for (rule E38).

    `behind_since` is the Unix time in milliseconds since which a file has had unacked bytes, 0 if none has.
    """

    version: str
    unread_bytes: int = 0
    unacked_bytes: int = 0
    unacked_lines: int = 0
    behind_since: int = 0
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class FileVerdict:
    """What `verify` has found about a file of the client (rule E38)."""

    path: str
    is_proven: bool
    verdict: str
    lines: int
    stored: int
    missing: int
    altered: int
    repeated: int
    lost: int
