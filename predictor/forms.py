"""HTML forms as the fields of a request.

Starlette's parser reads bytes that are not UTF-8 as Latin-1, so that `curl -d 'text=Zürich'`
would look for entities in another text than the one sent.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import FormParser, parse_options_header

from predictor.errors import InvalidRequest
from predictor.json_body import load_json

TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_MOST_FIELDS = 1_000
_LISTS = ("labels", "entity_type")
"""Fields that may come several times: a list."""


def read(body: bytes, content_type: str) -> dict[str, Any]:
    """Read a form's fields, which are text, as what they stand for.

    Args:
        body: the whole body.
        content_type: the header, with the boundary of a multipart form.

    Raises:
        InvalidRequest: it is no form or not all of one, not UTF-8, or a field comes twice.
    """
    try:
        if content_type.lower().startswith(TYPES[0]):
            pairs = parse_qsl(
                body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
            )
        else:
            pairs = _multipart(body, content_type)
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8") from None
    except (FormParserError, ValueError):
        raise InvalidRequest(
            f"the body is not a form of at most {_MOST_FIELDS} fields with this content type"
        ) from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif name in _LISTS:
            before = fields[name]
            fields[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            raise InvalidRequest("is given twice", field=name)
    return {name: _meaning(name, value) for name, value in fields.items()}


def _multipart(body: bytes, content_type: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []

    def add(field: Any) -> None:
        if len(pairs) == _MOST_FIELDS:
            raise ValueError
        pairs.append((field.field_name.decode(), (field.value or b"").decode()))

    def refuse(file: Any) -> None:
        raise InvalidRequest("must be text, not a file", field=(file.field_name or b"").decode())

    whole = False

    def end() -> None:
        nonlocal whole
        whole = True

    _, options = parse_options_header(content_type)
    parser = FormParser("multipart/form-data", add, refuse, end, options.get(b"boundary"))
    parser.write(body)
    parser.finalize()
    if not whole:  # the field that was cut off would pass for one that was not given
        raise InvalidRequest("the form is cut off; it must end with its closing boundary")
    return pairs


def _meaning(name: str, value: Any) -> Any:
    if name == "threshold":
        try:
            return float(value)
        except ValueError:
            return value
    if name in ("flat_ner", "multi_label"):
        return {"true": True, "false": False}.get(value.lower(), value)
    if name == "thresholds":
        try:
            return load_json(value.encode())
        except InvalidRequest:
            raise InvalidRequest("must be a JSON object", field=name) from None
    return value
