"""What the tests' Kubernetes API answers with: Statuses, faults, and objects after a patch."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass
class Fault:
    """Something that goes wrong with requests.

    Attributes:
        status: the answer instead of the real one; 0 leaves it.
        method, path: which requests, by method and a part of the path; empty for all.
        times: how many of them; each counts down.
        skip: how many go well before.
        headers: of the answer.
        cut: breaks the connection: `before` the request is handled, or `after`, so that what was
            asked for is done and nobody says so.
        seconds: before it is handled.
        reason: of the Status.
    """

    status: int = 0
    method: str = ""
    path: str = ""
    times: int = 1
    skip: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    seconds: float = 0
    reason: str = ""

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is one of them."""
        if self.times <= 0 or self.method not in ("", method) or self.path not in path:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Refusal(Exception):
    """An answer that is a Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


def status(code: int, reason: str, message: str) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success" if code < 400 else "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def patched(old: Object, content_type: str, patch: Any) -> Object:
    if content_type == "application/merge-patch+json":
        merged: Object = _merge(copy.deepcopy(old), patch)
        return merged
    if content_type == "application/json-patch+json":
        return _json_patch(copy.deepcopy(old), patch)
    raise Refusal(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted "
        "media types include: application/json-patch+json, application/merge-patch+json",
    )


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    target = target if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = _merge(target.get(key), value)
    return target


def _json_patch(target: Object, operations: list[Object]) -> Object:
    """RFC 6902: add, remove, replace and test, which is what clients send."""
    for one in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]
        ]
        try:
            parent: Any = target
            for part in parents:
                parent = parent[int(part)] if isinstance(parent, list) else parent[part]
            key: Any = int(last) if isinstance(parent, list) and last != "-" else last
            if one["op"] == "test" and parent[key] != one["value"]:
                raise Refusal(422, "Invalid", f"testing path {one['path']} failed")
            if one["op"] == "remove":
                del parent[key]
            elif one["op"] in ("add", "replace"):
                if one["op"] == "replace":
                    parent[key]
                if isinstance(parent, list) and one["op"] == "add":
                    parent.insert(len(parent) if key == "-" else key, one["value"])
                else:
                    parent[key] = one["value"]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Refusal(422, "Invalid", f"the path {one['path']} does not exist") from None
    return target
