"""The commands of docs/security.md that make a private authority and its certificates, run, and used by both ends."""

import re
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.authenticators import Noting
from tests.support.delivery import LINES
from tests.support.running import DEADLINE_S, running_server
from tests.support.tls_client import TlsClient

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")
def test_the_commands_of_the_page_make_what_both_ends_need(tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(# The authority.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    subprocess.run(["sh", "-eu"], input=commands, text=True, cwd=tmp_path, check=True, timeout=DEADLINE_S)
    files: dict[str, Any] = {"tls_cert": tmp_path / "server.pem", "tls_key": tmp_path / "server.key"}
    context = ssl.create_default_context(cafile=tmp_path / "authority.pem")
    context.load_cert_chain(tmp_path / "web-1.pem", tmp_path / "web-1.key")
    noting = Noting()
    with (
        running_server(tmp_path, authenticator=noting, tls_client_ca=tmp_path / "authority.pem", **files) as server,
        TlsClient(server, context) as client,
    ):
        client.send(b"".join(LINES[:10]))
        assert client.answers(10) == ["ok"] * 10
        assert noting.peers[0].certificate == ("web-1.example.com", "web-1")
