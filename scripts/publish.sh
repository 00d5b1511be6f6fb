#!/usr/bin/env bash
# Builds the images with Docker, pushes them with an SBOM and provenance, scans what was pushed and
# signs what the scan let through, by digest. An image without a signature is one that did not pass.
# The signature is by whoever runs this, as GitHub or another issuer names them; by COSIGN_KEY, a file,
# where that is set.
#
#   scripts/publish.sh REGISTRY VERSION [predictor pipeline mlflow]
#
# REGISTRY is where images go (ghcr.io/me), logged in already. Takes docker with buildx, cosign and
# grype. PLATFORMS is linux/amd64,linux/arm64 unless said otherwise; BASE, TORCH and TORCH_INDEX are
# the Dockerfiles'. The base is pinned to what its tag means now, and the image's labels say so.
# What was published is in build/publish/IMAGE.txt, as NAME@DIGEST.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "$1" >&2
    exit 2
}

[ $# -ge 2 ] || fail "usage: scripts/publish.sh REGISTRY VERSION [predictor pipeline mlflow]"
registry=$1 version=$2
shift 2
[[ $version =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ && $version != latest ]] ||
    fail "VERSION: $version is no tag of its own"
for one in docker cosign grype; do
    command -v "$one" >/dev/null || fail "$one is not installed; docs/delivery.md names where it is from."
done
[ $# -gt 0 ] || set -- predictor pipeline mlflow

base=${BASE:-docker.io/library/python:3.11-slim-bookworm}
revision=$(git rev-parse HEAD)
out=build/publish
mkdir -p "$out"
digest=$(docker buildx imagetools inspect "$base" --format '{{.Manifest.Digest}}')
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || fail "BASE: the registry gave no digest for $base"
echo "Base: $base@$digest"

publish() {
    local image=$1 name=$registry/$2 pushed
    local arguments=(--build-arg "BASE=$base" --build-arg "DIGEST=$digest"
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
    if [ "$image" != mlflow ]; then
        arguments+=(--build-arg "TORCH=${TORCH-cpu}" --build-arg "TORCH_INDEX=${TORCH_INDEX-}")
    fi
    docker buildx build --file "$image/Dockerfile" --platform "${PLATFORMS:-linux/amd64,linux/arm64}" \
        "${arguments[@]}" --sbom=true --provenance=mode=max --push --tag "$name:$version" \
        --metadata-file "$out/$image.json" .
    pushed=$(sed -nE 's/.*"containerimage\.digest": *"(sha256:[0-9a-f]{64})".*/\1/p' "$out/$image.json")
    [ -n "$pushed" ] || fail "$image: docker named no digest of what it pushed"
    # Holes that somebody has mended already; of the others nobody here can do anything.
    grype "$name@$pushed" --only-fixed --fail-on high
    cosign sign --yes ${COSIGN_KEY:+"--key=$COSIGN_KEY"} "$name@$pushed"
    echo "$name@$pushed" >"$out/$image.txt"
    echo "Published $name@$pushed"
}

for image in "$@"; do
    case $image in
    predictor | mlflow) publish "$image" "$image" ;;
    pipeline) publish "$image" gliner-kserve-pipeline ;;
    *) fail "$image is none of predictor, pipeline, mlflow" ;;
    esac
done
