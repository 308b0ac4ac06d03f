"""The clients file: what an entry may say, and what is wrong with one that says something else."""

import os
from pathlib import Path

import pytest

from logferry.errors import ConfigError
from logferry.server.clients.identities.entries import Identity, identities_of, read_identities
from logferry.server.clients.identities.tokens import entry_for, hash_of, new_token

HASH = hash_of("secret").hex()
OTHER = hash_of("other").hex()


def test_an_entry_says_who_a_client_is_and_what_it_may_do() -> None:
    text = f"""
    [[client]]
    name = "web"
    token_sha256 = ["{HASH}", "{OTHER.upper()}"]
    certificate = "*.web.example.com"
    hosts = ["web-*", "front"]
    folder = "frontend"
    max_bytes_per_second = "10M"
    max_sources = 50

    [[client]]
    name = "db"
    certificate = "db.example.com"
    max_bytes_per_second = 4096
    """
    web, db = identities_of(text)
    assert web == Identity(
        "web",
        (hash_of("secret"), hash_of("other")),
        "*.web.example.com",
        ("web-*", "front"),
        "frontend",
        10 * 1024 * 1024,
        50,
    )
    assert db == Identity("db", certificate="db.example.com", folder="db", max_bytes_per_second=4096)


def test_a_new_token_and_its_entry_belong_together() -> None:
    token, other = new_token(), new_token()
    (entry,) = identities_of(entry_for("web", token))
    assert entry.tokens == (hash_of(token),)
    assert token != other
    assert len(token) == 43
    assert token not in entry_for("web", token)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("name = 1", "client must|name must be"),
        ('name = ".."', "name must be"),
        ('name = "a/b"', "name must be"),
        ('name = ""', "name must be"),
        (f'token_sha256 = "{HASH}"', "entry 1: a name is missing"),
        ('name = "web"', "anybody could be this client"),
        ('name = "web"\ntoken_sha256 = "secret"', "64 hexadecimal digits"),
        ('name = "web"\ntoken_sha256 = []', "64 hexadecimal digits"),
        ('name = "web"\ncertificate = ""', "certificate must be"),
        ('name = "web"\ncertificate = "a\\u0000"', "certificate must be"),
        ('name = "web"\ncertificate = "x"\nhosts = []', "hosts must be"),
        ('name = "web"\ncertificate = "x"\nhosts = "web"', "hosts must be"),
        ('name = "web"\ncertificate = "x"\nfolder = "../etc"', "folder must be"),
        ('name = "web"\ncertificate = "x"\nmax_sources = -1', "max_sources must be"),
        ('name = "web"\ncertificate = "x"\nmax_sources = true', "max_sources must be"),
        ('name = "web"\ncertificate = "x"\nmax_bytes_per_second = "fast"', "max_bytes_per_second must be"),
        ('name = "web"\ncertificate = "x"\nmax_bytes_per_second = 1', "max_bytes_per_second must be"),
        ('name = "web"\ncertificate = "x"\ntoken = "secret"', "unknown key"),
    ],
)
def test_a_problem_in_an_entry_is_named_and_nothing_secret_is_quoted(entry: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        identities_of(f"[[client]]\n{entry}\n")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[client", "not TOML"),
        ("client = 1", r"\[\[client\]\]"),
        ("client = [1]", r"\[\[client\]\]"),
        ("[clients]\na = 1", "unknown key"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        identities_of(text)


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (f'name = "WEB"\ntoken_sha256 = "{OTHER}"\nfolder = "x"', "name"),
        (f'name = "db"\ntoken_sha256 = "{OTHER}"\nfolder = "Web"', "folder"),
        (f'name = "db"\ntoken_sha256 = "{HASH}"', "token"),
    ],
)
def test_entries_that_share_a_name_a_folder_or_a_token_are_refused(second: str, what: str) -> None:
    """On a file system without case, the folders of `web` and `WEB` would be one."""
    with pytest.raises(ConfigError, match=f"its {what} is also that of 'web'|its {what} is also that of"):
        identities_of(f'[[client]]\nname = "web"\ntoken_sha256 = "{HASH}"\n[[client]]\n{second}\n')


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    with pytest.raises(ConfigError, match=r"clients\.toml.*No such file"):
        read_identities(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"clients\.toml.*not UTF-8"):
        read_identities(path)
    path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="more than 4 MiB"):
        read_identities(path)


@pytest.mark.parametrize(
    ("pattern", "names", "is_one"),
    [
        ("web.example.com", ["WEB.example.com"], True),
        ("*.example.com", ["a.example.com"], True),
        ("*.example.com", ["a.b.example.com", "example.com", ".example.com.evil"], False),
        ("web-*.example.com", ["other", "web-7.example.com"], True),
        ("*", ["a.b"], False),
        ("web", [], False),
        ("", [], True),
    ],
)
def test_a_star_in_the_pattern_of_a_certificate_stands_for_a_part_of_one_label(
    pattern: str, names: list[str], is_one: bool
) -> None:
    assert Identity("x", certificate=pattern).has_certificate_of(names) is is_one


def test_nothing_but_a_file_is_read(tmp_path: Path) -> None:
    """A FIFO would make the server wait for ever."""
    os.mkfifo(tmp_path / "clients.toml")
    for place in (tmp_path / "clients.toml", tmp_path):
        with pytest.raises(ConfigError, match="it is not a regular file"):
            read_identities(place)


def test_a_number_with_thousands_of_digits_is_a_problem_of_the_file() -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        identities_of("max_sources = " + "9" * 5000)
