#!/bin/sh
# Installs each package of dist/ in a virtual environment of its own, without an index, and runs the demo with it.
# `sh tools/check_dist.sh [PYTHON]`; the source distribution needs setuptools, and is left out where that is missing.
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# proven <what> <command...>: the command shows the version and runs the demo.
proven() {
    what=$1
    shift
    "$@" --version >"$folder/said"
    "$@" demo >>"$folder/said" 2>&1 || { cat "$folder/said"; echo "check_dist: $what does not run" >&2; exit 1; }
    grep -q "all there, once" "$folder/said"
    echo "ok: $what"
}

for wheel in dist/*.whl; do
    rm -rf "$folder/environment"
    "$python" -m venv "$folder/environment"
    "$folder/environment/bin/python" -m pip install --quiet --no-index --disable-pip-version-check "$wheel"
    (cd "$folder" && proven "$(basename "$wheel")" "$folder/environment/bin/logferry")
    case $wheel in
        *none-any*) ;;
        *) "$folder/environment/bin/python" -c "import logferry._speedups" ;;
    esac
done
proven logferry.pyz "$python" -I "$PWD/dist/logferry.pyz"
tar --list --file dist/logferry-*.tar.gz >"$folder/list"
for name in pyproject.toml setup.py src/native/module.c src/logferry/cli/start.py sample_logs.txt LICENSE; do
    grep -q "/$name\$" "$folder/list" || { echo "check_dist: the source distribution lacks $name" >&2; exit 1; }
done
