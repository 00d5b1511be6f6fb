"""Bodies of Kubeflow Pipelines' REST API, held against `kfp_server_api`'s typed models."""

from __future__ import annotations

import json
import re
from email.parser import BytesParser
from email.policy import HTTP
from functools import lru_cache
from typing import Any

import kfp_server_api
import yaml

Body = dict[str, Any]
PAGE = 2
"""So few entries a page that every list takes several."""
_INT64 = {"max_concurrency", "interval_second"}


class Refused(Exception):
    """What the server answers instead."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def uploaded(headers: Any, data: bytes) -> str:
    """The one file of a multipart body."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + data)
    [part] = [one for one in message.iter_parts() if one.get_filename()]
    content: bytes = part.get_payload(decode=True)  # type: ignore[assignment]
    return content.decode()


@lru_cache
def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def page(of: str, entries: Any, query: Body) -> Body:
    found = [one for one in entries if _matches(one, query.get("filter", ""))]
    begin = int(query.get("page_token") or 0)
    end = begin + PAGE
    answer: Body = {of: found[begin:end], "total_size": len(found)}
    if end < len(found):
        answer["next_page_token"] = str(end)
    return answer


def _matches(entry: Body, text: str) -> bool:
    for predicate in (json.loads(text) if text else {}).get("predicates", ()):
        value = predicate.get("stringValue", predicate.get("string_value"))
        # The real API has numbers too, which kfp's client takes from its table.
        if predicate["operation"] not in ("EQUALS", 1) or predicate["key"] != "display_name":
            raise Refused(400, f"Invalid input error: filter {predicate} is not supported")
        if entry["display_name"] != value:
            return False
    return True


def check(body: Any, kind: str, where: str = "") -> None:
    """Hold a body against one of the client's models."""
    model = getattr(kfp_server_api, kind)
    if hasattr(model, "allowable_values"):
        if body not in model.allowable_values:
            raise Refused(400, f"{where}: {body!r} is not one of {model.allowable_values}")
        return
    if not isinstance(body, dict):
        raise Refused(400, f"{where} must be an object, got {body!r}")
    names = {theirs: ours for ours, theirs in model.attribute_map.items()}
    for key, value in body.items():
        if key not in names:
            raise Refused(400, f"unknown field {key!r} in {kind} {where}")
        _check_value(value, model.openapi_types[names[key]], f"{where}.{key}", key)


def _check_value(value: Any, kind: str, where: str, key: str) -> None:
    plain = {"str": str, "bool": bool, "object": dict, "int": int, "datetime": str}
    if key in _INT64 and str(value).isdigit():
        return
    if kind in plain:
        if not isinstance(value, plain[kind]):
            raise Refused(400, f"{where} must be {kind}, got {value!r}")
    elif match := re.fullmatch(r"list\[(.+)\]", kind):
        for one in value:
            _check_value(one, match[1], where, "")
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            raise Refused(400, f"{where} must be an object, got {value!r}")
        for one in value.values():
            if match[1] != "object":
                _check_value(one, match[1], where, "")
    else:
        check(value, kind, where)
