"""The report of `logferry check-config --serve` on a server's configuration. Never creates or locks anything."""

import os
from collections.abc import Iterator
from pathlib import Path

from logferry.cli.output import shown
from logferry.config import ServeSettings
from logferry.printable import quoted
from logferry.server.clients.identities.entries import read_identities


def folder_problems(settings: ServeSettings) -> list[str]:
    """Return why the server could not store anything in its data folder, as far as can be determined now."""
    folder = settings.data_dir
    nearest = _nearest_existing(folder)
    name = quoted(str(nearest))
    if not nearest.is_dir():
        return [f"--data-dir: {name} is not a directory"]
    if not os.access(nearest, os.W_OK | os.X_OK):
        return [f"--data-dir: this user may not write into {name}; choose another folder or change its owner"]
    return []


def check_server_report(settings: ServeSettings) -> str:
    """Return the summary: where the server would listen and store lines, what an ack would promise, and the limits."""
    return "\n".join([f"OK: {shown(settings.config or 'the configuration is valid')}", *_lines(settings)])


def _lines(settings: ServeSettings) -> Iterator[str]:
    state = "exists" if settings.data_dir.is_dir() else "does not exist yet; the server creates it"
    for url in settings.listen_urls:
        yield f"listen      {shown(url.host)} port {url.port or 'chosen at start'}{' (TLS)' * url.is_tls}"
    if settings.clients:
        yield f"login       {len(read_identities(settings.clients))} clients, by {shown(settings.clients)}"
    elif settings.tls_client_ca:
        yield f"login       with TLS, a certificate of an authority in {shown(settings.tls_client_ca)}"
    if not settings.clients and not (settings.tls_client_ca and all(url.is_tls for url in settings.listen_urls)):
        without = " without TLS" * (settings.tls_client_ca is not None)
        yield f"login       none{without}: everybody who can reach this address can store lines under any host name"
    yield f"data        {shown(settings.data_dir)} ({state})"
    yield f"durability  {settings.durability}"
    yield f"accept      {settings.accept}"
    yield f"retention   {_retention(settings)}"
    yield f"clients     at most {settings.max_connections}, each dropped after {settings.idle_timeout:g} s of silence"
    yield f"memory      at most {settings.memory_limit_bytes} bytes that are not stored yet"
    yield (
        f"sizes       lines up to {settings.max_record_bytes} bytes, frames up to {settings.max_frame_bytes}, "
        f"inflated up to {settings.max_inflated_bytes}; segments of {settings.segment_bytes}"
    )


def _retention(settings: ServeSettings) -> str:
    limits = [
        *([f"at most {settings.retention_bytes} bytes"] if settings.retention_bytes else []),
        *([f"for {settings.retention_days} days"] if settings.retention_days else []),
    ]
    return ", ".join(limits) or "everything is kept"


def _nearest_existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink())
