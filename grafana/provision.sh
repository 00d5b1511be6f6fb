#!/bin/sh
# Lay out Grafana's provisioning folder and its dashboards: everything that always holds, and
# those contact points whose variables are set. Run it before Grafana starts, for example as an
# init container:
#
#   provision.sh PROVISIONING [DASHBOARDS]
#
# GLINER_DOCS_URL  where docs/ can be read, for runbook links
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${1:?usage: provision.sh PROVISIONING [DASHBOARDS]}
dashboards=${2:-/var/lib/grafana/dashboards/gliner}

mkdir -p "$target" "$dashboards"
cp -R "$here/provisioning/." "$target/"
cp "$here"/dashboards/*.json "$dashboards/"

for file in "$here"/contact-points/*.yaml; do
  name=$(basename "$file" .yaml)
  needed=$(sed -n 's/^# needs: //p' "$file")
  # What an earlier start laid out goes when its variable is gone.
  rm -f "$target/alerting/contact-points-$name.yaml"
  if [ -n "$(printenv "$needed" || true)" ]; then
    cp "$file" "$target/alerting/contact-points-$name.yaml"
    echo "contact point $name: on"
  else
    echo "contact point $name: off, $needed is not set"
  fi
done

# A link that leads nowhere is worse than none.
if [ -z "${GLINER_TRACES_URL:-}" ]; then
  sources=$target/datasources/gliner.yaml
  grep -v '# only with GLINER_TRACES_URL$' "$sources" > "$sources.part"
  mv "$sources.part" "$sources"
fi

replace() {
  sed "s|$1|$2|g" "$3" > "$3.part"
  mv "$3.part" "$3"
}
replace 'path: /var/lib/grafana/dashboards/gliner' "path: $dashboards" "$target/dashboards/gliner.yaml"
if [ -n "${GLINER_DOCS_URL:-}" ]; then
  for file in "$target"/alerting/rules-*.yaml; do
    replace 'https://gliner-kserve.example/docs' "${GLINER_DOCS_URL%/}" "$file"
  done
fi
