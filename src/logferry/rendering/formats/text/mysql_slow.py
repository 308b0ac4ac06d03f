"""The mysql_slow format: the slow query log of MySQL, MariaDB and Percona Server (docs/protocol.md, rule F60).

    # Time: 2024-01-15T08:23:45.123456Z
    # User@Host: app[app] @ web1 [10.0.0.5]  Id:  1234
    # Query_time: 2.000123  Lock_time: 0.000045 Rows_sent: 1  Rows_examined: 100000
    SET timestamp=1705307025;
    SELECT * FROM cart
    WHERE id > 7;

These lines are one event. Its message is what follows the lines with `#`. Durations are in seconds, as written. Must
never take a line of a statement for the beginning of an event, unless it looks exactly like one.
"""

from collections.abc import Sequence
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.engine.fields import decimal_or_null, if_given, number_or_null, of_each, text, text_or_null
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import INNER_NEWLINE, REST_OF_LINE, LineFormat, exact_kind
from logferry.rendering.engine.timestamps import RFC_3339
from logferry.rendering.multiline import Multiline

_NAME: Final = r"[^\x00-\x1f\x22\\\[\]]*+"
_HOST: Final = r"[^\x00-\x20\x22\\\[\]]*+"
_NUMBER: Final = "(?:0|[1-9][0-9]{0,17})"
_SECONDS: Final = r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,18})?+"
_DETAIL: Final = f"# (?!Query_time: |administrator command: ){REST_OF_LINE}"
_DETAILS: Final = f"{_DETAIL}(?:{INNER_NEWLINE}{_DETAIL})*+"
_TIME: Final = rf"# Time: (?P<timestamp>{RFC_3339}|[0-9]{{6}} [ 0-9][0-9]:[0-9]{{2}}:[0-9]{{2}}) *+"

_EVENT: Final = (
    rf"(?:{_TIME}{INNER_NEWLINE})?+# User@Host: (?P<user>{_NAME})\[(?P<account>{_NAME})\] @ (?P<host>{_HOST}) *+"
    rf"\[(?P<remote_addr>{_NAME})\](?: ++Id: ++(?P<thread_id>{_NUMBER}))?+ *+"
    rf"(?:{INNER_NEWLINE}(?P<details>{_DETAILS}))?+"
    rf"{INNER_NEWLINE}# Query_time: (?P<query_time>{_SECONDS}) ++Lock_time: (?P<lock_time>{_SECONDS})"
    rf" ++Rows_sent: (?P<rows_sent>{_NUMBER}) ++Rows_examined: (?P<rows_examined>{_NUMBER})(?![0-9])"
    rf"(?: *+{INNER_NEWLINE}(?P<more>{_DETAILS})| ++(?P<rest>(?=[^ ]){REST_OF_LINE}(?:{INNER_NEWLINE}{_DETAIL})*+))?+"
    rf" *+{INNER_NEWLINE}(?P<message>.*+)"
)

# How the lines begin that begin an event, if the second does not follow the first.
_TIME_LINE: Final = "# Time: "
_USER_LINE: Final = "# User@Host: "
_typical: Final = compile_pattern(r"# (?:Time|User@Host|Query_time|Schema|Thread_id): |SET timestamp=[0-9]++;")


class _Events(Multiline):
    """Joins the lines of an entry. An entry may lack the time, if it is that of the entry before it."""

    def __init__(self, *, max_lines: int, max_bytes: int) -> None:
        super().__init__(_TIME_LINE, max_lines=max_lines, max_bytes=max_bytes)
        self._begins = self._begin_each
        self._program = b""  # what a line begins depends on the line before it, too

    def _next_begins(self, texts: list[str]) -> Sequence[object]:
        return self._begin_each(texts)[1:]

    def _begin_each(self, texts: Sequence[str]) -> list[bool]:
        """Return for each line whether it begins an event; False for a first one that may follow its time."""
        before = [_TIME_LINE, *texts[:-1]]
        return [
            text.startswith(_TIME_LINE)
            or (text.startswith(_USER_LINE) and not last.startswith(_TIME_LINE))
            or (text.endswith("started with:") and ", Version: " in text)
            for text, last in zip(texts, before, strict=True)
        ]


class MysqlSlowFormat(LineFormat):
    """Entries of the slow query log."""

    def event_joiner(self, *, max_lines: int, max_bytes: int) -> EventJoiner:
        """See JoiningFormat."""
        return _Events(max_lines=max_lines, max_bytes=max_bytes)

    def recognises(self, text: str) -> bool:
        """See Format: a single line of an entry, too."""
        return super().recognises(text) or _typical.match(text) is not None


MYSQL_SLOW: Final = MysqlSlowFormat(
    "mysql_slow",
    [
        exact_kind(
            _EVENT,
            [
                *(of_each("level", "", lambda _: UNKNOWN), text("message"), text_or_null("timestamp", nil="")),
                *map(text, ("user", "account", "host", "remote_addr")),
                *(number_or_null("thread_id"), decimal_or_null("query_time"), decimal_or_null("lock_time")),
                *(number_or_null("rows_sent"), number_or_null("rows_examined")),
                *map(if_given, ("details", "more", "rest")),
            ],
        )
    ],
)
