"""An image that `make images` built, and processes in it as Kubernetes would start them.

There is no Docker and no containerd here. What a process gets all the same is what the manifests
ask for: the image's files as a read-only root with /tmp as the one place to write, a user without
rights who cannot get any, and the image's environment and nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.local.process import Process

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "build" / "images"
BASE = "localhost/gliner-kserve-base:bookworm"

# $1 is the image's root, $2 a folder of ours that it sees as /tmp/shared, $3 whether it has a
# network of its own, $4 a model for /mnt/models or nothing; the rest is what runs in it.
_ENTER = """
set -eu
root=$1 shared=$2 alone=$3 model=$4
shift 4
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777,size=1g tmpfs "$root/tmp"
mkdir "$root/tmp/shared"
mount --bind "$shared" "$root/tmp/shared"
if [ "$model" ]; then
    mount -t tmpfs tmpfs "$root/mnt"
    mkdir "$root/mnt/models"
    mount --bind "$model" "$root/mnt/models"
fi
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -o remount,bind,ro "$root"
if [ "$alone" = 1 ]; then ip link set lo up; fi
exec chroot "$root" "$@"
"""


def buildah(*arguments: str) -> str:
    """What buildah says about the storage that `make images` fills."""
    driver = (BUILT / "driver").read_text().strip()
    storage = ("--root", str(BUILT / "storage"), "--runroot", str(BUILT / "run"))
    done = subprocess.run(
        ["buildah", *storage, "--storage-driver", driver, *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"buildah {' '.join(arguments)}: {done.stderr}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """An image with its files mounted.

    Attributes:
        root: where its files are.
        shared: a folder that its processes see as /tmp/shared, and may write to.
    """

    name: str
    root: Path
    shared: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the image says of itself: User, Env, Entrypoint, Labels and so on."""
        found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", self.name))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    @property
    def user(self) -> tuple[int, int]:
        """Its user and group."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    def command(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        alone: bool = False,
        model: Path | None = None,
    ) -> list[str]:
        """What runs a command in the image.

        Args:
            arguments: the command; the image's entry point is not put before it.
            env: variables on top of the image's own.
            alone: with a network of its own, so that ports are free.
            model: a bundle that it sees as /mnt/models, where KServe puts one.
        """
        variables = [*self.config["Env"], *(f"{key}={value}" for key, value in (env or {}).items())]
        folder = self.config["WorkingDir"] or "/"
        return [
            *("unshare", "--mount", *(["--net"] if alone else [])),
            *("sh", "-c", _ENTER, "sh", str(self.root), str(self.shared)),
            *("1" if alone else "0", str(model or "")),
            *self._unprivileged(),
            *("--pdeathsig", "TERM", "env", "-i", "-C", folder, *variables, *arguments),
        ]

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(arguments, env=env),
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    def healthy(self, process: Process) -> bool:
        """Whether the image's own health check passes beside a process of it."""
        kind, *check = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        done = subprocess.run(
            [
                *("nsenter", f"--target={process.pid}", "--mount", "--net", "--root", "--"),
                *(*self._unprivileged(), "env", "-i", *self.config["Env"], *check),
            ],
            check=False,
            capture_output=True,
        )
        return done.returncode == 0

    def _unprivileged(self) -> list[str]:
        user, group = self.user
        ids = (f"--reuid={user}", f"--regid={group}", "--clear-groups")
        return ["setpriv", *ids, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]


def status(pid: int) -> dict[str, str]:
    """What the kernel says of a process: Uid, CapEff, NoNewPrivs and so on."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
