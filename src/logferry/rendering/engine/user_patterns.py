"""Compiles the patterns that users write (`--format regex:`, `--multiline`, `--include`, `--redact` ...)."""

import re

from logferry.protocol.patterns import compile_pattern


def compile_user_pattern(purpose: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile a pattern. If the pattern is invalid, raises ValueError with the reason and the `purpose`."""
    try:
        return compile_pattern(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot use {pattern!r} as a pattern ({purpose}): {error}") from error
