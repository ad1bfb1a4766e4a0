"""Certificates of a CMS message in the order that DER wants (X.690 §11.6).

OpenSSL's timestamp command puts a signer before its issuer, as RFC 5652 §5.1 allows; the library
takes a set in DER's order alone. The certificates of a SignedData are outside of what is signed, so
sorting them changes nothing that anybody attests. What is no response is left as it is, for others
to judge."""

from __future__ import annotations

SEQUENCE, FIRST = 0x30, 0xA0


def in_order(response: bytes) -> bytes:
    """The response with its certificates sorted: as many octets, in places that only move."""
    try:
        # TimeStampResp { status, ContentInfo { oid, [0] { SignedData { version, digests, content,
        # [0] certificates … } } } }
        _, token = _children(response, 0, len(response), SEQUENCE, 2)
        _, wrapped = _children(response, *token, SEQUENCE, 2)
        (signed,) = _children(response, *wrapped, FIRST, 1)
        *_, certificates = _children(response, *signed, SEQUENCE, 4)
        begin, end = _inside(response, *certificates, FIRST)
    except (ValueError, IndexError):
        return response
    pieces = []
    at = begin
    try:
        while at < end:
            _, stop = _one(response, at, end)
            pieces.append(response[at:stop])
            at = stop
    except (ValueError, IndexError):
        return response
    return response[:begin] + b"".join(sorted(pieces)) + response[end:]


def _children(data: bytes, begin: int, end: int, tag: int, count: int) -> list[tuple[int, int]]:
    """The first children of the element there: where each begins and ends.

    :raises ValueError: it is not of this tag, or has fewer.
    """
    at, stop = _inside(data, begin, end, tag)
    found = []
    for _ in range(count):
        _, after = _one(data, at, stop)
        found.append((at, after))
        at = after
    return found


def _inside(data: bytes, begin: int, end: int, tag: int) -> tuple[int, int]:
    content, stop = _one(data, begin, end)
    if data[begin] != tag:
        raise ValueError
    return content, stop


def _one(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content of the element at ``at`` begins and ends.

    :raises ValueError: it does not end before ``end``, or its length is not definite.
    """
    size, content = data[at + 1], at + 2
    if size >= 0x80:
        octets = size & 0x7F
        if not 1 <= octets <= 4:
            raise ValueError
        size, content = int.from_bytes(data[content : content + octets], "big"), content + octets
    if content + size > end:
        raise ValueError
    return content, content + size
