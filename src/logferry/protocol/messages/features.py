"""What a welcome says about the server beyond its limits: the id of its store, and its features (rule E1).

A feature is the short name of a message, or of a meaning, that the first version of the extension did not have. A
client sends such a message only to a server that lists the feature. To add one, name it here, list it in
`SERVER_FEATURES`, and give it a rule in docs/protocol.md.
"""

import re
from typing import Final

POSITIONS: Final = "positions"  # rule E22
SOURCES: Final = "sources"  # rule E30
WINDOWS: Final = "windows"  # rules E27 and E28
LOSSES: Final = "losses"  # rule E34
STATUS: Final = "status"  # rule E38
END: Final = "end"  # rule E39

# A server that lists it understands `content`, `damaged` and `repair`; a client that lists it takes notices of damage.
HEAL: Final = "heal"

# What this server understands beyond rules E1 to E20.
SERVER_FEATURES: Final[tuple[str, ...]] = (POSITIONS, HEAL, WINDOWS, SOURCES, LOSSES, STATUS, END)

# A client accepts this much and ignores the rest: a server is not trusted to be modest.
MAX_FEATURES: Final = 64
MAX_FEATURE_CHARS: Final = 64

_STORE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def read_features(value: object) -> frozenset[str]:
    """Return the features that a server lists; entries that are not the short name of a feature are ignored."""
    if not isinstance(value, list):
        return frozenset()
    return frozenset(name for name in value[:MAX_FEATURES] if type(name) is str and 0 < len(name) <= MAX_FEATURE_CHARS)


def read_store_id(value: object) -> str:
    """Return the id of a server's store; "" if the server does not state one in the form of an id."""
    return value if isinstance(value, str) and _STORE_ID.fullmatch(value) else ""
