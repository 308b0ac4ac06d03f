"""The syslog format: what syslog daemons write to files, and what they send (docs/protocol.md, rules F20 to F22).

Two generations, and the ways in which daemons write them:

    Jan 15 08:23:45 web-1 sshd[4711]: message               RFC 3164, as traditional files have it
    2024-01-15T08:23:45.123456+01:00 web-1 sshd[4711]: message      the same with a real timestamp, as rsyslog writes it
    <38>Jan 15 08:23:45 web-1 sshd[4711]: message           either of the two with its priority, as sent
    <165>1 2024-01-15T08:23:45Z web-1 app 4711 ID47 [a@1 b="c"] message     RFC 5424

The priority is 8 * facility + severity. Without a priority, a level word at the beginning of the message becomes the
level.
"""

from typing import Final

from logferry.rendering.engine.fields import Field, of_each, text, text_or_null
from logferry.rendering.engine.levels import LEVEL_AHEAD, LEVEL_WORDS, SEVERITIES, level_of_word
from logferry.rendering.engine.line_format import LineFormat, LineKind
from logferry.rendering.engine.timestamps import RFC_3164, RFC_3339

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock"),
    *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)

_PRIORITY: Final = r"<(?P<priority>[0-9]|[1-9][0-9]|1[0-8][0-9]|19[01])>"
_TIME: Final = rf"(?P<timestamp>{RFC_3164}|{RFC_3339})"

# A tag is a word before a colon, perhaps with a process id; a message may lack it ("last message repeated 2 times").
# Without quotes and backslashes, the tag is the same in escaped text.
_TAG: Final = r"(?P<app>[!#-9;-Z^-~]++)(?:\[(?P<pid>[!#-Z^-~]++)\])?+:"

_FULL_TAIL: Final = rf" (?P<host>[^ ]++) (?:{_TAG}(?: |\Z))?+{LEVEL_AHEAD}(?P<message>.*+)"
_USUAL_TAIL: Final = rf" (?P<host>[!-~]++) (?:{_TAG}(?: |(?![^\n])))?+{LEVEL_AHEAD}(?P<message>[^\n]*+)"

# Version 1, and five words that may be `-`. In structured data, a backslash escapes a bracket. A byte order mark only
# declares that the message is UTF-8, as all messages are here.
_FULL_5424: Final = (
    rf"{_PRIORITY}1 (?P<timestamp>-|{RFC_3339}) (?P<host>[^ ]++) (?P<app>[^ ]++) (?P<pid>[^ ]++) (?P<msgid>[^ ]++)"
    r" (?P<structured_data>-|(?:\[(?:[^\]\\]++|\\.)*+\])++)(?: \ufeff?+|\Z)(?P<message>.*+)"
)
_USUAL_5424: Final = (
    rf"{_PRIORITY}1 (?P<timestamp>-|{RFC_3339}) (?P<host>[!-~]++) (?P<app>[!-~]++) (?P<pid>[!-~]++)"
    r" (?P<msgid>[!-~]++) (?P<structured_data>-|(?:\[[^\]\n]*+(?<!\\)\])++) (?:\xef\xbb\xbf)?+(?P<message>[^\n]*+)"
)


def _level_of_priority(priority: str | None) -> str:
    return SEVERITIES[int(priority or 0) % 8]


def _facility_of_priority(priority: str | None) -> str | None:
    return FACILITIES[int(priority) // 8] if priority else None


def _fields(level: Field, *others: Field) -> list[Field]:
    facility = of_each("facility", "priority", _facility_of_priority)
    return [level, text("message"), text_or_null("timestamp"), facility, text_or_null("host"), *others]


# In RFC 3164 a missing tag is null, and a dash is text.
_TAG_FIELDS: Final = (text_or_null("app", nil=""), text_or_null("pid", nil=""))
_WORD_FIELDS: Final = tuple(map(text_or_null, ("app", "pid", "msgid", "structured_data")))
_LEVEL_OF_PRIORITY: Final = of_each("level", "priority", _level_of_priority)


class SyslogFormat(LineFormat):
    """Lines of syslog daemons."""

    def recognises(self, text: str) -> bool:
        """See Format: after a time and a word, only a tag or a priority shows that the word is a host (rule F43)."""
        fields = self.fields_of(text)
        if "facility" not in fields:
            return False
        words = {str(fields[key]).strip("[]<>:").upper() for key in ("host", "app")}
        is_tagged = fields["app"] is not None and not str(fields["host"]).isdigit() and words.isdisjoint(LEVEL_WORDS)
        return is_tagged or fields["facility"] is not None


SYSLOG: Final = SyslogFormat(
    "syslog",
    [
        LineKind(
            _TIME + _FULL_TAIL,
            _TIME + _USUAL_TAIL,
            _fields(of_each("level", "word", level_of_word), *_TAG_FIELDS),
        ),
        LineKind(
            _PRIORITY + _TIME + _FULL_TAIL,
            _PRIORITY + _TIME + _USUAL_TAIL,
            _fields(_LEVEL_OF_PRIORITY, *_TAG_FIELDS),
        ),
        LineKind(
            _FULL_5424,
            _USUAL_5424,
            _fields(_LEVEL_OF_PRIORITY, *_WORD_FIELDS),
        ),
    ],
    compiled_as="render_syslog",
)
