"""Both ends as processes with TLS: certificates of both sides, replaced while the client follows a file; the proof."""

import shutil
import signal
import sys
from pathlib import Path

from tests.support.certificates import DAY, NOW, Identity, authority_file, files_of, issued
from tests.support.processes import ROOT, client, program, server
from tests.support.running import stored_lines, wait_until
from tests.support.shipping import append, assert_conserved


def replaced(identity: Identity, folder: Path, *names: str) -> None:
    """Replace a certificate and its key, as an operator does."""
    new = files_of(issued(*names, not_after=NOW + 20 * DAY), folder)
    shutil.copy(new.certificate, identity.certificate)
    shutil.copy(new.key, identity.key)


def test_lines_flow_and_are_proven_while_the_certificates_of_both_ends_are_replaced(tmp_path: Path) -> None:
    theirs = files_of(issued("127.0.0.1"), tmp_path / "server")
    ours = files_of(issued("web-1"), tmp_path / "client", "client")
    trusted = str(authority_file(tmp_path))
    own = ("--tls-cert", str(theirs.certificate), "--tls-key", str(theirs.key), "--tls-client-ca", trusted)
    tls = ("--tls", "--tls-ca", trusted, "--tls-cert", str(ours.certificate), "--tls-key", str(ours.key))
    log, data = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    with server(data, *own, folder=tmp_path) as running:
        where = ("--batch-size", "auto", "--state-dir", str(tmp_path / "state"), *tls)
        with client(log, running.port, "--mode", "continuous", *where, folder=tmp_path) as shipping:
            wait_until(lambda: len(stored_lines(data)) == 100, "the first lines are stored")
            replaced(theirs, tmp_path / "new server", "127.0.0.1")
            replaced(ours, tmp_path / "new client", "web-1")
            for end in (running.program, shipping):
                end.send(signal.SIGHUP)
                end.wait_for_stderr("loaded the changed TLS files for new connections")
            append(log, range(100, 200))
            wait_until(lambda: len(stored_lines(data)) == 200, "the other lines are stored")
            assert shipping.terminate() == 0
        words = ("verify", "--log-file", str(log), "--server-host", "127.0.0.1", "--server-port", str(running.port))
        with program(sys.executable, ROOT / "main.py", *words, *where[2:], folder=tmp_path) as verifying:
            assert verifying.wait() == 0
            assert "all there, once" in verifying.stdout
    assert_conserved(range(200), stored_lines(data))
