#!/usr/bin/env bash
# Writes prometheus/rules.yaml as a PrometheusRule, which kustomize cannot: it reads no plain file
# into an object's spec.
#
#   scripts/prometheus-rule.sh            to manifests/components/monitoring/rules.yaml
#   scripts/prometheus-rule.sh --stdout
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rule() {
    cat <<'HEAD'
# Written by scripts/prometheus-rule.sh from prometheus/rules.yaml; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: gliner
  labels:
    app.kubernetes.io/name: gliner
    app.kubernetes.io/component: predictor
spec:
HEAD
    sed -n '/^groups:/,$ { s/^./  &/; p; }' prometheus/rules.yaml
}

case ${1:-} in
--stdout) rule ;;
*) rule >manifests/components/monitoring/rules.yaml ;;
esac
