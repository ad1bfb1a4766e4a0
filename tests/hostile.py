"""Hostile octets: edits of any encoding, and any value for any field of any message."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from fairlead.errors import FairleadError


def only_ours(attempt: Callable[[], object]) -> None:
    """The attempt succeeds or raises an error of our tree."""
    with contextlib.suppress(FairleadError):
        attempt()


# ── Changes ──────────────────────────────────────────────────────────────────────────────────

_EDGES = [0, 1, 2, 31, 32, 33, 127, 128, 255, 512, 513, 65_535, 2**31 - 1]
_WIDE = [2**32, 2**53, 2**62, 2**63 - 1]


def _numbers(kind: int) -> st.SearchStrategy[int]:
    if kind == FieldDescriptor.CPPTYPE_UINT32:
        return st.sampled_from([*_EDGES, 2**32 - 1])
    if kind == FieldDescriptor.CPPTYPE_UINT64:
        return st.sampled_from([*_EDGES, *_WIDE, 2**64 - 1])
    signed = [-1, -(2**31)]
    if kind == FieldDescriptor.CPPTYPE_INT64:
        return st.sampled_from([*_EDGES, *_WIDE, *signed, -(2**63)]) | st.integers(0, 2**33)
    return st.sampled_from([*_EDGES, *signed])


def _octets() -> st.SearchStrategy[bytes]:
    sizes = st.sampled_from([0, 1, 15, 16, 31, 32, 33, 64, 1216])
    return sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size)) | st.binary()


def _texts() -> st.SearchStrategy[str]:
    known = [
        "",
        "customs",
        "terminal-north",
        "container",
        "gate-in",
        "../x",
        "\x00",
        "é",
        "x" * 5_000,
    ]
    return st.sampled_from(known) | st.text(max_size=40)


def _value(field: Any, depth: int) -> st.SearchStrategy[Any]:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_MESSAGE:
            inner: Any = field.message_type._concrete_class  # type: ignore[union-attr]
            return fields(inner, depth + 1).map(lambda given: inner(**given))
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_STRING:
            return _octets() if field.type == FieldDescriptor.TYPE_BYTES else _texts()
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.sampled_from([-1, 0, 1, 2, 3, 7, 77])
        case kind:
            return _numbers(kind)


def fields(kind: type[Message], depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Some fields of a message with values of their type, sensible or not."""
    options: dict[str, st.SearchStrategy[Any]] = {}
    for field in kind.DESCRIPTOR.fields:
        if depth > 2 and field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            continue
        one = _value(field, depth)
        options[field.name] = st.lists(one, max_size=4) if field.is_repeated else one
    return st.fixed_dictionaries({}, optional=options)


def few_fields(kind: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    """One to three fields, so that most of the message stays as it was."""
    return fields(kind).map(lambda found: dict(list(found.items())[:3]))


def edits() -> st.SearchStrategy[Callable[[bytes], bytes]]:
    """Flipped bits, cuts, insertions and repetitions at any place."""

    def edit(what: str, place: int, data: bytes) -> Callable[[bytes], bytes]:
        def apply(octets: bytes) -> bytes:
            at = place % (len(octets) + 1)
            if what == "flip":
                return (
                    octets[:at]
                    + bytes(b ^ 1 << place % 8 for b in octets[at : at + 1])
                    + (octets[at + 1 :])
                )
            if what == "cut":
                return octets[:at]
            if what == "insert":
                return octets[:at] + data + octets[at:]
            return octets[:at] + octets[at // 2 :]

        return apply

    return st.builds(
        edit,
        st.sampled_from(["flip", "flip", "flip", "cut", "insert", "repeat"]),
        st.integers(0, 100_000),
        st.binary(max_size=8),
    )


def with_fields(message: Message, given_fields: Mapping[str, Any]) -> Any:
    """A copy with these fields in place of its own."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in given_fields:
        copy.ClearField(name)
    copy.MergeFrom(type(message)(**given_fields))
    return copy
