"""The files of TLS: what is wrong with them, what happens when they change, and when they expire."""

import logging
import os
import shutil
import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from logferry import tls_files
from logferry.errors import ConfigError
from logferry.tls_files import DAY_S, TlsContext, TlsFiles, expiry_problems, watching
from tests.support.certificates import DAY, NOW, Identity, authority_file, files_of, issued
from tests.support.running import wait_until


def empty() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def of(identity: Identity) -> TlsFiles:
    return TlsFiles(identity.certificate, identity.key)


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return files_of(issued("log.example"), tmp_path)


def expiring(folder: Path, not_after: datetime, name: str = "server") -> Identity:
    return files_of(issued("log.example", not_after=not_after), folder, name)


def problem_of(files: TlsFiles) -> str:
    with pytest.raises(ConfigError) as caught:
        TlsContext(files, empty)
    assert len(caught.value.problems) == 1
    return str(caught.value)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_files_that_fit_are_loaded(identity: Identity, tmp_path: Path) -> None:
    files = TlsFiles(identity.certificate, identity.key, authority_file(tmp_path))
    holder = TlsContext(files, empty)
    assert holder.current.cert_store_stats()["x509_ca"] == 1
    assert holder.expires_at == int((NOW + 365 * DAY).timestamp())


def test_without_files_a_context_is_made_all_the_same() -> None:
    holder = TlsContext(TlsFiles(), empty)
    assert holder.expires_at == 0
    assert not holder.look()


