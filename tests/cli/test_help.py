"""The overview of the commands, and the help of one of them."""

import pytest

from logferry.cli.commands import COMMANDS
from logferry.cli.dispatch import main
from logferry.cli.help import SECTIONS, overview


def output(capfd: pytest.CaptureFixture[str], *words: str, shows_overview: bool = False) -> str:
    """Return what a command prints, which ends well."""
    try:
        code: object = main(words, shows_overview=shows_overview)
    except SystemExit as stop:
        code = stop.code
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    return out


def test_the_overview_names_every_command_once_and_fits_a_small_terminal() -> None:
    assert sorted(name for commands in SECTIONS.values() for name in commands) == sorted(COMMANDS)
    assert max(map(len, overview().splitlines())) <= 80
    assert len(overview().splitlines()) <= 40


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_installed_command_alone_shows_the_overview(capfd: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert output(capfd, *words, shows_overview=True) == output(capfd, "help") == overview() + "\n"


def test_options_without_a_command_are_those_of_ship_in_an_installation_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["--mode", "stream"], shows_overview=True) == 2
    assert capfd.readouterr().err.startswith("logferry ship: --mode: 'stream'")


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "help"])
def test_help_of_a_command_is_what_its_own_flag_shows(capfd: pytest.CaptureFixture[str], command: str) -> None:
    assert output(capfd, "help", command) == output(capfd, command, "--help")
    assert output(capfd, "help", command, "--all") == output(capfd, command, "--help-all")


def test_help_of_a_word_that_is_no_command_suggests_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "verfy"]) == 2
    assert capfd.readouterr().err == "logferry help: 'verfy' is not a command; did you mean verify?\n"
