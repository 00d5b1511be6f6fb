#!/usr/bin/env bash
# Makes .venv hold what requirements/NAME.lock pins, and this project in editable mode. What the
# benchmark compares with is kept out of it, in .venv-bench and .venv-fast-gliner.
#
#   scripts/venv.sh predictor|demo|dev|bench|bench-fast-gliner
#
# Does nothing where .venv already does. What can go wrong on a fresh machine gets one line.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
lock=requirements/$name.lock
case $name in
bench) venv=.venv-bench ;;
bench-fast-gliner) venv=.venv-fast-gliner ;;
*) venv=.venv ;;
esac
python=$venv/bin/python
need_gb=4

fail() {
    echo "$1" >&2
    exit 1
}

minor() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

# An environment that was moved, half made, or made with another Python than was asked for is no use.
usable() {
    "$python" -m pip --version >/dev/null 2>&1 || return 1
    [ -z "${PYTHON:-}" ] || [ "$(minor "$python")" = "$(minor "$PYTHON")" ]
}

# What .venv must have been made from: the pins, the project's metadata, what is compiled, and where
# the project lies.
wanted() {
    "$python" - "$1" pyproject.toml predictor/engines/*.[ch] <<'PY'
import hashlib, pathlib, sys
digest = hashlib.sha256(str(pathlib.Path.cwd()).encode())
for name in sys.argv[1:]:
    digest.update(pathlib.Path(name).read_bytes())
print(digest.hexdigest())
PY
}

installed() {
    [ "$(cat "$venv/$1.sha256" 2>/dev/null)" = "$(wanted "requirements/$1.lock")" ]
}

# Reads what uv or pip says; on a terminal shows how far it is on one line that rewrites itself.
progress() {
    local line count=0 last=""
    while IFS= read -r line; do
        case $line in
            Resolved*) count=${line#Resolved } count=${count%% *} last="choosing files" ;;
            Collecting*) count=$((count + 1)) last=${line#Collecting } last=${last%% *} ;;
            *Download*) last=${line#"${line%%[! ]*}"} ;;
            Prepared* | Installing*) last="unpacking all of them" ;;
            Installed*) last="compiling all of them" ;;
            *) continue ;;
        esac
        [ ! -t 1 ] || printf '\r\033[K  %d packages, %.60s' "$count" "$last"
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

if [ -n "${PYTHON:-}" ]; then scripts/python.sh >/dev/null; fi
if usable && installed "$name"; then exit; fi

base=$(scripts/python.sh)
free_kb=$(df -Pk . | awk 'END {print $4}')
[ "$free_kb" -ge $((need_gb * 1024 * 1024)) ] ||
    fail "The disk is full: installing needs $need_gb GB, $((free_kb / 1024)) MB are free at $PWD; free some space and run this again."

if usable; then base=$python; else "$base" -m venv --clear "$venv"; fi
echo "Installing $lock into $venv with Python $(minor "$base"): the download, and a minute …"
rm -f "$venv"/*.sha256
log=$venv/install-$name.log
started=$SECONDS

# A tenth of pip's time. Without a network, on a machine that uv is not made for, or where pip is set
# up in a way that uv is not, pip does it, and has the last word on what is wrong.
with_uv() {
    local uv
    uv=$(scripts/uv.sh) && "$python" scripts/uv_install.py "$uv" "$python" "$lock"
}

with_pip() {
    echo "uv did not do it; pip does."
    "$python" -m pip install --requirement "$lock"
}

if ! { with_uv || with_pip; } 2>&1 | tee "$log" | progress ||
    ! { [ "$name" = bench-fast-gliner ] ||
        "$python" -m pip install --no-deps --no-build-isolation --editable . >>"$log" 2>&1; }; then
    if grep -q 'No space left on device' "$log"; then
        fail "The disk became full while installing, for which torch with CUDA takes 8 GB and a CPU build 2 GB; free some space and run this again."
    fi
    grep -v '^ERROR' "$log" | tail -n 3 >&2 || true
    fail "$(sed '1,/^uv did not/d' "$log" | grep '^ERROR' | head -n 1 || true) Installing $lock failed; all that uv and pip said is in $log."
fi

# Each lock holds every pin of those before it (a test sees to it), so one installation serves all.
case $name in
predictor) covered=predictor ;;
demo) covered="predictor pipeline demo" ;;
bench*) covered=$name ;;
*) covered="predictor pipeline demo dev" ;;
esac
for one in $covered; do wanted "requirements/$one.lock" >"$venv/$one.sha256"; done
echo "Installed in $((SECONDS - started)) s."
