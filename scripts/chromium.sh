#!/usr/bin/env bash
# Installs Chromium for the browser tests where that needs no question: Debian or Ubuntu, with root or
# a sudo that asks no password. Elsewhere it says so, and those tests are skipped.
set -euo pipefail

for browser in chromium chromium-browser google-chrome; do
    if command -v "$browser" >/dev/null; then exit; fi
done

skip() {
    echo "Chromium is not installed and $1: the browser tests are skipped."
    exit
}

grep -qsE '^ID(_LIKE)?=.*(debian|ubuntu)' "${OS_RELEASE:-/etc/os-release}" || skip "this is not Debian or Ubuntu"
as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || skip "installing it needs root"
    as_root=(sudo -n)
fi

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends chromium >/dev/null 2>&1
}

echo "Installing Chromium for the browser tests, about 1 minute …"
install || { "${as_root[@]}" apt-get update >/dev/null 2>&1 && install; } || skip "apt-get could not install it"
