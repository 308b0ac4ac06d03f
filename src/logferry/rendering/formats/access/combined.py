r"""Access logs in the common and the combined format of nginx and Apache (docs/protocol.md, rules F23 and F24).

    192.0.2.7 - frank [15/Jan/2024:08:23:45 +0000] "GET /a?b HTTP/1.1" 200 2326         common
    ... "https://example.com/" "curl/8.5"                                               combined: the same and this
    shop.example:80 192.0.2.7 - frank [15/Jan/2024 ...                                  vhost_combined: a host before it

Anything after the combined fields (most configurations add some) is kept as one field. Escapes of the servers (`\x22`,
`\"`) stay as written.
"""

from typing import Final

from logferry.rendering.engine.fields import Field, if_given, number_or_null, of_each, text, text_or_null
from logferry.rendering.engine.line_format import LineKind
from logferry.rendering.formats.access.parts import LEVEL_OF_STATUS

_QUOTED: Final = r'(?:[^"\\]++|\\.)*+'
_REQUEST: Final = (
    rf'(?P<request>(?P<method>[A-Z]++) (?P<path>(?:[^" \\]++|\\.)++) (?P<protocol>HTTP/[0-9.]++)(?=")|{_QUOTED})'
)
_ACCESS: Final = (
    r"(?P<remote_addr>[^ ]++) (?:-|(?P<ident>[^ ]++)) (?P<user>[^ ]++) \[(?P<timestamp>[^\]]++)\]"
    rf' "{_REQUEST}" (?P<status>[0-9]{{3}}) (?P<bytes>0|[1-9][0-9]{{0,17}}|-)'
    rf'(?: "(?P<referer>{_QUOTED})" "(?P<user_agent>{_QUOTED})")?+(?: (?P<rest>.++))?+'
)

# In escaped text a quote is `\"`, so a run without backslashes has neither quotes nor escapes; a line with any of them
# inside its quotes is not usual. A lookahead to the status checks the path for this, which is quicker.
_USUAL_ACCESS: Final = (
    r"(?P<remote_addr>[!-~]++) - (?P<user>[!-~]++) \[(?P<timestamp>[0-9]++/[A-Z][a-z]++/[0-:]++ [+-][0-9]++)\]"
    r' \\"(?=[^\\]++\\" [1-9])(?P<request>(?P<method>[A-Z]++) (?P<path>[^ ]++) (?P<protocol>HTTP/[0-9.]++))\\"'
    r" (?P<status>[1-9][0-9][0-9]) (?P<bytes>[1-9][0-9]{0,17}|0|-)"
    r'(?: \\"(?P<referer>[^\\]*+)\\" \\"(?P<user_agent>[^\\]*+)\\"|(?! \\"))(?: (?P<rest>[^\n]++))?+'
)


_FIELDS: Final[list[Field]] = [
    LEVEL_OF_STATUS,
    text("message", "request"),
    text("timestamp"),
    text_or_null("remote_addr"),
    if_given("ident"),
    text_or_null("user"),
    if_given("method"),
    if_given("path"),
    if_given("protocol"),
    of_each("status", "status", lambda status: int(status or 0)),
    number_or_null("bytes"),
    text_or_null("referer"),
    text_or_null("user_agent"),
    if_given("rest"),
]
ACCESS_LOG: Final = LineKind(_ACCESS, _USUAL_ACCESS, _FIELDS)

# The name of a virtual host, perhaps with its port, before the client. None of the words before the timestamp begins
# with a bracket: otherwise one line might be of both kinds.
_HOST: Final = r"(?P<vhost>(?!\[)[^ ]++) "
_AFTER_HOST: Final = r"(?P<remote_addr>(?!\[)[^ ]++) (?:-|(?P<ident>(?!\[)[^ ]++)) (?P<user>(?!\[)[^ ]++) \["
_BEFORE_TIMESTAMP: Final = r"(?P<remote_addr>[^ ]++) (?:-|(?P<ident>[^ ]++)) (?P<user>[^ ]++) \["

VIRTUAL_HOST_LOG: Final = LineKind(
    _HOST + _ACCESS.replace(_BEFORE_TIMESTAMP, _AFTER_HOST, 1),
    r"(?P<vhost>(?!\[)[!-~]++) (?!\[)(?=[!-~]++ - [!-Z^-~])" + _USUAL_ACCESS,
    [*_FIELDS[:3], text("vhost"), *_FIELDS[3:]],
)
