"""`make test` takes Docker where it works, else .venv, and says which and why: shown with a fake docker and python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"

# Each writes down how it was called. The environment says what does not work.
FAKE_DOCKER = """#!/bin/sh
echo "docker $*" >>calls
case "$*" in
    "ps "*) exit ${NO_ENGINE:-0} ;;
    "image inspect "*) exit ${NO_BASE_IMAGE:-0} ;;
    "pull "*) exit 1 ;;
    "build --target "*) exit ${NO_NETWORK:-0} ;;
    "build "*) exit ${BROKEN_DOCKERFILE:-0} ;;
    "run "*) exit ${FAILING_TESTS:-0} ;;
esac
"""
FAKE_PYTHON = """#!/bin/sh
echo "python $*" >>calls
case "$*" in
    "-c "*) exit ${TOO_OLD:-0} ;;
    "-m venv "*)
        mkdir -p .venv/bin
        if [ -n "${NO_VENV:-}" ]; then echo "ensurepip is not available"; exit 1; fi
        cp "$0" .venv/bin/python ;;
    "-m pip install "*) exit ${NO_NETWORK:-0} ;;
    "-m pytest "*) exit ${FAILING_TESTS:-0} ;;
    --version) echo "Python 3.11.2" ;;
esac
"""


class Checkout:
    """A folder with the script, and the fakes first on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir()
        for name in ("run_tests.sh", "python_environment.sh"):
            shutil.copy(TOOLS / name, folder / "tools")
        (folder / "requirements.txt").write_text("pytest\n")
        (folder / "bin").mkdir()
        for name, text in (("docker", FAKE_DOCKER), ("python3", FAKE_PYTHON)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def make_test(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script; the result's stdout holds all it said."""
        (self.folder / "calls").write_text("")
        variables = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "PYTHON": "python3", **environment}
        return subprocess.run(
            ["sh", "tools/run_tests.sh"],
            cwd=self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_where_an_engine_answers_the_tests_run_in_docker(checkout: Checkout) -> None:
    made = checkout.make_test()
    assert made.returncode == 0
    assert "pytest -v --cov=src -n 6, in Docker" in made.stdout
    assert checkout.calls[-1].startswith("docker run --rm ")
    assert not any(call.startswith("python") for call in checkout.calls)


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [
        ({"DOCKER": "no"}, "DOCKER=no"),
        ({"NO_ENGINE": "1"}, "no Docker engine answers"),
        ({"NO_BASE_IMAGE": "1"}, "Docker cannot fetch the image python:3.12-slim"),
    ],
)
def test_what_the_project_cannot_help_leads_to_the_virtual_environment(
    checkout: Checkout, obstacle: dict[str, str], reason: str
) -> None:
    made = checkout.make_test(**obstacle)
    assert made.returncode == 0
    assert f"pytest -v --cov=src -n 6, in .venv with Python 3.11.2, because: {reason}" in made.stdout
    assert checkout.calls[-1] == "python -m pytest -v --cov=src -n 6"


def test_coverage_is_left_out_on_request(checkout: Checkout) -> None:
    made = checkout.make_test(DOCKER="no", COVERAGE="no")
    assert made.returncode == 0
    assert "pytest -v -n 6, in .venv" in made.stdout
    assert checkout.calls[-1] == "python -m pytest -v -n 6"


def test_a_dockerfile_that_does_not_build_is_a_failure(checkout: Checkout) -> None:
    made = checkout.make_test(BROKEN_DOCKERFILE="1")
    assert made.returncode == 1
    assert "Dockerfile.test does not build" in made.stdout
    assert not any(call.startswith("python") for call in checkout.calls)


@pytest.mark.parametrize("place", [{}, {"DOCKER": "no"}])
def test_failing_tests_are_a_failure(checkout: Checkout, place: dict[str, str]) -> None:
    assert checkout.make_test(FAILING_TESTS="1", **place).returncode == 1


def test_a_second_run_installs_nothing(checkout: Checkout) -> None:
    checkout.make_test(DOCKER="no")
    made = checkout.make_test(DOCKER="no", NO_NETWORK="1")
    assert made.returncode == 0
    assert not any("pip install" in call or "venv" in call for call in checkout.calls)


def test_changed_requirements_are_installed(checkout: Checkout) -> None:
    checkout.make_test(DOCKER="no")
    (checkout.folder / "requirements.txt").write_text("pytest>=8\n")
    checkout.make_test(DOCKER="no")
    assert any("pip install" in call for call in checkout.calls)


def test_without_a_network_nothing_is_taken_for_installed(checkout: Checkout) -> None:
    made = checkout.make_test(NO_NETWORK="1")
    assert made.returncode == 1
    assert "is there a network?" in made.stdout
    assert checkout.make_test(DOCKER="no").returncode == 0
    assert any("pip install" in call for call in checkout.calls)


def test_a_python_without_venv_is_one_sentence_and_leaves_nothing_behind(checkout: Checkout) -> None:
    made = checkout.make_test(DOCKER="no", NO_VENV="1")
    assert made.returncode == 1
    assert made.stdout.splitlines() == [
        "make test: python3 cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv"
    ]
    assert not (checkout.folder / ".venv").exists()


def test_an_old_python_is_one_sentence(checkout: Checkout) -> None:
    made = checkout.make_test(DOCKER="no", TOO_OLD="1")
    assert made.returncode == 1
    assert made.stdout.startswith("make test: Python 3.11 or newer is required")


def test_a_folder_that_somebody_else_made_is_not_touched(checkout: Checkout) -> None:
    (checkout.folder / ".venv").mkdir()
    (checkout.folder / ".venv" / "mine").touch()
    made = checkout.make_test(DOCKER="no")
    assert made.returncode == 1
    assert "remove it and try again" in made.stdout
    assert (checkout.folder / ".venv" / "mine").exists()
