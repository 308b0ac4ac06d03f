"""What the ends of a campaign prove with who they are: certificates, a token, the file of clients. All can be replaced.

A file is replaced by renaming, as operators do; certificate and key are two files. Two authorities take turns. Nothing
here starts or stops a process; `number` reads what a running one says at its `--http` address.
"""

import hashlib
import re
import secrets
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.support.certificates import NOW, authority, files_of, issued
from tests.support.processes import free_port

CLIENT: Final = "client"  # the servers are "server-0", "server-1" ...

_AUTHORITIES: Final = ("First Authority", "Second Authority")
_NAME: Final = "campaign-1"
_SOMEBODY_ELSE: Final = b'[[client]]\nname = "somebody-else"\ncertificate = "nobody.example"\n'

_BROKEN: Final = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_TLS, _CLIENTS = "tls_reload_failures_total", "clients_reload_failures_total"


class Secrets:
    """The files of all ends, and the options that name them."""

    def __init__(self, folder: Path, *, servers: int) -> None:
        self.ends = (CLIENT, *(f"server-{number}" for number in range(servers)))
        self._folder = folder
        self._replacements = 0
        self._tokens: list[str] = []
        self._http = {end: free_port() for end in self.ends}
        self._expiry: dict[str, float] = {}
        self._whole: dict[str, bytes] = {}
        folder.mkdir()
        for end in self.ends:
            self._replace(f"{end}.authorities", b"".join(authority(name).cert_pem.bytes() for name in _AUTHORITIES))
            self.replace_certificate(end)
        self.replace_token()

    def options(self, end: str) -> dict[str, str]:
        """Return the options of an end, by their names in a configuration file."""
        path = {name: str(self._folder / name) for name in self._whole}
        own = {"tls_cert": path[f"{end}.pem"], "tls_key": path[f"{end}.key"], "http": f"127.0.0.1:{self._http[end]}"}
        authorities = path[f"{end}.authorities"]
        if end == CLIENT:
            return {**own, "tls_ca": authorities, "token_file": path["token"]}
        return {**own, "tls_client_ca": authorities, "clients": path["clients.toml"]}

    def words(self, end: str) -> list[str]:
        """Return the options of an end, as words of a command line."""
        words = [word for name, value in self.options(end).items() for word in (f"--{name.replace('_', '-')}", value)]
        return ["--tls", *words] if end == CLIENT else words

    def replace_certificate(self, end: str) -> None:
        """Replace certificate and key by ones of the other authority, which expire at another time."""
        self._replacements += 1
        name = f"{_NAME}.example" if end == CLIENT else "127.0.0.1"
        expiry = NOW + timedelta(days=100, seconds=self._replacements)
        issuer = _AUTHORITIES[self._replacements % len(_AUTHORITIES)]
        new = files_of(issued(name, by=issuer, not_after=expiry), self._folder / "new", end)
        self._replace(f"{end}.pem", new.certificate.read_bytes())
        self._replace(f"{end}.key", new.key.read_bytes())
        self._expiry[end] = int(expiry.timestamp())

    def replace_token(self) -> None:
        """Replace the client's token; the server knows the one before, too, as an entry allows."""
        self._tokens = [*self._tokens[-1:], secrets.token_hex(16)]
        hashes = [hashlib.sha256(token.encode()).hexdigest() for token in self._tokens]
        entry = f'[[client]]\nname = "campaign"\ncertificate = "{_NAME}.*"\ntoken_sha256 = {hashes}\n'
        self._replace("clients.toml", entry.encode())
        self._replace("token", self._tokens[-1].encode())

    def lock_out(self) -> None:
        """Remove the client's entry from the file of clients, until `mend("clients.toml")`."""
        self._write("clients.toml", _SOMEBODY_ELSE)

    def breakable(self) -> Sequence[tuple[str, str, str]]:
        """Return which files can be broken: the end that has it, its name, and what counts it."""
        files = [(end, f"{end}.{part}", _TLS) for end in self.ends for part in ("pem", "key", "authorities")]
        return [*files, *((end, "clients.toml", _CLIENTS) for end in self.ends if end != CLIENT)]

    def break_file(self, name: str) -> None:
        """Put something in the place of a file that is not one, until `mend`."""
        self._write(name, _BROKEN)

    def mend(self, name: str) -> None:
        """Replace a file by what it was before it was broken."""
        self._write(name, self._whole[name])

    def has_loaded(self, end: str) -> bool:
        """Whether a running end uses the certificate that lies there."""
        return self.number(end, "tls_certificate_expiry_time_seconds") == self._expiry[end]

    def number(self, end: str, name: str) -> float | None:
        """Return a number of a running end, None while it does not answer."""
        series = re.compile(rf"^logferry_{end.partition('-')[0]}_{name} (\S+)$", re.MULTILINE)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http[end]}/metrics", timeout=5) as answer:
                found = series.search(answer.read().decode())
        except OSError:
            return None
        return float(found[1]) if found else None

    def _replace(self, name: str, content: bytes) -> None:
        self._whole[name] = content
        self._write(name, content)

    def _write(self, name: str, content: bytes) -> None:
        new = self._folder / f".{name}.new"
        new.touch(mode=0o600)
        new.write_bytes(content)
        new.rename(self._folder / name)
