#!/usr/bin/env bash
# Prints the Python to build .venv with: $PYTHON where it is set, else the first that fits.
# Where none fits, one line on standard error says what was found and what helps.
set -euo pipefail

# Prints "3.11.7" when the interpreter runs at all.
version() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

fits() {
    case $1 in 3.10.* | 3.11.* | 3.12.*) ;; *) return 1 ;; esac
}

# Debian splits venv from the interpreter: without ensurepip it cannot fill a new environment.
has_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

fail() {
    echo "$1" >&2
    exit 1
}

if [ -n "${PYTHON:-}" ]; then
    found=$(version "$PYTHON") || fail "PYTHON=$PYTHON does not run; give the path of a Python 3.10 to 3.12."
    fits "$found" || fail "Python 3.10 to 3.12 is needed, PYTHON=$PYTHON is $found."
    has_venv "$PYTHON" || fail "PYTHON=$PYTHON has no venv; install its package (python${found%.*}-venv on Debian or Ubuntu)."
    command -v "$PYTHON"
    exit
fi

tried=
no_venv=
for name in python3.11 python3.12 python3.10 python3; do
    found=$(version "$name") || continue
    tried="${tried:+$tried, }$found at $(command -v "$name")"
    fits "$found" || continue
    if has_venv "$name"; then
        command -v "$name"
        exit
    fi
    no_venv=${no_venv:-${found%.*}}
done

[ -z "$no_venv" ] ||
    fail "Python $no_venv is here but its venv module is not; install python$no_venv-venv or run make PYTHON=/path/to/python3.11 …"
fail "Python 3.10 to 3.12 is needed, found ${tried:-none}; install python3.11 or run make PYTHON=/path/to/python3.11 …"
