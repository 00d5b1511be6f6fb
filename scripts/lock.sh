#!/usr/bin/env bash
# Resolves requirements/*.lock from pyproject.toml, for Python 3.10 to 3.12 at once.
#
#   scripts/lock.sh             keep the pins that still fit, add and drop what pyproject.toml asks for
#   scripts/lock.sh --upgrade   move every pin to the newest version that fits
#
# CUDA packages are left out: torch pins its own, so pip still installs the right ones beside a GPU
# build, and a CPU build of torch stays free of them.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$(scripts/uv.sh)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# resolve NAME [uv option…]: requirements/NAME.lock from the extra NAME
resolve() {
    local name=$1 lock=requirements/$1.lock
    shift
    [ ! -f "$lock" ] || cp "$lock" "$scratch/$name.lock"
    "$uv" pip compile pyproject.toml --quiet --universal --python-version 3.10 \
        --extra "$name" --no-emit-package gliner-kserve --annotation-style line --no-header \
        --output-file "$scratch/$name.lock" "$@"
    {
        echo "# Written by \`make lock\` from pyproject.toml; do not edit."
        echo "# CUDA packages are left out on purpose: torch pins its own."
        grep -Ev '^(nvidia-|cuda-|triton==|#)' "$scratch/$name.lock"
    } >"$scratch/$name.new"
    mv "$scratch/$name.new" "$lock"
    echo "$lock: $(grep -c == "$lock") lines"
}

resolve dev "$@"
for part in predictor pipeline demo bench; do
    resolve "$part" --constraint requirements/dev.lock
done
resolve bench-fast-gliner "$@"

# hashed NAME INPUT [uv option…]: requirements/images/NAME.lock, what an image of Python 3.11 takes,
# with the hash of every file. torch has builds of the same version, so the Dockerfiles choose one.
hashed() {
    local lock=requirements/images/$1.lock
    "$uv" pip compile "$2" --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-package gliner-kserve --no-emit-package torch --no-annotate --no-header \
        --output-file "$scratch/$1.image" "${@:3}"
    {
        echo "# Written by \`make lock\` from $2; do not edit."
        grep -v '^#' "$scratch/$1.image"
    } >"$lock"
    echo "$lock: $(grep -c == "$lock") packages"
}

mkdir -p requirements/images
for part in predictor pipeline; do
    hashed "$part" "requirements/$part.lock" --no-deps
done
hashed mlflow pyproject.toml --extra mlflow --constraint requirements/dev.lock
grep -o '^torch==[^ ]*' requirements/predictor.lock >requirements/images/torch.lock
hashed compiler requirements/compiler.txt
