"""Compiling the patterns that users write (`--format regex:`, `--multiline`, `--include`, `--redact` ...)."""

import re

from logferry.protocol.patterns import compile_pattern


def compile_user_pattern(purpose: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile a pattern. Raises ValueError that says what is wrong with it, and for which `purpose` it was given."""
    try:
        return compile_pattern(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot use {pattern!r} as a pattern ({purpose}): {error}") from error
