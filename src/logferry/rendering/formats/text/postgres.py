"""The postgres format: PostgreSQL's log on standard error, and its csvlog (docs/protocol.md, rule F53).

    2024-01-15 08:23:45.123 UTC [1234] LOG:  checkpoint starting: time            '%m [%p] ', the default
    2024-01-15 08:23:45.123 CET [1234] app@shop ERROR:  division by zero          '%m [%p] %q%u@%d '
    2024-01-15 08:23:45 UTC [1234]: [3-1] user=app,db=shop FATAL:  ...            '%t [%p]: [%l-1] user=%u,db=%d '
    2024-01-15 08:23:45 UTC:10.0.0.5(35544):app@shop:[1234]:LOG:  ...             '%t:%r:%u@%d:[%p]:'

The level is what the program writes before the colon, also STATEMENT, DETAIL, HINT and such, which belong to the line
before them. After another prefix that begins with a time, the rest of the prefix is one field. Any other line is read
as plain.
"""

from typing import Final

from logferry.rendering.engine.fields import always_null, csv_text, csv_text_if_given, if_given, text
from logferry.rendering.engine.line_format import CSV_TEXT, LineFormat, LineKind, exact_kind
from logferry.rendering.engine.timestamps import DATE, TIME_OF_DAY
from logferry.rendering.formats.text.plain import PLAIN

_LEVELS: Final = (
    "DEBUG[1-5]?+|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|LOCATION|BACKTRACE"
)
_TIME: Final = rf"{DATE} {TIME_OF_DAY}(?:\.[0-9]++)?+ (?:[A-Z]{{1,6}}+|[+-][0-9]{{2}}(?::?+[0-9]{{2}})?+)"
_TIMESTAMP: Final = rf"(?P<timestamp>{_TIME})"
_MESSAGE: Final = rf"(?P<level>{_LEVELS}):  (?P<message>.*+)"

# Names without what separates them, or `[unknown]` and `[local]`. The name of a program may have spaces.
_NAME: Final = r"(?:\[[a-z]++\]|[^\x00-\x20\x22\\,@:=\[\]]*+)"
_PROGRAM: Final = r"(?:\[[a-z]++\]|[^\x00-\x1f\x22\\,=\[\]]*+)"
_CLIENT: Final = r"(?:\[[a-z]++\]|[0-9A-Za-z.:%_-]*+(?:\([0-9]++\))?+)"
_PROCESS: Final = r" \[(?P<pid>[0-9]++)\]:?+(?: \[(?P<line>[0-9]++)(?:-[0-9]++)?+\])?+"
_PAIRS: Final = (
    rf"\[?+user=(?P<user>{_NAME}),db=(?P<database>{_NAME})"
    rf"(?:,app=(?P<application>{_PROGRAM}))?+(?:,(?:client|host|remote)=(?P<client>{_CLIENT}))?+\]?+"
)
_AT: Final = rf"(?P<user>{_NAME})@(?P<database>{_NAME})"

# An address and a port, up to the parenthesis; nothing for a process of the server.
_REMOTE: Final = r"(?:(?P<client>\[local\]|[^\x00-\x20\x22\\(@]*+\([0-9]++\))|)"

# Words and what is between them; a level that is the end of another word is not a level.
_PREFIX: Final = rf"(?P<prefix>(?:(?!(?:{_LEVELS}):  )(?:[0-9A-Za-z_]++|[^\x00-\x1f\x22\\0-9A-Za-z_])){{0,99}}+)"


def _csv(key: str) -> str:
    return f',(?:"(?P<{key}>{CSV_TEXT})")?+'


def _bare(key: str) -> str:
    return rf",(?:(?P<{key}>[^\x00-\x1f\x22,\\]++))?+"


_CSV_LINE: Final = (
    _TIMESTAMP
    + _csv("user")
    + _csv("database")
    + _bare("pid")
    + _csv("client")
    + "".join(map(_bare, ("session_id", "line")))
    + _csv("command")
    + "".join(map(_bare, ("session_start", "virtual_transaction", "transaction")))
    + rf',(?P<level>{_LEVELS}),(?P<sqlstate>[0-9A-Z]{{5}})?+,"(?P<message>{CSV_TEXT})"'
    + "".join(map(_csv, ("detail", "hint", "internal_query")))
    + _bare("internal_position")
    + "".join(map(_csv, ("context", "query")))
    + _bare("query_position")
    + "".join(map(_csv, ("location", "application")))
    + f"(?:{_csv('backend_type')}(?:,(?P<rest>.*+))?+)?+"
)
_CSV_FIELDS: Final = (
    *map(csv_text_if_given, ("user", "database")),
    if_given("pid"),
    csv_text_if_given("client"),
    *map(if_given, ("session_id", "line")),
    csv_text_if_given("command"),
    *map(if_given, ("session_start", "virtual_transaction", "transaction", "sqlstate")),
    *map(csv_text_if_given, ("detail", "hint", "internal_query")),
    if_given("internal_position"),
    *map(csv_text_if_given, ("context", "query")),
    if_given("query_position"),
    *map(csv_text_if_given, ("location", "application", "backend_type")),
    if_given("rest"),
)


def _kind(head: str) -> LineKind:
    keys = ("pid", "line", "user", "database", "application", "client", "prefix")
    fields = [if_given(key) for key in keys if f"<{key}>" in head]
    timestamp = text("timestamp") if "<timestamp>" in head else always_null("timestamp")
    return exact_kind(head + _MESSAGE, [text("level"), text("message"), timestamp, *fields])


class PostgresFormat(LineFormat):
    """Lines of PostgreSQL."""

    def recognises(self, text: str) -> bool:
        """See Format: other programs might write lines like those of the last kind."""
        return any(kind.fields_of(text) is not None for kind in self._kinds[:-1])


POSTGRES: Final = PostgresFormat(
    "postgres",
    [
        _kind(rf"{_TIMESTAMP}{_PROCESS}:?+ "),
        _kind(rf"{_TIMESTAMP}{_PROCESS} {_PAIRS}:?+ "),
        _kind(rf"{_TIMESTAMP}{_PROCESS} {_AT}:?+ "),
        _kind(rf"{_TIMESTAMP}:{_REMOTE}:{_AT}:\[(?P<pid>[0-9]++)\]:"),
        exact_kind(_CSV_LINE, [text("level"), csv_text("message"), text("timestamp"), *_CSV_FIELDS]),
        _kind(rf"(?:< ?+)?+{_TIMESTAMP}{_PREFIX}"),
        _kind(""),
    ],
    otherwise=PLAIN,
)
