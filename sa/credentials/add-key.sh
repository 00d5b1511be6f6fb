#!/bin/sh
# Draws an API key for a caller, prints it once, and writes its hash into api-keys.env, which git
# ignores. Apply it with `kubectl apply -k sa/credentials -n NAMESPACE`: running predictors read it
# within a minute or two. To take a key away, remove its line and apply again.
#
#   sa/credentials/add-key.sh NAME
set -eu
umask 077
cd "$(dirname "$0")"

name=${1-}
case $name in
'' | *[!A-Za-z0-9._-]* | [!A-Za-z0-9]*)
    echo "usage: sa/credentials/add-key.sh NAME, in letters, digits, dots, dashes and underscores" >&2
    exit 2
    ;;
esac

if command -v sha256sum >/dev/null; then hash=sha256sum; else hash='shasum -a 256'; fi
key=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
printf '%s=%s\n' "$name" "$(printf %s "$key" | $hash | cut -d ' ' -f 1)" >>api-keys.env
echo "$key"
