"""One run of a CronJob as its manifest says it, with processes in place of containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kustomized import Object, of


class ContainerFailed(Exception):
    """A container ended with an error; none after it has run. The text is what it said."""


Secrets = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What stands around a job.

    Attributes:
        objects: the build that the job is in, with its config maps.
        secrets: values by the Secrets' names and keys.
        claims: where volume claims keep their files, a folder for each.
        elsewhere: variables that are different on this machine: addresses, for the most part.
    """

    objects: list[Object]
    secrets: Secrets
    claims: Path
    elsewhere: Mapping[str, str]

    def run(self, name: str, **variables: str) -> str:
        """Run a job's containers one after another; what they said.

        Args:
            name: the CronJob's.
            variables: in place of what its manifest says.

        Raises:
            ContainerFailed: one of them did.
        """
        [job] = [one for one in of(self.objects, "CronJob") if one["metadata"]["name"] == name]
        pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        said = ""
        with TemporaryDirectory() as scratch:
            folders = {one["name"]: self._volume(one, Path(scratch)) for one in pod["volumes"]}
            for container in (*pod["initContainers"], *pod["containers"]):
                said += self._start(container, folders, variables)
        return said

    def _volume(self, volume: Object, scratch: Path) -> Path:
        if "persistentVolumeClaim" in volume:
            folder = self.claims / str(volume["persistentVolumeClaim"]["claimName"])
        else:
            folder = scratch / str(volume["name"])
        folder.mkdir(parents=True, exist_ok=True)
        if "configMap" in volume:
            [found] = [
                one
                for one in of(self.objects, "ConfigMap")
                if one["metadata"]["name"] == volume["configMap"]["name"]
            ]
            for name, text in found["data"].items():
                (folder / name).write_text(text, encoding="utf-8")
        return folder

    def _start(
        self, container: Object, folders: Mapping[str, Path], variables: Mapping[str, str]
    ) -> str:
        places = {one["mountPath"]: folders[one["name"]] for one in container["volumeMounts"]}

        def here(text: str) -> str:
            for mounted, folder in places.items():
                if text == mounted or text.startswith(f"{mounted}/"):
                    return str(folder) + text.removeprefix(mounted)
            return text

        env = {
            one["name"]: here(
                one["value"]
                if "value" in one
                else self.secrets[one["valueFrom"]["secretKeyRef"]["name"]][
                    one["valueFrom"]["secretKeyRef"]["key"]
                ]
            )
            for one in container["env"]
        }
        done = subprocess.run(
            [here(one) for one in container["command"]],
            # Nothing else of this process's environment: a container has none of it either.
            env={**env, **self.elsewhere, **variables, "PATH": _path()},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise ContainerFailed(f"{container['name']}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr


def _path() -> str:
    """Where the images' programs are on this machine: rclone beside Python, the rest as usual."""
    shell = shutil.which("sh") or "/bin/sh"
    return f"{Path(sys.executable).parent}:{Path(shell).parent}:/usr/bin:/bin"
