#!/usr/bin/env bash
# Prints the path of uv, in the version of requirements/dev.lock; installs it where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

pin=$(grep -om 1 '^uv==[^ ]*' requirements/dev.lock)
folder=.venv-uv
if ! "$folder/bin/uv" --version 2>/dev/null | grep -qF "uv ${pin#uv==}"; then
    python=$(scripts/python.sh)
    "$python" -m venv --clear "$folder" >&2
    "$folder/bin/python" -m pip install --quiet "$pin" >&2
    "$folder/bin/uv" --version >&2
fi
echo "$folder/bin/uv"
