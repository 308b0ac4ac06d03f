"""`logferry hosts`: which hosts have lines in a store, how many, and when the last ones came."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from logferry.cli.commands import EXIT_OK
from logferry.cli.output import as_json, print_result, shown, shown_text, size_text, table
from logferry.cli.parsing import RaisingParser
from logferry.cli.reading.options import add_store, data_dir_of, unmatched
from logferry.cli.reading.stats_report import local_time, utc_time
from logferry.errors import LogferryError
from logferry.reading.counting.client_states import State, client_states, is_present, state_in_utc
from logferry.reading.counting.hosts import Host, hosts_of
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log

_EPILOG: Final = """exit codes: 0 printed; 1 there is no store, or no such host; 2 the command line is wrong

How far a client is behind, and its version, are what it last said to the server, which keeps that in clients.json;
unknown if it has not said anything for five minutes. `logferry status` on its machine says more.
"""


def parser() -> RaisingParser:
    """Return the parser of the command line."""
    made = RaisingParser("hosts", "List the hosts with stored lines.", _EPILOG, usage="%(prog)s [options] [HOST ...]")
    made.add_argument("hosts", nargs="*", metavar="HOST", help="only these hosts: web-1, 'web-*'")
    made.add_argument("--json", action="store_true", help="print the result as JSON, with times in UTC")
    add_store(made, or_console=True)
    return made


def run(words: Sequence[str]) -> int:
    """Print the hosts; return the exit code. Raises ConfigError, LogferryError and OSError."""
    given = vars(parser().parse_args(list(words)))
    selection = Selection(hosts=tuple(given.get("hosts", ())))
    hosts = _remote_hosts(given, selection) if given.get("url") else _hosts(given, selection)
    if given.get("json"):
        print_result(hosts_as_json(hosts))
    else:
        print_result(hosts_as_table(hosts, now=round(time.time() * 1000), is_terminal=sys.stdout.isatty()))
    return EXIT_OK


def _hosts(given: Mapping[str, Any], selection: Selection) -> Sequence[Host]:
    data_dir = data_dir_of(given)
    with closing(DiskLogs(data_dir)) as stored:
        if sentence := unmatched(selection, stored.logs()):
            raise LogferryError(sentence)
        found = ((log, size) for log, size in stored.sizes() if selection.has_log(log))
        return hosts_of(found, client_states(data_dir))


def _remote_hosts(given: Mapping[str, Any], selection: Selection) -> Sequence[Host]:
    from logferry.cli.reading.remote import Console  # late: only this needs HTTP

    hosts = Console(given, selection).hosts()
    if sentence := unmatched(selection, [Log(host.name, host.name, "") for host in hosts]):
        raise LogferryError(sentence)
    return [host for host in hosts if selection.has_host(host.name)]


def hosts_as_table(hosts: Sequence[Host], *, now: int, is_terminal: bool) -> str:
    """Return a row for each host, and the sums."""
    rows: list[tuple[str, ...]] = [("host", "files", "lines", "size", "last received", "behind", "client")]
    rows += [_row(host, now, is_terminal=is_terminal) for host in hosts]
    files, lines, size = (sum(numbers) for numbers in _numbers(hosts))
    return "\n".join([*table(rows), f"{len(hosts):,} hosts, {files:,} files, {lines:,} lines, {size_text(size)}"])


def _numbers(hosts: Sequence[Host]) -> tuple[list[int], ...]:
    return [host.files for host in hosts], [host.lines for host in hosts], [host.bytes for host in hosts]


def _row(host: Host, now: int, *, is_terminal: bool) -> tuple[str, ...]:
    return (
        shown(host.name),
        f"{host.files:,}" if is_terminal else str(host.files),
        f"{host.lines:,}" if is_terminal else str(host.lines),
        size_text(host.bytes) if is_terminal else str(host.bytes),
        _last_received(host.last_received, now, is_terminal=is_terminal),
        _behind(host.client, now),
        _client(host.client, now, is_terminal=is_terminal),
    )


def _behind(client: State, now: int) -> str:
    """Return how much a client has not delivered, as it said."""
    if not is_present(client, now):
        return "unknown"
    if client["behind_since"] is None:
        return "no"
    return f"{size_text(client['unread_bytes'] + client['unacked_bytes'])} for {duration(now - client['behind_since'])}"


def _client(client: State, now: int, *, is_terminal: bool) -> str:
    """Return the version of a client, when it was heard of last, and what it waits for."""
    if not client:
        return "unknown"
    waits = f", waits for {shown_text(client['waits_for'], 60)}" if client["waits_for"] else ""
    when = ago(now - client["at"]) if is_terminal else local_time(client["at"]).isoformat(timespec="seconds")
    return f"{shown_text(client['version'], 30)}, {when}{waits}"


def _last_received(moment: int | None, now: int, *, is_terminal: bool) -> str:
    if moment is None:
        return "unknown"
    local = local_time(moment)
    return f"{local:%Y-%m-%d %H:%M:%S} ({ago(now - moment)})" if is_terminal else local.isoformat(timespec="seconds")


def ago(milliseconds: int) -> str:
    """Return how long ago something was."""
    return f"{duration(milliseconds)} ago"


def duration(milliseconds: int) -> str:
    """Return a length of time in its largest unit."""
    seconds = max(milliseconds // 1000, 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def hosts_as_json(hosts: Sequence[Host]) -> str:
    """Return a list of objects, one per host; times are in UTC."""
    return as_json([_as_json(host) for host in hosts])


def _as_json(host: Host) -> dict[str, Any]:
    times = {name: getattr(host, name) for name in ("first_received", "last_received")}
    return {
        "host": host.name,
        "files": host.files,
        "segments": host.segments,
        "lines": host.lines,
        "bytes": host.bytes,
        **{name: "" if time is None else utc_time(time).isoformat() for name, time in times.items()},
        "client": _client_as_json(host.client),
    }


def _client_as_json(client: State) -> dict[str, Any]:
    """Return what a client said; of one that has said nothing, `at` is empty."""
    texts = ("at", "version", "behind_since", "waits_for")
    said = state_in_utc(client)
    numbers = {name: said.get(name, 0) for name in ("unread_bytes", "unacked_bytes", "unacked_lines")}
    return {**{name: said.get(name) or "" for name in texts}, **numbers}
