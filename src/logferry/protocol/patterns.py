"""Regular expressions whose possessive quantifiers mean the same on every Python.

Until 3.11.4, a possessively repeated group that failed in the middle of a repetition left the match position after the
part that had matched (CPython issue 106052): `(?:ab?c)*+` matched all of "aca". On those versions `(?>(?:ab?c)*)` is
compiled instead, which the documentation of `re` calls equivalent; it uses more memory while it matches.
"""

import re
from typing import AnyStr, Final

# Whether this Python is one of those versions.
IS_AFFECTED: Final = not re.sub(r"^(?:ab?c)*+", "", "aca")

# An escaped character, a character set, a parenthesis with the quantifier after it, or any other character.
_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)(?P<repeat>[*+?]|\{[0-9]*,?[0-9]*\})?(?P<keep>\+)?|.", re.DOTALL
)


def compile_pattern(pattern: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Compile a pattern as `re.compile` does. Raises re.error."""
    return re.compile(with_atomic_groups(pattern) if IS_AFFECTED else pattern, flags)


def with_atomic_groups(pattern: AnyStr) -> AnyStr:
    """Return an equivalent pattern without possessively repeated groups. The pattern must not be verbose."""
    if isinstance(pattern, bytes):
        return _with_atomic_groups(pattern.decode("latin-1")).encode("latin-1")
    return _with_atomic_groups(pattern)


def _with_atomic_groups(pattern: str) -> str:
    parts: list[str] = []
    openings: list[int] = []  # where in `parts` each open group begins
    for token in _TOKEN.finditer(pattern):
        parts.append(token[0])
        if token[0] == "(":
            openings.append(len(parts) - 1)
        elif token[0].startswith(")") and openings:
            opening = openings.pop()
            if token["keep"] and token["repeat"]:
                parts[opening] = "(?>" + parts[opening]
                parts[-1] = f"){token['repeat']})"
    return "".join(parts)
