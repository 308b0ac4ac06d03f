"""Keeps the files of a running client's TLS up to date, and their numbers in its metrics.

The thread of `tls_files.watching` looks for changed files. Owns what a SIGHUP does to them: they are loaded again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from logferry.tls_files import TlsContext


@contextmanager
def watching_tls(endpoint: Endpoint, metrics: Metrics) -> Iterator[Callable[[], None]]:
    """Watch the files inside a `with`, if the endpoint has any; give a function that loads them again."""
    if endpoint.security is None:
        yield lambda: None
        return
    from logferry.tls_files import watching  # late: a client without TLS starts without the ssl module

    counted = 0

    def note(files: "TlsContext") -> None:
        nonlocal counted
        metrics.add(tls_reload_failures=files.failures - counted)
        metrics.set_tls_expires_at(files.expires_at)
        counted = files.failures

    with watching(endpoint.security.files, on_change=note) as load_again:
        yield load_again
