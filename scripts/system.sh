#!/usr/bin/env bash
# Installs programs that no Python package brings, where that needs no question: Debian or Ubuntu,
# with root or a sudo that asks no password. Elsewhere it says so, and tests that need them are skipped.
#
#   scripts/system.sh chromium mariadb-server prometheus prometheus-alertmanager
set -euo pipefail
PATH=$PATH:/usr/sbin:/usr/local/sbin

# What each Debian package is known by, wherever it came from.
commands() {
    case $1 in
    chromium) echo chromium chromium-browser google-chrome ;;
    mariadb-server) echo mariadbd ;;
    build-essential) echo cc ;;
    prometheus-alertmanager) echo prometheus-alertmanager alertmanager ;;
    *) echo "$1" ;;
    esac
}

here() {
    for name in $(commands "$1"); do
        if command -v "$name" >/dev/null; then return; fi
    done
    return 1
}

missing=()
for package in "$@"; do
    here "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

skip() {
    echo "${missing[*]}: not installed and $1; what needs them is skipped."
    exit
}

grep -qsE '^ID(_LIKE)?=.*(debian|ubuntu)' "${OS_RELEASE:-/etc/os-release}" || skip "this is not Debian or Ubuntu"
as_root=()
if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || skip "installing them needs root"
    as_root=(sudo -n)
fi

# RUNLEVEL=1: the packages' own services stay down.
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install --yes --no-install-recommends "$@" >/dev/null 2>&1
}

echo "Installing ${missing[*]}, about 1 minute …"
install "${missing[@]}" && exit
"${as_root[@]}" apt-get update >/dev/null 2>&1 || true
# Each by itself: of several apt-get installs none where it lacks one, and Ubuntu has no chromium
# but as a snap.
failed=()
for package in "${missing[@]}"; do
    install "$package" || failed+=("$package")
done
missing=("${failed[@]}")
[ ${#missing[@]} = 0 ] || skip "apt-get could not install them"
