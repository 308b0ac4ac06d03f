#!/bin/sh
# `make fuzz`: the fuzzers of tests/fuzz, at length, in the virtual environment .venv. The compiled part is built with
# AddressSanitizer and UndefinedBehaviorSanitizer, in a copy of the source: the one in the checkout stays as it is.
# OPERATIONS=... and SESSIONS=... choose how much is tried, SEED=... what; PYTHON=... chooses the Python for .venv.
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "make fuzz: $*"
}

. tools/python_environment.sh

ensure_environment .venv
install .venv requirements.txt "the test tools" || fail "pip could not install what requirements.txt names (see above)"

seed=${SEED:-$(date +%s)}
python=$PWD/.venv/bin/python
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir "$copy/src" "$copy/tools"
cp -R src/logferry src/native "$copy/src/"
rm -f "$copy"/src/logferry/_speedups.*.so
cp tools/build_speedups.py "$copy/tools/"

say "building the compiled part with sanitizers"
CFLAGS="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all" \
    "$python" "$copy/tools/build_speedups.py" || fail "this needs a C compiler and Python's headers"
# Python itself is built without the sanitizer, whose library must be loaded first. Python keeps memory until it ends,
# so leaks are not looked for.
say "the compiled part against the Python code, seed $seed"
LD_PRELOAD=$(${CC:-cc} -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
    PYTHONPATH="$copy/src" "$python" tests/fuzz/fuzz_speedups.py --operations "${OPERATIONS:-300000}" --seed "$seed"

say "mutated sessions against a server, seed $seed"
"$python" tests/fuzz/fuzz_conversations.py --sessions "${SESSIONS:-20000}" --seed "$seed"
