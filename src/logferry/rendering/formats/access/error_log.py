"""Defines what the error logs of web servers have in common (docs/protocol.md, rule F25)."""

from logferry.rendering.engine.fields import level, text, text_or_null
from logferry.rendering.engine.line_format import LineKind, ending_with_message


def error_log(beginning: str, *others: str) -> LineKind:
    """Return the kind of lines that begin with the pattern `beginning` and end with their message.

    Groups `word` and `timestamp` are the level and the timestamp; `others` are fields that are null if their group did
    not match.
    """
    optional = [text_or_null(key, nil="") for key in others]
    return ending_with_message(beginning, [level("word"), text("message"), text("timestamp"), *optional])
