"""Formats with fixed kinds of lines: patterns render the usual lines of each kind in whole chunks."""

from typing import NoReturn

import pytest

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.line_format import LineKind
from logferry.rendering.renderer import renderer

ACCESS = '192.0.2.7 - frank [15/Jan/2024:08:23:45 +0000] "GET /a?b=c HTTP/1.1"'


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nginx", f"{ACCESS} 200 2326"),
        ("nginx", f"{ACCESS} 200 7".replace("GET", "ZAP").replace("1.1", "9.0")),
        ("nginx", f'{ACCESS} 599 12 "" "" more'),
        ("nginx", f'{ACCESS} 499 0 "https://example.com/" "curl/8.5"'),
        ("apache", f'{ACCESS} 301 - "-" "Mozilla/5.0 (X11)" more'),
        ("apache", f"{ACCESS} 200 2326".replace("15/Jan", "1/Zzz")),
        ("syslog", "Jan 15 08:23:45 web-1 sshd[4711]: message"),
        ("syslog", "<38>Jan 15 08:23:45 web-1 last message repeated 2 times"),
        ("syslog", "Jan 15 08:23:45 web-1 sshd:"),
        ("syslog", '<165>1 2024-01-15T08:23:45Z web-1 app 4711 ID47 [a@1 b="c"] message'),
        ("syslog", "<165>1 - - - - - - \ufeffmessage"),
        ("apache", f'shop.example:80 {ACCESS} 403 332 "-" "pump/1.0"'),
        ("apache", "[Mon Jan 15 08:23:45.123456 2024] [:error] [pid 811] pump.php is missing"),
        ("auditd", "type=LOGIN msg=audit(1772622733.415:4063): pid=8 uid=0 msg='op=x'"),
        ("klog", 'I0115 08:23:45.123456       1 pump.go:123] "Starting" name="x"'),
        ("cri", "2024-01-15T08:23:45.123456789Z stdout F message"),
        ("cri", "2024-01-15T08:23:45.123456789Z stderr F "),
    ],
)
def test_a_usual_line_does_not_go_one_by_one(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fields_of(self: LineKind, text: str) -> NoReturn:
        raise AssertionError(f"{text!r} went one by one")

    monkeypatch.setattr(LineKind, "fields_of", fields_of)
    rendered = renderer(RenderSpec(rules=CURRENT_RULES, format=name)).render(f"{line}\n".encode() * 3)
    assert rendered.lines == 3
