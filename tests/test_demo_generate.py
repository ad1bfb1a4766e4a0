"""demo.generate: a deterministic port with valid numbers and one stolen release."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.cast import STORY_CONTAINER
from demo.generate import generate
from demo.ledger import PARTNERS
from demo.story import Story
from fairlead.identifiers import Validity, normalise
from node.sources.opening import open_source
from node.sources.record import SourceRecord
from node.sources.source import records_of

NOW = 1_790_000_000.0
SIZE = 3_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Story, Path]:
    """A small port."""
    folder = tmp_path_factory.mktemp("demo")
    return generate(folder, seed=7, records=SIZE, now=NOW), folder


@pytest.fixture(scope="module")
def records(demo: tuple[Story, Path]) -> dict[str, list[SourceRecord]]:
    """Every partner's records, read through its own mappings."""
    found: dict[str, list[SourceRecord]] = {}
    for partner, mappings in demo[0].mappings.items():
        sources = [open_source(mapping, now=NOW, environ={}) for mapping in mappings]
        found[partner] = [record for source in sources for record in records_of(source)]
        assert not [row for source in sources for row in source.report().excluded]
    return found


def about(records: list[SourceRecord], value: str) -> list[SourceRecord]:
    """Records that a canonical value leads to, oldest first."""
    hits = [r for r in records if value in {i.value for i in r.identifiers}]
    return sorted(hits, key=lambda r: r.occurred_at)


def digest(folder: Path) -> str:
    """One digest over all files of a folder."""
    chain = hashlib.sha256()
    for path in sorted(folder.rglob("*.*")):
        chain.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return chain.hexdigest()


def cells(folder: Path) -> Iterator[str]:
    """Every cell of every generated file."""
    for path in folder.rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                yield from row


def test_the_same_seed_writes_the_same_octets(demo: tuple[Story, Path], tmp_path: Path) -> None:
    """Seed, size and now decide everything; another seed gives another port."""
    again, other = tmp_path / "again", tmp_path / "other"
    generate(again, seed=7, records=SIZE, now=NOW)
    generate(other, seed=8, records=SIZE, now=NOW)
    assert digest(again) == digest(demo[1])
    assert digest(other) != digest(demo[1])


def test_every_partner_has_records_and_the_total_is_as_asked(
    demo: tuple[Story, Path], records: dict[str, list[SourceRecord]]
) -> None:
    """Six partners, no row that its own mapping refuses, at least the size asked for."""
    assert set(records) == set(PARTNERS)
    assert all(records.values())
    assert demo[0].records == sum(map(len, records.values())) >= SIZE


def test_the_default_story_container_is_a_valid_number() -> None:
    """The number of the story has its right check digit."""
    found = normalise("container", STORY_CONTAINER)
    assert (found.value, found.validity) == ("MSCU6639870", Validity.CHECKSUM_OK)


def test_identifiers_are_valid_but_for_a_few_typos(
    records: dict[str, list[SourceRecord]],
) -> None:
    """Check digits are right except for the odd one, as in any real list."""
    validities = [i.validity for rs in records.values() for r in rs for i in r.identifiers]
    wrong = [v for v in validities if v not in {Validity.CHECKSUM_OK, Validity.FORMAT_OK}]
    assert set(wrong) <= {Validity.CHECKSUM_FAILED}
    assert len(wrong) < len(validities) / 100


def test_the_release_story_is_told_by_its_owners(
    demo: tuple[Story, Path], records: dict[str, list[SourceRecord]]
) -> None:
    """Between issue and collection exactly the three accounts looked the release up."""
    story = demo[0]
    both = records["oceanic-line"] + records["terminal-north"]
    told = about(both, story.container)
    window = [r for r in told if story.issued_at <= r.occurred_at < story.collected_at]
    lookups = [r.fields["account"] for r in window if r.event == "release-looked-up"]
    assert tuple(lookups) == story.accounts
    assert lookups[-1] == story.unusual_account == "svc-gate-07"
    unusual = [r for r in window if r.fields.get("account") == story.unusual_account]
    assert [r.occurred_at % 86_400 for r in unusual] == [2 * 3600 + 14 * 60]
    (out,) = [r for r in told if r.event == "gate-out"]
    assert out.occurred_at == story.collected_at
    assert story.plate in {i.value for i in out.identifiers}
    assert min(r.occurred_at for r in told) > NOW - 90 * 86_400
    assert max(r.occurred_at for r in told) < NOW


def test_the_other_partners_know_their_part_and_the_police_nothing(
    demo: tuple[Story, Path], records: dict[str, list[SourceRecord]]
) -> None:
    """No hit at the police and customs; a sighting at the guards, a barge at the inland port."""
    story = demo[0]
    assert not about(records["police"], story.container)
    assert not about(records["police"], story.plate)
    assert not about(records["customs"], story.container)
    assert [r.event for r in about(records["quayguard"], story.container)] == [
        "concerning-behaviour"
    ]
    assert [r.event for r in about(records["quayguard"], story.vessel)][-1] == "drone-sighting"
    assert [r.event for r in about(records["inland-port"], story.container)] == ["alert"]


def test_pointers_red_records_and_one_active_target_exist(
    demo: tuple[Story, Path], records: dict[str, list[SourceRecord]]
) -> None:
    """There is something for every rule about handling to act on."""
    police = records["police"]
    assert "H2" in {r.handling.europol for r in about(police, demo[0].police_container)}
    assert "RED" in {r.handling.tlp for r in police}
    targets = [r for rs in records.values() for r in rs if r.active_target]
    assert targets == about(targets, demo[0].active_target)
    assert len(targets) == 1


def test_no_pin_is_written_anywhere(demo: tuple[Story, Path]) -> None:
    """A release is known by its reference alone."""
    assert not [cell for cell in cells(demo[1]) if "pin" in cell.lower().split()]
    headers = {cell.lower() for cell in cells(demo[1]) if cell.isidentifier()}
    assert not {name for name in headers if name == "pin" or name.endswith("_pin")}


def test_persons_are_present_to_be_redacted_and_cards_never_leave(
    records: dict[str, list[SourceRecord]],
) -> None:
    """Names stand in releasable fields; card numbers are withheld before the index."""
    gate = [r for r in records["terminal-north"] if "driver_name" in r.fields]
    assert gate
    assert all(r.withheld == ("driver_card",) for r in gate)
    assert not [r for rs in records.values() for r in rs if "driver_card" in r.fields]
