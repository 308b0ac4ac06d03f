"""The reason of a skip that says in which other store a range of a source lies (docs/protocol.md, rule E41).

Owns its form. The reason is text like any other: a reader must not rely on what it states.
"""

import re
from typing import Final

_REASON: Final = re.compile(r"stored elsewhere: store ([A-Za-z0-9_-]{1,64})")


def stored_elsewhere(store: str) -> str:
    """Return the reason of a skip of what another store has."""
    return f"stored elsewhere: store {store}"


def store_of(reason: str) -> str:
    """Return the id of the store that a reason names; "" if it names none."""
    found = _REASON.fullmatch(reason)
    return found[1] if found else ""
