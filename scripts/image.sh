#!/usr/bin/env bash
# Writes into an environment which image of the predictor it runs.
#
#   scripts/image.sh ENVIRONMENT REFERENCE     such as: scripts/image.sh dev ghcr.io/me/predictor@sha256:…
#
# It edits manifests/environments/ENVIRONMENT/kustomization.yaml and nothing else: whoever calls it
# commits that, as a pull request, or applies it. Comments stay, which `kustomize edit` would drop.
set -euo pipefail
cd "$(dirname "$0")/.."

named=ghcr.io/gliner-kserve/predictor

fail() {
    echo "$1" >&2
    exit 2
}

[ $# = 2 ] || fail "usage: scripts/image.sh ENVIRONMENT REFERENCE"
environment=$1 reference=$2
file=manifests/environments/$environment/kustomization.yaml
[[ $environment != */* && -f $file ]] ||
    fail "ENVIRONMENT: $environment is none of $(cd manifests/environments && echo *)"

if [[ $reference =~ ^([^@[:space:]]+)@(sha256:[0-9a-f]{64})$ ]]; then
    key=digest
elif [[ $reference =~ ^([^@[:space:]]+):([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$ ]]; then
    key=newTag
else
    fail "REFERENCE: $reference is neither NAME@sha256:… nor NAME:TAG"
fi
name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
if [ "$key" = newTag ]; then
    [ "$value" != latest ] || fail "REFERENCE: latest is whatever came last; name a version"
    [ "$environment" != production ] || fail "REFERENCE: production takes a digest alone, NAME@sha256:…"
fi
grep -qx "  - name: $named" "$file" || fail "$file: no $named under images:"

awk -v named="  - name: $named" -v new="$([ "$name" = "$named" ] || echo "    newName: $name")" \
    -v value="    $key: $value" '
    $0 == named { print; if (new) print new; print value; inside = 1; next }
    inside && /^    / { next }
    { inside = 0; print }
' "$file" >"$file.new"
mv "$file.new" "$file"
echo "$environment runs $reference"
