"""The TLS context of one end, made from its files, and made again when they change: for client and server.

Owns reading and watching these files: a certificate with its chain, its key, and the authorities that are trusted. A
changed file is used for new connections; one that is broken leaves the old context in force, is logged once with the
reason, and is counted. Must never decide how a context is used: the caller makes it empty (protocol versions, whether
peers are verified), this module loads the files into it. Contents of keys are never logged.

    holder = TlsContext(TlsFiles(certificate, key, client_ca, authorities_option="--tls-client-ca"), make_context)
    with watching(holder, on_change=set_the_metrics) as look_again:   # a thread; `look_again` is what SIGHUP calls
        ... holder.current ...                                        # for each new connection
"""

import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.errors import ConfigError, cause_of
from logferry.permissions import is_open_to_others
from logferry.printable import moment, printable, quoted
from logferry.small_files import NotAFile, file_stamp, read_small_file
from logferry.worker import Worker
from logferry.x509 import Certificate, read_certificate

logger = logging.getLogger(__name__)

# The files are looked at this often. Certificate and key are two files, replaced one after the other: a failure is
# reported when the same files still fail at the next look, within ten seconds of the change.
LOOK_S: Final = 3.0

DAY_S: Final = 24 * 3600
WARN_BEFORE_S: Final = 14 * DAY_S

# The authorities of a system have a quarter of a megabyte.
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024

_PEM_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.{1,90000}?-----END CERTIFICATE-----", re.DOTALL)
_PEM_KEY: Final = re.compile(rb"-----BEGIN (?:[A-Z]{2,12} )?PRIVATE KEY-----")

_TOO_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Which files an end has. Without a `key`, the file of the certificate holds it; `*_option` are for messages."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    certificate_option: str = "--tls-cert"
    key_option: str = "--tls-key"
    authorities_option: str = "--tls-ca"

    @property
    def key_file(self) -> Path | None:
        """The file that holds the key."""
        return self.key or self.certificate

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return tuple(path for path in (self.certificate, self.key, self.authorities) if path is not None)


