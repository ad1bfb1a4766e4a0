"""What each decision point is told, as JSON Schema: derived from the builders of inputs.

``opa check`` then finds a rule that reads a field which its point is never told. The files in
``policies/schema`` are these; a test compares.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from fairlead.policy import inputs

Json = dict[str, Any]
BUILDERS: Mapping[str, Callable[..., Any]] = {
    "asking": inputs.asking_input,
    "admission": inputs.admission_input,
    "routing": inputs.routing_input,
    "sovereignty": inputs.sovereignty_input,
    "release": inputs.release_input,
    "statistics": inputs.statistics_input,
}
_SEALED = ("admission", "routing")
"""Points that see neither window nor events."""
_PLAIN = {str: "string", int: "integer", bool: "boolean", type(None): "null"}


def input_schemas() -> dict[str, Json]:
    """Point → schema of its input."""
    return {point: _point(point, builder) for point, builder in BUILDERS.items()}


def _point(point: str, builder: Callable[..., Any]) -> Json:
    hints = typing.get_type_hints(builder)
    fields = {name: _schema(hint) for name, hint in hints.items() if name != "return"}
    if point == "statistics":
        asked = {name: fields.pop(name) for name in ("cube", "level", "purpose")}
        fields["question"] = _object(asked)
    elif point in _SEALED:
        for name in ("window_days", "events"):
            fields["query"]["properties"][name] = {"type": "null"}
    else:
        fields["query"]["properties"]["events"] = _schema(Sequence[str])
    head = {"schema": {"type": "integer", "enum": [inputs.SCHEMA]}, "point": {"type": "string"}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"What the decision point {point} is told",
        **_object({**head, **fields}),
    }


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _schema(hint: Any) -> Json:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if is_dataclass(hint):
        return _object({n: _schema(h) for n, h in typing.get_type_hints(hint).items()})
    if origin is typing.Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [_schema(argument) for argument in arguments]}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1])}
    if origin in {tuple, Sequence, Collection}:
        return {"type": "array", "items": _schema(arguments[0])}
    raise TypeError(hint)
