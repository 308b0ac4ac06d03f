"""The plain format by rules 2: timestamps and levels of the programs that people run (docs/protocol.md, F40 to F42)."""

import pytest

from logferry.rendering.formats.text.plain import PLAIN
from tests.support.formats import record, records, unknown

T = "2026-03-04 11:12:13"


def plain(line: str) -> tuple[object, object, object]:
    """Return level, timestamp and message of a line."""
    fields = record("plain", line)
    assert list(fields) == ["level", "message", "timestamp"]
    return fields["level"], fields["timestamp"], fields["message"]


@pytest.mark.parametrize(
    "timestamp",
    [
        *(T, f"{T},456", f"{T}.456", f"{T}.456789", "2026-03-04T11:12:13", "2026-03-04T11:12:13.456789012Z"),
        *(f"{T}Z", f"{T} Z", f"{T} UTC", f"{T} +0100", f"{T}+01", f"{T} +01:00", f"{T}-0330", f"{T} GMT+3"),
        *(f"{T}.456 CET", f"{T} PDT", f"{T} UTC+02:00", f"{T} +0100 CET", f"{T} PM", f"{T}:456"),
        *("2026/03/04 11:12:13", "2026/03/04 11:12:13.456789", "2026.03.04 11:12:13.456789", "26/03/04 11:12:13"),
        *("04-Mar-2026 11:12:13.456", "04/Mar/2026:11:12:13 +0000", "04 Mar 2026 11:12:13.456", "4 Mar 2026, 11:12:13"),
        *(
            "Mar  4 11:12:13",
            "Mar 14 11:12:13.456",
            "Mar 04 2026 11:12:13",
            "2026 Mar  4 11:12:13",
            "Mar  4 11:12:13 CET",
        ),
        *("Wed Mar  4 11:12:13 2026", "Wed Mar 04 11:12:13.456789 2026", "Wed Mar  4 11:12:13 CET 2026"),
        *("Wed, 04 Mar 2026 11:12:13 +0100", "Mar 04, 2026 11:12:13 PM", "3/4/2026 1:02:03 AM", "03/04/2026 11:12:13"),
        *("04.03.2026 11:12:13", "04-03-2026 11:12:13", "260304 11:12:13", "260304  1:02:03", "2026-03-04  1:02:03"),
    ],
)
def test_a_timestamp_is_recognised_and_kept_as_written(timestamp: str) -> None:
    """Rule F40."""
    assert plain(f"{timestamp} Pump starts") == ("UNKNOWN", timestamp, "Pump starts")
    assert plain(f"[{timestamp}] Pump starts") == ("UNKNOWN", timestamp, "Pump starts")
    assert plain(f"{timestamp} WARN pump hot") == ("WARN", timestamp, "pump hot")
    assert plain(f"[{timestamp}] [error] pump off") == ("ERROR", timestamp, "pump off")
    assert plain(f"{timestamp} [main] INFO pump on") == ("INFO", timestamp, "[main] INFO pump on")
    assert plain(timestamp) == ("UNKNOWN", timestamp, "")


