#!/bin/sh
# `make bench` and `make bench-quick`: the benchmark, in the virtual environment .venv-bench with matplotlib and isal.
# PYTHON=... chooses the Python for the environment. Without matplotlib, the benchmark does everything but the plot.
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "make bench: $*" >&2
}

. tools/python_environment.sh

if (ensure_environment .venv-bench && install .venv-bench benchmarks/requirements.txt "matplotlib and isal"); then
    python=.venv-bench/bin/python
else
    python=$(find_python) || fail "Python 3.11 or newer is required but not on the PATH; name one with PYTHON=..."
    say "cannot create a virtual environment with matplotlib (see above); continuing without the plot"
fi
exec "$python" benchmarks/run.py "$@"
