#!/usr/bin/env bash
# Builds the container images without Docker: buildah without a daemon, on a base that debootstrap
# makes, since this needs no registry. Into build/images, which git ignores; takes root.
#
#   scripts/images.sh build [predictor pipeline mlflow]   build them, and print what is how large
#   scripts/images.sh sizes [predictor pipeline mlflow]   print it again
#   scripts/images.sh clean                               remove all of build/images
#
# BASE names another base that is in that storage already; TORCH and TORCH_INDEX are the Dockerfiles'.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/usr/local/sbin

here=$PWD/build/images
own_base=localhost/gliner-kserve-base:bookworm
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

fail() {
    echo "$1" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "Building images without Docker needs root: sudo make images, or docker buildx as docs/images.md says."
for one in buildah debootstrap; do
    command -v "$one" >/dev/null || fail "$one is not installed: apt-get install buildah debootstrap, on Debian or Ubuntu."
done

# The kernel's overlay where it lets itself be mounted here; else whole copies, which are slow and large.
driver() {
    local try
    try=$(mktemp -d "$here/overlay.XXXX")
    mkdir "$try/lower" "$try/upper" "$try/work" "$try/merged"
    if mount -t overlay overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" "$try/merged" 2>/dev/null; then
        umount "$try/merged"
        echo overlay
    else
        echo vfs
    fi
    rm -rf "$try"
}

# A storage of its own: no image of yours is touched, and all of it goes with one folder.
mkdir -p "$here"
[ -f "$here/driver" ] || driver >"$here/driver"
store() {
    local command=$1
    shift
    buildah --root "$here/storage" --runroot "$here/run" --storage-driver "$(cat "$here/driver")" "$command" "$@"
}

# Debian's own Python on the smallest Debian, from where this machine gets its packages.
make_base() {
    if store images --quiet "$own_base" >/dev/null 2>&1; then return; fi
    echo "Making a base of Debian bookworm, about 1 minute …"
    local mirror folder=$here/base container
    # Either of the two files may be missing.
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
        sed -nE 's#^(URIs: *|deb (\[[^]]*\] )?)(https?://[^ ]+).*#\3#p' | sed -n 1p) || true
    rm -rf "$folder"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        bookworm "$folder" ${mirror:+"$mirror"} >"$here/base.log" 2>&1 ||
        fail "debootstrap failed, $here/base.log says how: $(tail -n 1 "$here/base.log")"
    # What docker's own slim images leave out as well, and where this machine got its packages.
    rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/* "$folder"/var/log/* \
        "$folder"/usr/share/{doc,locale,man}/* "$folder"/etc/apt/sources.list
    container=$(store from scratch)
    # A tar keeps owners and modes as they are.
    tar -C "$folder" --numeric-owner -cf "$here/base.tar" .
    store add --quiet "$container" "$here/base.tar" / >/dev/null
    store commit --quiet --format docker --rm "$container" "$own_base" >/dev/null
    rm -rf "$folder" "$here/base.tar"
}

# This machine's way to packages, for the build stage alone: pip's settings and the local folders
# that they name are mounted, never copied. The final stage runs nothing, so none of it is there.
pip_mounts() {
    "$(scripts/python.sh)" - "$here/pip.conf" <<'PY'
import ast, pathlib, subprocess, sys
target = pathlib.Path(sys.argv[1])
listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
settings = {}
for line in listed.stdout.splitlines():
    key, equals, value = line.partition("=")
    section, _, name = key.rpartition(".")
    if equals and section in {"global", "install", ":env:"}:
        # Variables come first in the list and win.
        settings.setdefault(name, ast.literal_eval(value))
words = [word for value in settings.values() for word in value.split()]
lines = [f"{name} = " + "\n    ".join(value.split()) for name, value in settings.items()]
target.write_text("\n".join(["[global]", *lines]) + "\n")
print(f"--volume={target}:/etc/pip.conf:ro")
folders = set()
for word in words:
    path = pathlib.Path(word.removeprefix("file://"))
    if path.is_absolute() and path.exists():
        # An index in a folder keeps its files beside `simple`.
        folders.add(path.parent if path.name == "simple" else path)
for path in sorted(folders):
    print(f"--volume={path}:{path}:ro")
PY
}

build() {
    local name started mounts
    [ -n "${BASE:-}" ] || make_base
    mapfile -t mounts < <(pip_mounts)
    for name in "$@"; do
        started=$SECONDS
        echo "Building $name, about 2 minutes; its log is build/images/$name.log …"
        store build --isolation chroot --network host --format docker --pull-never \
            "${mounts[@]}" --build-arg "BASE=${BASE:-$own_base}" --build-arg "TORCH=${TORCH-cpu}" \
            --build-arg "TORCH_INDEX=${TORCH_INDEX:-}" \
            --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
            --file "$name/Dockerfile" --tag "localhost/gliner-kserve/$name:$version" . \
            >"$here/$name.log" 2>&1 || fail "$(tail -n 5 "$here/$name.log")
Building $name failed; all of it is in build/images/$name.log."
        echo "Built $name in $((SECONDS - started)) s."
    done
    rm -f "$here/pip.conf"
    # What builds before left behind.
    store rmi --prune >/dev/null 2>&1 || true
}

# What an image takes unpacked, and the largest of its packages.
sizes() {
    local name container root
    for name in "$@"; do
        container=$(store from --pull-never "localhost/gliner-kserve/$name:$version")
        root=$(store mount "$container")
        du -sm "$root" | awk -v name="$name" '{printf "\n%-28s %6d MB\n", name, $1}'
        {
            du -sm "$root/usr" | sed "s#$root/##; s#usr#the base#"
            # MLflow's image has no code of ours.
            { find "$root"/opt/venv/lib/python3.*/site-packages "$root/app" -mindepth 1 -maxdepth 1 \
                -exec du -sm {} + 2>/dev/null || true; } | sed "s#$root/.*/##"
        } | sort -rn | sed -n 1,9p | awk '{printf "  %-26s %6d MB\n", $2 " " $3, $1}'
        store rm "$container" >/dev/null
    done
}

action=${1:-}
shift || true
[ $# -gt 0 ] || set -- predictor pipeline mlflow
case $action in
build)
    build "$@"
    sizes "$@"
    ;;
sizes) sizes "$@" ;;
clean)
    # What a run that was cut off has left mounted would keep its folder.
    awk -v here="$here/" 'index($2, here) == 1 {print $2}' /proc/mounts | sort -r | xargs -r umount --lazy
    rm -rf "$here"
    ;;
*) fail "scripts/images.sh build|sizes|clean [predictor pipeline mlflow]" ;;
esac