@pytest.mark.parametrize("timestamp", ["1772622733", "1772622733.456", "1772622733456", "11:12:13.456", "11:12:13"])
def test_what_may_be_any_number_is_a_timestamp_only_with_a_level(timestamp: str) -> None:
    """Rule F40."""
    assert plain(f"{timestamp} WARN pump hot") == ("WARN", timestamp, "pump hot")
    assert plain(f"{timestamp} [main] ERROR pump - off") == ("ERROR", timestamp, "[main] ERROR pump - off")
    assert plain(f"[{timestamp}] [INFO] on") == ("INFO", timestamp, "on")
    assert plain(f"{timestamp} pumps")[:2] == ("UNKNOWN", None)


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        (f"{T} INFO pump", "INFO", "pump"),
        (f"{T} info pump", "INFO", "pump"),
        (f"{T}\terror\tpump", "ERROR", "pump"),
        (f"{T}   INFO   pump", "INFO", "  pump"),
        (f"{T}\tINFO\tpump", "INFO", "pump"),
        (f"{T} INFO", "INFO", ""),
        (f"{T} INFO: pump", "INFO", "pump"),
        (f"{T} error: pump", "ERROR", "pump"),
        (f"{T} Warning: pump", "WARNING", "pump"),
        (f"{T} [info] pump", "INFO", "pump"),
        (f"{T} [Note] pump", "NOTE", "pump"),
        (f"{T} [WARN ] pump", "WARN", "pump"),
        (f"{T} [  ERROR] pump", "ERROR", "pump"),
        (f"{T} [ERROR]: pump", "ERROR", "pump"),
        (f"{T} [E] pump", "ERROR", "pump"),
        (f"{T} [DBG] pump", "DBG", "pump"),
        (f"{T} INF pump", "INF", "pump"),
        (f"{T} FINEST [main] pump", "FINEST", "[main] pump"),
        (f"{T} - INFO - pump", "INFO", "- pump"),
        (f"{T}|INFO|Shop|pump", "INFO", "|Shop|pump"),
        (f"{T} | INFO     | shop:run:12 - pump", "INFO", "    | shop:run:12 - pump"),
        (f"{T}:INFO:root:pump", "INFO", "root:pump"),
        (f"[{T}][INFO ][o.e.n.Node] pump", "INFO", "[o.e.n.Node] pump"),
        (f"[{T} INF] pump", "INF", "pump"),
        ("[11:12:13 WRN] pump", "WRN", "pump"),
        (f"{T} <0.222.0> pump", "UNKNOWN", "<0.222.0> pump"),
        # after something else: copied, and nothing but the timestamp is taken out
        (f"{T} [main] INFO  x", "INFO", "[main] INFO  x"),
        (f"{T} [pool-1-thread-2] [x] WARN shop - y", "WARN", "[pool-1-thread-2] [x] WARN shop - y"),
        (f"{T} - shop.pump - ERROR - off", "ERROR", "shop.pump - ERROR - off"),
        (f"{T} - root - WARNING - hot", "WARNING", "root - WARNING - hot"),
        (f"{T} shop.pump INFO on", "INFO", "shop.pump INFO on"),
        (f"{T} pump.go:12: ERROR off", "ERROR", "pump.go:12: ERROR off"),
        (f"{T} 25746 INFO pump.wsgi on", "INFO", "25746 INFO pump.wsgi on"),
        (f"{T} [811] bob@shop FATAL:  x", "FATAL", "[811] bob@shop FATAL:  x"),
        (f"{T} [811] LOG:  x", "LOG", "[811] LOG:  x"),
        (f"{T} local.ERROR: off", "ERROR", "local.ERROR: off"),
        (f"[{T}] app.WARNING: hot", "WARNING", "app.WARNING: hot"),
        (f"[{T}] {{task.py:12}} INFO - on", "INFO", "{task.py:12} INFO - on"),
        (f"{T} [ 811 ] {{}} <Error> Application: off", "ERROR", "[ 811 ] {} <Error> Application: off"),
        (f"[{T}] [core:error] [pid 811] off", "ERROR", "[pid 811] off"),
        (f"[{T}] [:error] [pid 811] off", "ERROR", "[pid 811] off"),
        ("[11:12:13] [Server thread/INFO]: on", "INFO", "on"),
        (f"{T} | Pump worker | ERROR | off", "ERROR", "Pump worker | ERROR | off"),
        (f"{T} (MainThread) ERROR off", "ERROR", "(MainThread) ERROR off"),
        (f"{T}.456 1 140 INFO pump [-] on", "INFO", "1 140 INFO pump [-] on"),
        ("Mar  4 11:12:13 web-1 app[7]: ERROR off", "ERROR", "web-1 app[7]: ERROR off"),
    ],
)
def test_a_level_is_found_where_layouts_have_it(line: str, level: str, message: str) -> None:
    """Rules F41 and F42."""
    assert plain(line)[::2] == (level, message)


@pytest.mark.parametrize(
    ("line", "level", "timestamp"),
    [
        ("WARNING:root:pump hot", "WARNING", None),
        ("INFO:     192.0.2.7:1 - pump", "INFO", None),
        ("Error: pump is dry", "ERROR", None),
        ("[INFO] pump", "INFO", None),
        ("[ERROR   ] pump", "ERROR", None),
        ("INFO - pump on", "INFO", None),
        ("INFO  [main] pump on", "INFO", None),
        (f"INFO  [main] {T},456 Pump.java:12 - on", "INFO", f"{T},456"),
        (f"ERROR {T} pump off", "ERROR", T),
        (f"[WARN] {T} pump hot", "WARN", T),
        ("<info>  [1772622733.456] pump", "INFO", None),
        ("I, [2026-03-04T11:12:13.456789 #811]  INFO -- : pump", "INFO", "2026-03-04T11:12:13.456789"),
        ("811:M 04 Mar 2026 11:12:13.456 * pump", "NOTICE", "04 Mar 2026 11:12:13.456"),
        ("811:C 04 Mar 2026 11:12:13.456 # pump", "WARNING", "04 Mar 2026 11:12:13.456"),
        ("811:M 04 Mar 2026 11:12:13.456 - pump", "UNKNOWN", "04 Mar 2026 11:12:13.456"),
        ("[811] 04 Mar 11:12:13.456 . pump", "DEBUG", "04 Mar 11:12:13.456"),
        ("[I 2026-03-04 11:12:13.456 ServerApp] pump", "INFO", f"{T}.456"),
        ("[E 260304 11:12:13 web:2063] pump", "ERROR", "260304 11:12:13"),
        (f"[{T},456: WARNING/MainProcess] pump", "WARNING", f"{T},456"),
        ("176 [main] INFO  shop.Pump - on", "INFO", None),
    ],
)
def test_a_line_that_does_not_begin_with_its_timestamp_stays_whole(
    line: str, level: str, timestamp: str | None
) -> None:
    """Rule F42."""
    assert plain(line) == (level, timestamp, line)


