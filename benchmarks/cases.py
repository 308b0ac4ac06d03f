"""The measured ways to use the program, and the code that runs one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.accelerator import PURE, with_isal
from benchmarks.certificate import Certificate
from benchmarks.data import LogFile
from benchmarks.ends import (
    START_LIMIT_S,
    Environment,
    check_conservation,
    limit_s,
    nothing_kept,
    running_server,
    start_client,
    start_verifier,
    wait_until_stored,
)
from benchmarks.measure import BenchmarkError, Process, Usage
from benchmarks.receiving import running_receiver
from benchmarks.samples import FORMATS, SAMPLES

_LARGE: Final = ("--batch-size", "5000")


@dataclass(frozen=True, slots=True)
class Case:
    """One way to use the program. `flags` are the client's, `log` the name of what is shipped."""

    name: str
    flags: tuple[str, ...] = _LARGE
    log: str = "plain"
    durability: str = "fsync"
    is_following: bool = False
    is_verifying: bool = False  # measures `verify`, after the file was shipped
    has_server: bool = True  # otherwise a receiver acks and discards everything
    is_pure: bool = False  # without the compiled accelerator
    has_isal: bool = False  # with the extra isal
    is_encrypted: bool = False  # with TLS at both ends


CASES: Final = (
    Case("batch"),
    Case("tls", is_encrypted=True),
    Case("batch-pure", is_pure=True),
    Case("client-alone", has_server=False),
    Case("client-alone-gzip", (*_LARGE, "--compress"), has_server=False),
    Case("gzip", (*_LARGE, "--compress")),
    Case("gzip-isal", (*_LARGE, "--compress"), has_isal=True),
    Case("gzip-pure", (*_LARGE, "--compress"), is_pure=True),
    Case("resilient", (*_LARGE, "--resilient")),
    Case("backlog", (*_LARGE, "--mode", "continuous"), is_following=True),
    Case("raw", (*_LARGE, "--format", "raw"), log="raw"),
    *(Case(name, (*_LARGE, *sample.flags), log=name) for name, sample in SAMPLES.items()),
    *(
        Case(f"{name}-client-alone", (*_LARGE, *SAMPLES[name].flags), log=name, has_server=False)
        for name in (*FORMATS, "multiline")
    ),
    Case("many-files", log="many"),
    Case("verify", is_verifying=True),
    Case("plain-protocol", ("--ack", "line", *_LARGE)),
    Case("batch-auto", ("--batch-size", "auto")),
    Case("durability-os", durability="os"),
    Case("default", (), log="short"),
    Case("resilient-default", ("--resilient",), log="short"),
)
BIG: Final = Case("big", log="big")


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement. `sender` or `receiver` is None if it is only a load generator or a discarding receiver."""

    seconds: float
    sender: Usage | None = None
    receiver: Usage | None = None


def run_case(case: Case, log: LogFile, folder: Path) -> Run:
    """Ship `log` once. Raises BenchmarkError, also if the stored lines differ from the log's lines."""
    if not case.has_server:
        return _run_client_alone(case, log, folder)
    own = Certificate.made_in(folder) if case.is_encrypted else None
    flags = own.server_flags if own else ()
    environment = _environment(case)
    with running_server(folder, *flags, durability=case.durability, environment=environment) as (server, port):
        run = _ship(case, log, folder, server, port, own.client_flags if own else ())
        server.stop()
        check_conservation(log, folder)
    return run


def _environment(case: Case) -> Environment:
    if case.has_isal:
        return with_isal() or {}
    return PURE if case.is_pure else {}


def _ship(case: Case, log: LogFile, folder: Path, server: Process, port: int, security: Sequence[str] = ()) -> Run:
    before = server.cpu_s()
    with start_client(log, folder, port, *case.flags, *security, environment=_environment(case)) as client:
        if case.is_following:
            wait_until_stored(client, log, folder)
            seconds = time.monotonic() - client.started_at
            sender = client.stop()
        else:
            sender = client.wait(limit_s=limit_s(log))
            seconds = time.monotonic() - client.started_at
    if case.is_verifying:
        before = server.cpu_s()
        with start_verifier(log, folder, port, environment=_environment(case)) as verifier:
            sender = verifier.wait(limit_s=limit_s(log))
            seconds = time.monotonic() - verifier.started_at
    return Run(seconds, sender, Usage(server.cpu_s() - before, server.peak_bytes()))


def _run_client_alone(case: Case, log: LogFile, folder: Path) -> Run:
    """Ship to a receiver that acks and discards: the cost of the client alone."""
    with nothing_kept(folder), running_receiver(folder, "discarder") as (receiver, port):
        with start_client(log, folder, port, *case.flags, environment=_environment(case)) as client:
            sender = client.wait(limit_s=limit_s(log))
            seconds = time.monotonic() - client.started_at
        receiver.wait(limit_s=START_LIMIT_S)
        taken = receiver.wait_for_output(r"took (\d+) lines of (\d+) bytes\n", limit_s=START_LIMIT_S)
    if (int(taken[1]), int(taken[2])) != (log.stored.lines, log.bytes):
        raise BenchmarkError(f"{log.stored.lines} lines of {log.bytes} bytes were shipped, but the receiver {taken[0]}")
    return Run(seconds, sender)