def test_a_key_may_be_in_the_file_of_its_certificate(identity: Identity, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(identity.key.read_bytes() + identity.certificate.read_bytes())
    both.chmod(0o600)
    assert TlsContext(TlsFiles(both), empty).expires_at


def test_a_file_that_is_missing_is_named(identity: Identity) -> None:
    identity.key.unlink()
    assert problem_of(of(identity)) == f"--tls-key '{identity.key}': cannot be read: No such file or directory"


def test_a_key_of_another_certificate_is_named(identity: Identity, tmp_path: Path) -> None:
    other = files_of(issued("other.example"), tmp_path, "other")
    problem = problem_of(TlsFiles(identity.certificate, other.key))
    assert problem == f"--tls-key '{other.key}': the key does not belong to the certificate in '{identity.certificate}'"


def test_a_certificate_without_a_key_says_where_the_key_is_looked_for(identity: Identity) -> None:
    problem = problem_of(TlsFiles(identity.certificate))
    assert "there is no private key in PEM form in it (--tls-key names the file of the key)" in problem


def test_files_without_pem_are_named_with_the_option_of_their_end(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    files = TlsFiles(identity.certificate, identity.key, tmp_path / "empty.pem", authorities_option="--tls-client-ca")
    assert problem_of(files).startswith(f"--tls-client-ca '{tmp_path / 'empty.pem'}': there is no certificate")


def test_a_damaged_certificate_is_named(identity: Identity) -> None:
    identity.certificate.write_text("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n")
    assert f"--tls-cert '{identity.certificate}': a certificate in it is damaged" in problem_of(of(identity))


def test_an_encrypted_key_is_refused_and_nobody_is_asked(identity: Identity) -> None:
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    encryption = serialization.BestAvailableEncryption(b"secret")
    identity.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    assert ": the key is encrypted" in problem_of(of(identity))


def test_nothing_but_files_is_read(identity: Identity, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", tmp_path):
        assert problem_of(TlsFiles(identity.certificate, place)) == f"--tls-key '{place}': it must be a file"


def test_a_key_that_others_may_read_is_warned_of(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    TlsContext(of(identity), empty)
    assert not caplog.records
    identity.key.chmod(0o644)
    TlsContext(of(identity), empty)
    assert [record.message for record in caplog.records] == [
        f"other users may open '{identity.key}', which holds a private key: chmod o-rwx"
    ]


# --- changes ----------------------------------------------------------------------------------------------------------


def test_changed_files_make_a_new_context(identity: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    holder = TlsContext(of(identity), empty)
    first = holder.current
    assert not holder.look()
    expiring(tmp_path, NOW + 20 * DAY)
    assert holder.look()
    assert holder.current is not first
    assert holder.expires_at == int((NOW + 20 * DAY).timestamp())
    assert caplog.text.count("loaded the changed TLS files") == 1
    assert not holder.look()


def test_a_file_that_is_replaced_by_a_link_elsewhere_is_noticed(identity: Identity, tmp_path: Path) -> None:
    """As Kubernetes replaces secrets: the name stays, what it points to changes."""
    new = expiring(tmp_path / "new", NOW + 20 * DAY)
    holder = TlsContext(of(identity), empty)
    for old, target in ((identity.certificate, new.certificate), (identity.key, new.key)):
        old.unlink()
        old.symlink_to(target)
    assert holder.look()
    assert holder.expires_at == int((NOW + 20 * DAY).timestamp())


BREAKS: dict[str, Callable[[Identity], object]] = {
    "missing": lambda identity: identity.key.unlink(),
    "another key": lambda identity: identity.key.write_bytes(issued("other.example").private_key_pem.bytes()),
    "empty": lambda identity: identity.certificate.write_bytes(b""),
}


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS)
def test_broken_files_leave_the_old_context_and_are_reported_once(
    identity: Identity, break_it: Callable[[Identity], object], caplog: pytest.LogCaptureFixture
) -> None:
    holder = TlsContext(of(identity), empty)
    first, expires_at = holder.current, holder.expires_at
    break_it(identity)
    for _ in range(5):
        holder.look()
    assert (holder.current, holder.expires_at, holder.failures) == (first, expires_at, 1)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "the old ones stay in force: --tls-" in record.message


def test_certificate_and_key_may_be_replaced_one_after_the_other(
    identity: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = expiring(tmp_path / "new", NOW + 20 * DAY)
    holder = TlsContext(of(identity), empty)
    shutil.copy(new.certificate, identity.certificate)
    assert not holder.look(), "the key is not there yet"
    shutil.copy(new.key, identity.key)
    assert holder.look()
    assert (holder.failures, caplog.text) == (0, "")


def test_a_requested_reload_reports_the_failure_at_once(identity: Identity) -> None:
    holder = TlsContext(of(identity), empty)
    identity.key.unlink()
    assert holder.look(is_requested=True)
    assert holder.failures == 1


def test_files_that_are_mended_are_used(identity: Identity, tmp_path: Path) -> None:
    holder = TlsContext(of(identity), empty)
    identity.key.unlink()
    holder.look(is_requested=True)
    files_of(issued("log.example"), tmp_path)
    assert holder.look()
    assert holder.failures == 1


def test_a_thread_looks_and_notifies(identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_files, "LOOK_S", 0.01)
    seen: list[int] = []
    with watching(TlsContext(of(identity), empty), on_change=lambda holder: seen.append(holder.expires_at)):
        wait_until(lambda: len(seen) == 1, "it has notified at first")
        expiring(tmp_path, NOW + 20 * DAY)
        wait_until(lambda: seen[-1] == int((NOW + 20 * DAY).timestamp()), "it has noticed the change")


def test_a_request_makes_the_thread_look_at_once(identity: Identity) -> None:
    holder = TlsContext(of(identity), empty)
    first = holder.current
    with watching(holder, on_change=lambda _: None) as look_again:
        look_again()
        wait_until(lambda: holder.current is not first, "it has loaded the files")


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_a_certificate_that_expires_soon_is_warned_of_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [NOW.timestamp()]
    files = of(expiring(tmp_path, NOW + 20 * DAY))
    holder = TlsContext(files, empty, clock=lambda: now[0])
    warnings = []
    for day in range(25):
        now[0] = NOW.timestamp() + day * DAY_S + 60
        for _ in range(3):
            holder.look()
        warnings.append([record.message for record in caplog.records])
        caplog.clear()
    assert [len(found) for found in warnings] == [0] * 6 + [1] * 19
    assert warnings[6][0].startswith(f"the certificate '{files.certificate}' expires at ")
    assert warnings[20][0].startswith(f"the certificate '{files.certificate}' expired at ")


def test_a_certificate_that_is_not_valid_now_is_a_problem(tmp_path: Path) -> None:
    files = of(files_of(issued("log.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY), tmp_path))
    (problem,) = expiry_problems(files, NOW.timestamp())
    assert problem.startswith(f"--tls-cert '{files.certificate}': the certificate of ")
    assert " expired at " in problem
    (problem,) = expiry_problems(files, (NOW - 20 * DAY).timestamp())
    assert " is not valid before " in problem
    assert expiry_problems(files, (NOW - 2 * DAY).timestamp()) == []


def test_authorities_that_have_expired_are_a_problem_only_if_all_have(tmp_path: Path) -> None:
    path = authority_file(tmp_path)
    assert expiry_problems(TlsFiles(authorities=path), NOW.timestamp()) == []
    assert expiry_problems(TlsFiles(authorities=path), NOW.timestamp() + 365 * 2000 * DAY_S) != []
