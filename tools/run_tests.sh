#!/bin/sh
# `make test`: pytest with coverage, in Docker where that works, otherwise in a virtual environment in .venv.
# Four tests at a time, on any machine: most of them wait for processes and disks, not for a core.
# DOCKER=no goes straight to .venv; PYTHON=... chooses the Python that .venv is made with.
#
# What this project cannot help (no engine, no way to fetch the base image or the test tools) leads to .venv, and is said.
# A Dockerfile.test that is broken, and a test that fails, are failures.
set -eu
cd "$(dirname "$0")/.."

BASE_IMAGE=python:3.12-slim
# The name that Compose gives to the service log-test, so that `make clean` removes it.
IMAGE=logferry-log-test

say() {
    echo "make test: $*"
}

fail() {
    say "$*" >&2
    exit 1
}

# Sets $obstacle to why the tests cannot run in Docker, or to nothing.
look_for_docker() {
    obstacle=
    if [ "${DOCKER:-auto}" = no ]; then
        obstacle="DOCKER=no"
    elif ! command -v docker >/dev/null 2>&1; then
        obstacle="docker is not installed"
    elif ! docker ps --quiet >/dev/null 2>&1; then
        obstacle="no Docker engine answers"
    elif ! docker image inspect "$BASE_IMAGE" >/dev/null 2>&1 && ! docker pull --quiet "$BASE_IMAGE"; then
        obstacle="Docker cannot fetch the image $BASE_IMAGE"
    elif ! docker build --target dependencies --file Dockerfile.test --tag "$IMAGE" .; then
        obstacle="the test tools cannot be installed inside a container"
    fi
}

test_in_docker() {
    docker build --file Dockerfile.test --tag "$IMAGE" . ||
        fail "Dockerfile.test does not build (see above); 'make test DOCKER=no' runs the tests in .venv"
    say "pytest -v --cov=src -n 4, in Docker"
    # With an init as process 1, SIGTERM ends pytest.
    exec docker run --rm --init "$IMAGE"
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints the first Python that is new enough.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

make_environment() {
    python=$(find_python) || fail "Python 3.11 or newer is needed, and is not on the PATH (PYTHON=... names one elsewhere)"
    if ! output=$("$python" -m venv .venv 2>&1); then
        rm -rf .venv
        case $output in
            *ensurepip*) fail "$python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" ;;
            *) fail "$python cannot make a virtual environment in .venv: $output" ;;
        esac
    fi
}

test_in_environment() {
    [ -e .venv ] || make_environment
    if ! is_new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        fail "the folder .venv is not a virtual environment with pip and Python 3.11 or newer; remove it and try again"
    fi
    # A second run needs no network.
    if ! cmp -s requirements.txt .venv/installed-requirements.txt; then
        say "installing the test tools in .venv"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.txt ||
            fail "pip could not install what requirements.txt names (see above); is there a network?"
        cp requirements.txt .venv/installed-requirements.txt
    fi
    say "pytest -v --cov=src -n 4, in .venv with $(.venv/bin/python --version), because: $obstacle"
    exec .venv/bin/python -m pytest -v --cov=src -n 4
}

look_for_docker
if [ -z "$obstacle" ]; then
    test_in_docker
else
    test_in_environment
fi
