#!/bin/sh
# `make test`: pytest with coverage, in Docker if possible, otherwise in the virtual environment .venv.
# Six tests run in parallel on any machine: most of them wait for processes and disks, not for a core.
# DOCKER=no goes straight to .venv; PYTHON=... chooses the Python for .venv; COVERAGE=no does not measure coverage there,
# which takes half of the time without the compiled part.
#
# If the cause is outside this project (no engine, the base image or the test tools cannot be fetched), the script falls
# back to .venv and prints the reason. A broken Dockerfile.test or a failing test makes the script fail.
set -eu
cd "$(dirname "$0")/.."

BASE_IMAGE=python:3.12-slim
# The name that Compose gives to the image of the service log-test, so that `make clean` removes it.
IMAGE=logferry-log-test

say() {
    echo "make test: $*"
}

. tools/python_environment.sh

# Sets $obstacle to the reason why the tests cannot run in Docker, or to nothing.
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
    say "pytest -v --cov=src -n 6, in Docker"
    # With an init as process 1, SIGTERM ends pytest.
    exec docker run --rm --init "$IMAGE"
}

test_in_environment() {
    ensure_environment .venv
    install .venv requirements.txt "the test tools" ||
        fail "pip could not install what requirements.txt names (see above); is there a network?"
    words="-v --cov=src -n 6"
    [ "${COVERAGE:-yes}" != no ] || words="-v -n 6"
    say "pytest $words, in .venv with $(.venv/bin/python --version), because: $obstacle"
    # shellcheck disable=SC2086  # these are words
    exec .venv/bin/python -m pytest $words
}

look_for_docker
if [ -z "$obstacle" ]; then
    test_in_docker
else
    test_in_environment
fi
