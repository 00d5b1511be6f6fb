#!/usr/bin/env bash
# Looks for holes: known ones in locked packages, secrets in files, mistakes in workflows.
#
#   scripts/scan.sh [packages secrets workflows]      all three
#
# `packages` asks PyPI and takes a minute; the others need no network.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

packages() {
    local lock failed=0
    for lock in requirements/images/*.lock; do
        echo "Known holes in $lock …"
        # The lock is complete and every line has its hash, so there is nothing to resolve. Strict: a
        # package that PyPI cannot be asked about has not been looked at, and that is no success.
        $python -m pip_audit --requirement "$lock" --strict --disable-pip --no-deps --progress-spinner off || failed=1
    done
    return $failed
}

# What looks like a secret and is none is marked in its line: `pragma: allowlist secret`. Values of
# variables with such a name are ruff's to find, and in manifests a test's; here they would be noise.
secrets() {
    git ls-files -z | xargs -0 .venv/bin/detect-secrets-hook --disable-plugin KeywordDetector
}

workflows() {
    .venv/bin/zizmor --offline --quiet .github
}

[ $# -gt 0 ] || set -- packages secrets workflows
# To the end: what one finds does not hide what the others would.
failed=()
for one in "$@"; do
    case $one in
    packages | secrets | workflows) "$one" || failed+=("$one") ;;
    *)
        echo "$one is none of packages, secrets, workflows" >&2
        exit 2
        ;;
    esac
done
[ ${#failed[@]} = 0 ] || {
    echo "Not clean: ${failed[*]}" >&2
    exit 1
}
