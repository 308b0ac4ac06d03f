#!/bin/sh
# `make bench` and `make bench-quick`: the benchmark, in a virtual environment in .venv-bench that has matplotlib and isal.
# PYTHON=... chooses the Python that it is made with. Where matplotlib cannot be had, all but the plot is done without.
set -eu
cd "$(dirname "$0")/.."

ENVIRONMENT=.venv-bench
NEEDED=benchmarks/requirements.txt

say() {
    echo "make bench: $*" >&2
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
    say "Python 3.11 or newer is needed, and is not on the PATH (PYTHON=... names one elsewhere)"
    exit 1
}

# A second run needs no network.
install_plotting() {
    cmp -s "$NEEDED" "$ENVIRONMENT/installed-requirements.txt" && return 0
    say "installing matplotlib and isal in $ENVIRONMENT"
    "$ENVIRONMENT/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$NEEDED" >&2 &&
        cp "$NEEDED" "$ENVIRONMENT/installed-requirements.txt"
}

python=$(find_python)
if { [ -x "$ENVIRONMENT/bin/python" ] || "$python" -m venv "$ENVIRONMENT" >&2; } && install_plotting; then
    python=$ENVIRONMENT/bin/python
else
    say "no virtual environment with matplotlib (see above); going on without the plot"
fi
exec "$python" benchmarks/run.py "$@"
