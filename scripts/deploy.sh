#!/usr/bin/env bash
# Applies an environment to the cluster that kubectl points at, and waits until it serves. For those
# without Argo CD, which does the same from git.
#
#   scripts/deploy.sh ENVIRONMENT [REFERENCE]
#
# With REFERENCE, NAME@sha256:…, that image is written into the environment first, in this checkout.
# It must be signed as scripts/publish.sh signs, where one of these is set:
#   SIGNED_WITH   a file with cosign's public key
#   SIGNED_BY     a regular expression for who signed; SIGNED_AT is the issuer of that name
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "$1" >&2
    exit 2
}

[ $# = 1 ] || [ $# = 2 ] || fail "usage: scripts/deploy.sh ENVIRONMENT [REFERENCE]"
environment=$1 reference=${2-}
folder=manifests/environments/$environment
[[ $environment != */* && -d $folder ]] ||
    fail "ENVIRONMENT: $environment is none of $(cd manifests/environments && echo *)"
signer=()
[ -z "${SIGNED_WITH-}" ] || signer=("--key=$SIGNED_WITH")
[ -z "${SIGNED_BY-}" ] || signer=("--certificate-identity-regexp=$SIGNED_BY" "--certificate-oidc-issuer=${SIGNED_AT:?}")
if [ ${#signer[@]} -gt 0 ]; then
    [ -n "$reference" ] || fail "REFERENCE: an image to check is wanted, since a signer is named"
    cosign verify "${signer[@]}" "$reference" >/dev/null
fi
[ -z "$reference" ] || scripts/image.sh "$environment" "$reference"

namespace=$(sed -n 's/^  name: //p' "$folder/namespace.yaml")
# First: in a namespace that is not there kubectl can neither compare nor put anything.
kubectl apply -f "$folder/namespace.yaml"
# The differences are for whoever reads the log; kubectl ends with 1 where there are any.
kubectl diff -k "$folder" || [ $? = 1 ]
kubectl apply -k "$folder"

# The InferenceService is as ready as before until Knative has made the new revision, so ready means
# that the revision which is ready runs the image that was applied.
wanted=$(kubectl get -n "$namespace" servingruntime/gliner -o 'jsonpath={.spec.containers[0].image}')
running() {
    local revision
    revision=$(kubectl get -n "$namespace" inferenceservice/gliner \
        -o 'jsonpath={.status.components.predictor.latestReadyRevision}')
    [ -n "$revision" ] && kubectl get -n "$namespace" "revision/$revision" \
        -o 'jsonpath={.spec.containers[?(@.name=="kserve-container")].image}'
}
until=$((SECONDS + ${SECONDS_TO_WAIT:-600}))
until [ "$(running)" = "$wanted" ]; do
    if [ "$SECONDS" -ge "$until" ]; then
        kubectl get -n "$namespace" inferenceservice/gliner \
            -o 'jsonpath={range .status.conditions[?(@.status!="True")]}{.type}: {.message}{"\n"}{end}' >&2
        echo "$environment does not run $wanted after ${SECONDS_TO_WAIT:-600} s. What ran before still serves." >&2
        exit 1
    fi
    sleep "${PAUSE:-5}"
done
kubectl wait -n "$namespace" inferenceservice/gliner --timeout=2m --for=condition=Ready
echo "$environment runs $wanted"