@pytest.mark.parametrize(
    "message",
    [
        *("Starting the pump", "Pump runs", "PUMP RUNS", "[main] pump runs", "CETUS pump", "ABC pump", "X: pump"),
        *("Debug mode is on", "Warning lights are off", "Fatal flaw", "Info desk", "Note that it runs", "Fine: 5 EUR"),
        *(
            "Note: it runs",
            "System: ready",
            "SYSTEM started",
            "LOG rotated",
            "NOTE that",
            "Log rotated",
            "INFORMATION x",
        ),
        *(
            "errors are gone",
            "alert was sent",
            "notice given",
            "Got ERROR from the pump",
            "the pump: ERROR",
            "INFOX pump",
        ),
        *("ERROR_CODE=5", "ERROR::Base", "error::Base", "WARN-pump", "I am a pump", "E = mc2", "A pump", "[A] pump"),
        *("[X] pump", "(error) pump", "[errors] pump", "[info pump] x", "errors: 5", "INFO.txt was read", "DEBUG=1"),
        *("I NETWORK", "-12 degrees", "0 errors, 1 warning", "=INFO REPORT====", "http://error: x", "ERROR//x"),
    ],
)
def test_a_word_that_is_not_a_level_is_part_of_the_message(message: str) -> None:
    """Rule F41: a wrong level is worse than none."""
    assert plain(f"{T} {message}") == ("UNKNOWN", T, message)


@pytest.mark.parametrize(
    "line",
    [
        *("Starting the pump", "12:13 pump", "1772622733 pumps", "11:12:13 elapsed", "2026-03-04 pump", "2026-03-04"),
        *("Error", "error pump", "Note: pump", "INFO", "FATAL EXCEPTION", "ERROR 1045 (28000)x", "[A] x", "[E] x"),
        *("11:12 INFO", "2026-03-04 11:12:13x", "12026-03-04 11:12:13 INFO x", " 2026-03-04 11:12:13 INFO x"),
        *("\tat shop.Pump.run(Pump.java:12)", "TypeError: x", "[    0.000000] Linux", "Mars  4 11:12:13 x", "{}", "I"),
        *('{"level":"error"}', "System: x", "LOG rotated", "[errors] x", "std::error: x", "ERROR::x", "<b> x"),
    ],
)
def test_any_other_line_is_shipped_whole(line: str) -> None:
    """Rule F5."""
    assert record("plain", line) == unknown(line)


def test_colours_do_not_hide_a_level_or_a_timestamp() -> None:
    """Rule F42: the message stays as it was written."""
    assert plain(f"{T} \x1b[32mINFO\x1b[0m pump \x1b[1mon\x1b[0m") == ("INFO", T, "pump \x1b[1mon\x1b[0m")
    assert plain(f"\x1b[2m{T}\x1b[0m \x1b[31mERROR\x1b[0m pump") == ("ERROR", T, "pump")
    assert plain(f"\x1b[2m{T}\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mshop\x1b[0m: x")[:2] == ("INFO", T)
    assert plain(f"{T} [\x1b[33mWARN\x1b[0m] pump") == ("WARN", T, "pump")
    assert plain(f"{T} [main] \x1b[33mWARN\x1b[0m pump")[0] == "WARN"
    assert plain("\x1b[32mINFO\x1b[0m:     pump")[0] == "UNKNOWN"


def test_words_of_the_user_are_levels_however_they_are_written() -> None:
    format_ = PLAIN.with_levels(("AUDIT", "INFORMATION"))
    for line in (f"{T} AUDIT x", f"{T} audit x", f"{T} [Audit] x", f"{T} audit: x", f"{T} [main] AUDIT x"):
        assert format_.fields_of(line)["level"] == "AUDIT"
        assert format_.render(line.encode() + b"\n", b"\n").payload == format_.record_of(line).encode() + b"\n"
        assert PLAIN.fields_of(line)["level"] == "UNKNOWN"
    assert format_.fields_of(f"{T} INFO x")["level"] == "INFO"
    assert format_.fields_of(f"{T} audits x")["level"] == "UNKNOWN"
    assert PLAIN.with_levels(()) is PLAIN


def test_both_ways_agree_on_what_json_escapes() -> None:
    lines = [
        f'{T} ["main"] INFO a\\b "c"\td',
        f"{T} [a\\n] WARN x",
        f"{T} [a\tb] WARN x",
        f"{T} (é \u2028) ERROR x",
        f"{T} \\ INFO x",
        f"{T}\\tINFO x",
        f"{T} [\x01] ERROR x",
        f"{T} INFO\\ x",
        f'{T} INFO"x',
        f'{T} "a" | INFO | x',
        f"{T} | a\tb | INFO | x",
        f"{T} | é | INFO | x",
        f"{T} \\u001b[32mINFO x",
        f"{T}\r",
    ]
    found = records("plain", *lines)
    assert [fields["level"] for fields in found[:4]] == ["INFO", "WARN", "WARN", "ERROR"]