class TlsContext:
    """A context, and what is known of the files that it was made from. Any thread may read; one lock guards `look`.

    `expires_at` is when the first certificate of this end's own chain expires, as a Unix time, 0 without a certificate;
    `failures` counts how often changed files could not be used.
    """

    def __init__(
        self,
        files: TlsFiles,
        make: Callable[[], ssl.SSLContext],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`make` returns a context without files. Raises ConfigError, with a sentence for each problem."""
        self._files = files
        self._make = make
        self._clock = clock
        self._looking = threading.Lock()
        self._settled = self._stamps()  # of the files that were loaded, or whose failure was reported
        self._failed: object = None  # stamps of files that could not be loaded at the last look
        self._warned_at = 0.0
        self.failures = 0
        self.expires_at = 0
        self.current = self._load()
        self._warn_of_expiry()

    def look(self, *, is_requested: bool = False) -> bool:
        """Look for changed files; return whether the context, or what is known of it, has changed.

        `is_requested`: somebody has asked for that (SIGHUP), so load the files even if they look the same, and report a
        failure at once. Reads small files: not for an event loop or an engine.
        """
        with self._looking:
            self._warn_of_expiry()
            stamps = self._stamps()
            if stamps == self._settled and not is_requested:
                return False
            try:
                self.current = self._load()
            except ConfigError as error:
                is_lasting, self._failed = stamps == self._failed, stamps
                if is_lasting or is_requested:
                    self._settled = stamps
                    self._report(error)
                return is_lasting or is_requested
            self._settled, self._failed = stamps, None
            expiry = f"; the certificate expires at {moment(self.expires_at)}" if self.expires_at else ""
            logger.info("loaded the changed TLS files for new connections%s", expiry)
            self._warned_at = 0.0
            self._warn_of_expiry()
            return True

    def _load(self) -> ssl.SSLContext:
        """Return a context with the files of now. Raises ConfigError."""
        context, expires_at, files = self._make(), 0, self._files
        if files.certificate is not None:
            chain = _load_chain(context, files)
            expires_at = min(certificate.not_after for certificate in chain)
        if files.authorities is not None:
            _load_authorities(context, files.authorities, files.authorities_option)
        self.expires_at = expires_at
        return context

    def _report(self, error: ConfigError) -> None:
        self.failures += 1
        for problem in error.problems:
            logger.error("the changed TLS files cannot be used, the old ones stay in force: %s", problem)

    def _warn_of_expiry(self) -> None:
        """Log once a day that the certificate expires soon, or has expired."""
        now = self._clock()
        if not self.expires_at or now < self.expires_at - WARN_BEFORE_S or now < self._warned_at + DAY_S:
            return
        self._warned_at = now
        name = quoted(str(self._files.certificate))
        if now < self.expires_at:
            logger.warning("the certificate %s expires at %s: replace the file", name, moment(self.expires_at))
        else:
            logger.error("the certificate %s expired at %s: replace the file", name, moment(self.expires_at))

    def _stamps(self) -> tuple[object, ...]:
        return tuple(file_stamp(path) for path in self._files.all)


@contextmanager
def watching(holder: TlsContext, *, on_change: Callable[[TlsContext], object]) -> Iterator[Callable[[], None]]:
    """Look at the files every few seconds inside a `with`, in a thread that calls `on_change` first and after changes.

    Gives a function that looks at once, as SIGHUP requests; not for signal handlers themselves.
    """
    is_requested = threading.Event()

    def run(worker: Worker) -> None:
        on_change(holder)
        while not worker.is_stopping:
            worker.wait(LOOK_S)
            if worker.is_stopping:
                return
            wanted = is_requested.is_set()
            is_requested.clear()
            if holder.look(is_requested=wanted):
                on_change(holder)

    worker = Worker(run, name="tls-files")

    def request() -> None:
        is_requested.set()
        worker.wake()

    worker.start()
    try:
        yield request
    finally:
        worker.stop()


def expiry_problems(files: TlsFiles, now: float) -> list[str]:
    """Return a sentence for each certificate in the files that is not valid now. Raises ConfigError as loading does."""
    problems = []
    for path, option in ((files.certificate, files.certificate_option), (files.authorities, files.authorities_option)):
        found = _certificates(path, option) if path is not None else []
        wrong = [sentence for each in found if (sentence := _why_not_valid(each, now))]
        is_needed = path == files.certificate or len(wrong) == len(found)  # old authorities beside others do no harm
        if is_needed:
            problems += [f"{option} {quoted(str(path))}: {sentence}" for sentence in wrong]
    return problems


def _why_not_valid(certificate: Certificate, now: float) -> str:
    name = quoted(certificate.subject, max_chars=100)
    if now > certificate.not_after:
        return f"the certificate of {name} expired at {moment(certificate.not_after)}"
    if now < certificate.not_before:
        return f"the certificate of {name} is not valid before {moment(certificate.not_before)}"
    return ""


def _load_chain(context: ssl.SSLContext, files: TlsFiles) -> list[Certificate]:
    """Load the certificate and its key; return the chain. Raises ConfigError."""
    assert files.certificate
    assert files.key_file
    chain = _certificates(files.certificate, files.certificate_option)
    option = files.key_option if files.key else files.certificate_option
    where = f"{option} {quoted(str(files.key_file))}"
    if not _PEM_KEY.search(_read(files.key_file, option)):
        hint = "" if files.key else f" ({files.key_option} names the file of the key)"
        raise ConfigError([f"{where}: there is no private key in PEM form in it{hint}"])
    if is_open_to_others(files.key_file):
        shown = quoted(str(files.key_file))
        logger.warning("other users may open %s, which holds a private key: chmod o-rwx", shown)

    def refuse_passphrase() -> str:
        raise ConfigError([f"{where}: the key is encrypted, and Logferry has no passphrase for it: store it decrypted"])

    try:
        context.load_cert_chain(files.certificate, files.key_file, refuse_passphrase)
    except ssl.SSLError as error:
        raise ConfigError([f"{where}: {_why_not_loaded(error, files.certificate)}"]) from None
    except OSError as error:
        raise ConfigError([f"{where}: cannot be read: {cause_of(error)}"]) from None
    return chain


def _load_authorities(context: ssl.SSLContext, path: Path, option: str) -> None:
    _certificates(path, option)
    try:
        context.load_verify_locations(cadata=_read(path, option).decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ConfigError([f"{option} {quoted(str(path))}: {_reason(error)}"]) from None


def _certificates(path: Path, option: str) -> list[Certificate]:
    """Return the certificates in a PEM file. Raises ConfigError if there are none, or one cannot be read."""
    texts = _PEM_CERTIFICATE.findall(_read(path, option).decode("ascii", "replace"))
    if not texts:
        raise ConfigError([f"{option} {quoted(str(path))}: there is no certificate in PEM form in it"])
    try:
        return [read_certificate(ssl.PEM_cert_to_DER_cert(text)) for text in texts]
    except ValueError as error:
        reason = printable(str(error), max_chars=100)
        raise ConfigError([f"{option} {quoted(str(path))}: a certificate in it is damaged: {reason}"]) from None


def _read(path: Path, option: str) -> bytes:
    """Return the content of a file. Raises ConfigError."""
    where = f"{option} {quoted(str(path))}"
    try:
        return read_small_file(path, most=_MAX_FILE_BYTES)
    except NotAFile:
        raise ConfigError([f"{where}: it must be a file"]) from None
    except ValueError as error:
        raise ConfigError([f"{where}: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{where}: cannot be read: {cause_of(error)}"]) from None


def _why_not_loaded(error: ssl.SSLError, certificate: Path) -> str:
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"the key does not belong to the certificate in {quoted(str(certificate))}"
    if error.reason in _TOO_WEAK:
        return "the key, or the signature of the certificate, is too weak for this system's security level"
    return _reason(error)


def _reason(error: ssl.SSLError) -> str:
    reason = (error.reason or "").lower().replace("_", " ") or "it cannot be read as PEM"
    return printable(reason, max_chars=100)
