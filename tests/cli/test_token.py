"""`logferry token new`: a token for the client, and the entry for the server."""

import stat
import tomllib
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.server.clients.identities.entries import identities_of
from logferry.server.clients.identities.tokens import hash_of


def test_a_token_is_printed_with_the_entry_that_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "new", "--name", "web"]) == 0
    printed = capsys.readouterr().out
    comment, *_ = printed.splitlines()
    (entry,) = identities_of(printed)
    assert (entry.name, entry.tokens) == ("web", (hash_of(comment.rpartition(" ")[2]),))


def test_a_token_in_a_file_is_shown_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token"
    assert main(["token", "new", "--name", "web", "--token-file", str(path)]) == 0
    out, err = capsys.readouterr()
    token = path.read_text().strip()
    assert token not in out + err
    assert tomllib.loads(out)["client"] == [{"name": "web", "token_sha256": hash_of(token).hex()}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "token"
    path.write_text("the old token")
    assert main(["token", "new", "--name", "web", "--token-file", str(path)]) == 1
    assert "File exists" in capsys.readouterr().err
    assert path.read_text() == "the old token"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "logferry token new --name NAME"),
        (["new"], "--name is missing"),
        (["new", "--name", "a/b"], "name must be"),
        (["new", "--name", 'x"\nhosts = ["*"]'], "name must be"),
        (["old", "--name", "web"], "unknown argument: old"),
    ],
)
def test_a_wrong_command_line_is_a_clear_error(
    words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", *words]) == 2
    assert problem in capsys.readouterr().err
