"""A certificate for the benchmark's server, made by the program openssl: the measured programs have no packages."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.measure import BenchmarkError


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        """Make one in a folder, unless it is there. Raises BenchmarkError."""
        made = cls(folder / "server.pem", folder / "server.key")
        if not made.certificate.exists():
            made._make()
        return made

    def _make(self) -> None:
        if not is_possible():
            raise BenchmarkError("there is no program openssl to make a certificate")
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
        names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", str(self.key), "-out", str(self.certificate))
        try:
            subprocess.run(["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            raise BenchmarkError(f"openssl makes no certificate: {error.stderr!r}") from None

    @property
    def server_flags(self) -> tuple[str, ...]:
        """The flags of a server that has it."""
        return ("--tls-cert", str(self.certificate), "--tls-key", str(self.key))

    @property
    def client_flags(self) -> tuple[str, ...]:
        """The flags of a client that trusts it."""
        return ("--tls", "--tls-ca", str(self.certificate))


def is_possible() -> bool:
    """Whether a certificate can be made here."""
    return shutil.which("openssl") is not None
