# Sourced by the scripts of this project that need Python. Finds a Python that is new enough, creates a virtual
# environment, and installs the packages of a requirements file. A second run needs no network.
# The sourcing script must define `say`, which prints one line for the user. PYTHON=... names another Python.

fail() {
    say "$*" >&2
    exit 1
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

# make_environment <folder>: creates a virtual environment, or fails with the reason and leaves nothing behind.
make_environment() {
    python=$(find_python) || fail "Python 3.11 or newer is required but not on the PATH; name one with PYTHON=..."
    if ! output=$("$python" -m venv "$1" 2>&1); then
        rm -rf "$1"
        case $output in
            *ensurepip*) fail "$python cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv" ;;
            *) fail "$python cannot create a virtual environment in $1: $output" ;;
        esac
    fi
}

# install <folder> <requirements file> <what>: installs the file's packages, unless exactly these are installed.
install() {
    installed="$1/installed-$(basename "$2")"
    cmp -s "$2" "$installed" && return 0
    say "installing $3 in $1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2" >&2 && cp "$2" "$installed"
}

# ensure_environment <folder>: creates the environment if it does not exist; fails if the folder is something else.
ensure_environment() {
    [ -e "$1" ] || make_environment "$1"
    if ! is_new_enough "$1/bin/python" || ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        fail "the folder $1 is not a virtual environment with pip and Python 3.11 or newer; remove it and try again"
    fi
}
