#!/bin/sh
# `make dist`: builds the packages into dist/, in the virtual environment .venv-dist.
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "make dist: $*"
}

. tools/python_environment.sh

ensure_environment .venv-dist
install .venv-dist requirements-dist.txt "the build tools" ||
    fail "pip could not install what requirements-dist.txt names (see above); is there a network?"
exec .venv-dist/bin/python tools/make_dist.py "$@"
