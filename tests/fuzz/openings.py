"""Sealed detail and its opening: octets from an asker, an auditor, and an oversight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairlead import signing
from fairlead.detail import SealedDetail, open_detail
from fairlead.opening.filtering import read_details, read_shares
from fairlead.opening.matches import take_matches
from fairlead.opening.opened import Opened
from fairlead.opening.remaking import read_asked, read_owned, remake_asked, remake_owned
from fairlead.opening.request import Subject, verify_request
from fairlead.opening.share import Kept, take
from fairlead.partners import Directory
from fairlead.shamir import Share
from fairlead.v1 import opening_pb2 as pb
from tests.fuzz.target import Target
from tests.openings import Asked, Logged, auditors_world, blind_walk
from tests.walks import NOW, TERM


def targets(folder: Path) -> Iterator[Target]:
    """Every parser on the way, each with a sealed and a blind query's octets."""
    world = auditors_world(folder)
    walks = [world.walk(TERM), blind_walk(world, TERM)]
    asked = Logged.at_gateway(*walks).search(Subject(scheme=TERM[0], value=TERM[1]))
    first, second, *_ = asked.committee
    opened = [asked.open(first, second, place=place) for place in range(2)]
    yield Target(
        name="sealed-detail",
        seeds=[walk.detail for walk in walks],
        attempt=lambda data: _open(asked, data),
    )
    yield Target(name="key-share", seeds=[b"\x01" + bytes(32)], attempt=Share.from_bytes)
    yield Target(
        name="asked-detail",
        seeds=[signing.canonical(item.asked) for item in opened if item.asked],
        attempt=lambda data: _remake(opened, [world.directory], data),
    )
    yield Target(
        name="owned-detail",
        seeds=[signing.canonical(pb.OwnedDetail(mandate=walks[0].signed.mandate))],
        attempt=lambda data: remake_owned(read_owned(data), opened[0].item, [world.directory]),
    )
    yield Target(
        name="opening-request",
        seeds=[asked.signed],
        attempt=lambda data: verify_request(data, directories=[world.directory], now=NOW),
    )
    yield Target(
        name="opening-key",
        seeds=[asked.secret],
        attempt=lambda data: Kept.parse(data, asked.request),
    )
    alone = Logged.at_gateway(walks[0]).ask()
    yield Target(
        name="opening-shares",
        seeds=[alone.file(first)],
        attempt=lambda data: take(data, alone.request, alone.kept),
    )
    yield Target(
        name="opening-given",
        seeds=[asked.file(second)],
        attempt=lambda data: read_shares(data, asked.request, asked.oversight(first)),
    )
    yield Target(
        name="opening-details",
        seeds=[signing.canonical(pb.OpeningDetails(details=asked.kept.details))],
        attempt=lambda data: read_details(data, asked.request),
    )
    yield Target(
        name="opening-found",
        seeds=[asked.filtered(second).octets],
        attempt=lambda data: take_matches(data, asked.request, asked.kept),
    )


def _open(asked: Asked, data: bytes) -> object:
    item = asked.request.sought[0]
    shares = {r.partner_id: r.shares[0] for r in asked.answers(*asked.committee)}
    return open_detail(SealedDetail.parse(data), item.bound, shares)


def _remake(opened: list[Opened], directories: list[Directory], data: bytes) -> object:
    detail = read_asked(data)
    return [remake_asked(detail, item.item, directories) for item in opened]
