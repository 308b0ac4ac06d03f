#!/bin/sh
# `make lint`, `make types` and `make format`: ruff and mypy in the virtual environment .venv, in the versions that
# requirements-lint.txt pins. The argument is the task.
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "make $task: $*"
}

task=$1
. tools/python_environment.sh

ensure_environment .venv
# mypy also reads the types of the test tools.
{ install .venv requirements.txt "the test tools" && install .venv requirements-lint.txt "ruff and mypy"; } ||
    fail "pip could not install ruff and mypy (see above); is there a network?"
case $task in
    lint) .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/python tools/generate_docs.py --check ;;
    types) .venv/bin/mypy ;;
    format) .venv/bin/ruff check --fix . && .venv/bin/ruff format . ;;
    *) fail "the tasks are lint, types and format" ;;
esac
