"""The annual KPI pack: the same octets twice, self-contained, signed, and honest about gaps."""

from __future__ import annotations

import csv
import io
import os
import random
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from fairlead import signing
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput
from fairlead.kpi.bundle import bundle
from fairlead.kpi.contents import Contents
from fairlead.kpi.figures import displacement, glance, modus
from fairlead.kpi.pack import kpi_page, make_pack
from fairlead.kpi.page import POLICY
from fairlead.kpi.pending import pending
from fairlead.kpi.shelf import Shelf
from fairlead.kpi.signature import Statement, read_signature, verify_pack
from fairlead.kpi.trends import Share, Span, change, share_of
from fairlead.priorities import Priorities
from fairlead.published import Published, PublishedCell
from tests.hostile import edits
from tests.released import (
    KEY,
    defaults,
    every_kind,
    release,
    small,
    small_contents,
    two_years,
    two_years_contents,
)

GOLDEN = Path(__file__).parent / "vectors" / "kpi"
PUBLIC = signing.public_bytes(KEY)


def pack(contents: Contents | None = None) -> dict[str, bytes]:
    return make_pack(contents or small_contents(), signer="customs", key=KEY)


@pytest.fixture(scope="module")
def big() -> Contents:
    """Two made-up years of every cube that ships."""
    return two_years_contents()


def sheets(data: bytes) -> dict[str, list[dict[str, str]]]:
    """The bundle's files, read."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    return {name: list(csv.DictReader(io.StringIO(text))) for name, text in texts.items()}


# ── The same octets ──────────────────────────────────────────────────────────────────────────


def test_a_second_run_gives_the_same_octets(big: Contents) -> None:
    """Page, bundle and signature depend on nothing but what they are made of, not on its order."""
    releases = [*two_years(), *two_years()]
    random.Random(3).shuffle(releases)
    again = Contents.of(
        2026, federation="example", registry=defaults(), releases=releases, priorities=Priorities()
    )
    assert again == big
    assert pack(again) == pack(big)


OTHERWISE = """
import hashlib
from tests.released import KEY, two_years_contents
from fairlead.kpi.pack import make_pack
made = make_pack(two_years_contents(), signer="customs", key=KEY)
print({name: hashlib.sha256(data).hexdigest() for name, data in sorted(made.items())})
"""


def test_another_process_gives_the_same_octets(big: Contents) -> None:
    """Neither the order of a process's sets nor its clock, zone of time or language shows."""
    told = {
        subprocess.run(
            [sys.executable, "-c", OTHERWISE],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": language},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, zone, language in (("1", "Pacific/Kiritimati", "C"), ("77", "UTC+11", "C.UTF-8"))
    }
    here = {name: signing.digest(data).hex() for name, data in sorted(pack(big).items())}
    assert told == {f"{here}\n"}


def test_the_small_pack_is_the_golden_one() -> None:
    """No octet of a pack changes without somebody looking at it (tests/vectors/kpi)."""
    made = pack()
    if os.environ.get("FAIRLEAD_GOLDEN") == "1":
        GOLDEN.mkdir(exist_ok=True)
        for name in ("kpi-2026.html", "kpi-2026.sig.json"):
            (GOLDEN / name).write_bytes(made[name])
    for name in ("kpi-2026.html", "kpi-2026.sig.json"):  # which names the bundle's digest
        assert made[name] == (GOLDEN / name).read_bytes()


def test_the_bundle_has_fixed_times_and_order() -> None:
    """Every entry of the ZIP is stored in order, with one time and one mode."""
    with zipfile.ZipFile(io.BytesIO(bundle(small_contents()))) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert {entry.external_attr >> 16 for entry in entries} == {0o100644}


# ── The page ─────────────────────────────────────────────────────────────────────────────────


class Page(HTMLParser):
    """Tags in their nesting; what is left open or closed twice is an error."""

    VOID = frozenset({"meta", "rect", "line", "circle", "polygon", "polyline", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_parses_and_loads_nothing(big: Contents) -> None:
    """The page is well nested, has its policy, and names no other resource than itself."""
    text = kpi_page(big)
    found = Page(text)
    names = {tag for tag, _ in found.tags}
    assert not names & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "form",
        "base",
        "image",
        "use",
    }
    policies = [
        a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [POLICY]
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    for _, attributes in found.tags:
        assert not {"src", "style", "srcset", "action", "xlink:href"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "@import" not in text
    assert "url(" not in text


def test_every_id_of_the_page_is_there_once(big: Contents) -> None:
    """Links and labels lead to what they name."""
    found = Page(kpi_page(big))
    ids = [a["id"] for _, a in found.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in found.tags:
        wanted = [
            (attributes.get("href") or "")[1:],
            *(attributes.get("aria-labelledby") or "").split(),
        ]
        assert {name for name in wanted if name} <= set(ids)


def test_every_chart_of_the_page_has_its_table(big: Contents) -> None:
    """A chart is followed by the table of what it shows."""
    text = kpi_page(big)
    charts = re.findall(r'</svg>\n</figure>\n<div class="wide"><table class="figures">', text)
    assert len(charts) == text.count("<svg ") > 20


def test_what_others_wrote_is_text() -> None:
    """A title, a name and a method note full of tags and formulas obey nothing, in every form."""
    bad = '=<img src=x onerror="alert(1)">\'&'
    priorities = Priorities().added(bad, "customs", small_contents().day)
    made = replace(
        small_contents(),
        federation=bad,
        priorities=priorities,
        shelf=Shelf.of([release(small(), "reports", "year", "2026", every_kind, method=bad)]),
    )
    text = kpi_page(made)
    Page(text)
    assert "<img" not in text
    files = sheets(bundle(made))
    assert files["priorities.csv"][0]["priority"] == f"'{bad}"
    assert files["method.csv"][0]["method"] == f"'{bad}"


def test_no_cell_of_the_bundle_is_a_formula(big: Contents) -> None:
    """No cell of any file begins as a spreadsheet's formulas do."""
    for rows in sheets(bundle(big)).values():
        for row in rows:
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


# ── What it says ─────────────────────────────────────────────────────────────────────────────


def test_suppressed_nought_and_not_reported_are_told_apart() -> None:
    """In the page and in the bundle each kind of cell has its own word, and no other's number."""
    text = kpi_page(small_contents())
    for kind, said in (
        ("value", "1,250 ± 15"), ("zero", "0 ± 15"), ("partial", "1,250 ± 15 in part"),
        ("suppressed", "suppressed"), ("not-reported", "not reported"),
    ):  # fmt: skip
        assert f'<td class="{kind}">{said}</td>' in text
    rows = sheets(bundle(small_contents()))["figures/reports.csv"]
    quarter = {
        (row["period"], row["cell"].partition("/")[2]): (row["shown"], row["value"], row["error"])
        for row in rows
        if row["level"] == "quarter,country,kind" and row["measure"] == "due"
    }
    assert quarter["2026-Q1", "BE/anonymous"] == ("value", "1250", "15")
    assert quarter["2026-Q1", "BE/named"] == ("zero", "0", "15")
    assert quarter["2026-Q1", "NL/anonymous"] == ("suppressed", "", "")
    assert quarter["2026-Q1", "NL/named"] == ("not-reported", "", "")
    assert quarter["2026-Q3", "BE/anonymous"] == ("not-reported", "", "")


def test_the_page_says_who_took_part_and_under_which_rules() -> None:
    """Participants over expected, suppression counts, the method and both digests are there."""
    made = small_contents()
    text = kpi_page(made)
    first = made.shelf.releases[0]
    for said in (
        "12 of 14", "none", first.method, first.rules_digest.hex(), first.registry_digest.hex(),
        "they stand in for: 1.",
    ):  # fmt: skip
        assert said in text
    rows = sheets(bundle(made))["releases.csv"]
    assert [row["suppressed"] for row in rows if row["release"].endswith("kind")] == ["5"] * 3
    assert rows[0]["octets"] == first.digest.hex()


def test_what_nobody_collects_is_said() -> None:
    """Figures of disclosure deadlines are not yet collected, until the registry counts them."""
    text = kpi_page(small_contents())
    assert text.count("not yet collected") == 4
    assert len(sheets(bundle(small_contents()))["pending.csv"]) == 4
    (cube,) = small().cubes
    assert pending([replace(cube, id="disclosures")]) == ()


def test_priorities_have_owner_day_and_status() -> None:
    """The register stands on a page, as of the day of the newest figure."""
    made = small_contents()
    rows = sheets(bundle(made))["priorities.csv"]
    assert [row["status"] for row in rows] == ["overdue", "open", "done"]
    assert [row["owner"] for row in rows] == ["port-authority", "terminal-north", "customs"]
    assert '<td class="overdue">overdue</td>' in kpi_page(made)
    assert made.day.isoformat() == "2027-01-02"


def test_a_year_without_releases_is_all_not_reported() -> None:
    """Without a single release the pack is made, and nothing in it is nought."""
    made = Contents.of(
        2026, federation="example", registry=defaults(), releases=[], priorities=Priorities()
    )
    text = kpi_page(made)
    Page(text)
    assert "not reported" in text
    assert 'class="zero"' not in text
    assert "<svg" not in text


def test_events_moving_inland_are_seen(big: Contents) -> None:
    """The page on displacement says that the share of inland ports grew, beyond the error."""
    text = "".join(displacement(big))
    assert "a larger share of events was at inland ports" in text
    assert "<svg" in text


def test_a_growing_way_of_abuse_is_seen(big: Contents) -> None:
    """PIN-code fraud grows in the table of changes; what is not shown in full is not known."""
    table = "".join(modus(big)).rpartition("<table>")[2]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th>.*?<td>([a-z ]+)</td></tr>', table))
    assert rows["PIN-code fraud"] == "more"


def displaced(quarters: Sequence[str], figure: Any) -> str:
    """The page on displacement, of these quarters."""
    made = Contents.of(
        2026,
        federation="example",
        registry=defaults(),
        priorities=Priorities(),
        releases=[
            release(defaults(), "displacement", "quarter,shore", quarter, figure)
            for quarter in quarters
        ],
    )
    return "".join(displacement(made))


QUARTERS = [f"{year}-Q{n}" for year in (2025, 2026) for n in (1, 2, 3, 4)]


def test_a_missing_quarter_is_no_smaller_year() -> None:
    """Years are compared by the quarters that both have, which are named; with none in common, or
    one that is not shown in full, no change is claimed."""

    def same(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, 500, 5)

    def hidden(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, 500 if codes == ("sea",) else None, 5)

    text = displaced(QUARTERS[:-1], same)
    assert "did not change" in text
    assert text.count("1,500 ± 15") == 4
    assert "2025 Q1 Q2 Q3" in text
    assert "2026 Q1 Q2 Q3" in text
    assert displaced(QUARTERS, same).count("2,000 ± 20") == 4
    assert "is not known" in displaced(["2025-Q1", "2026-Q2"], same)
    assert "is not known" in displaced(QUARTERS, hidden)


def test_a_year_that_is_not_over_is_seen_by_its_quarters() -> None:
    """At a glance: sums of the quarters that both years have, named; a rate has no sum."""

    def same(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, 500, 5)

    made = Contents.of(
        2026,
        federation="example",
        registry=defaults(),
        priorities=Priorities(),
        releases=[
            release(defaults(), cube, "quarter", quarter, same)
            for cube in ("reports-received", "report-feedback")
            for quarter in QUARTERS[:-1]
        ],
    )
    text = "".join(glance(made))
    row = text[text.index("Reports received: Reports") :].partition("</tr>")[0]
    assert row.count("1,500 ± 15 (Q1 Q2 Q3)") == 2
    assert "12 of 14" in row
    row = text[text.index("Days from report to feedback") :].partition("</tr>")[0]
    assert row.count("not reported") == 2

    def hidden(_: Any, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, None)

    cube = "reports-received"
    made = replace(
        made,
        shelf=Shelf.of(release(defaults(), cube, "quarter", q, hidden) for q in QUARTERS[:-1]),
    )
    row = "".join(glance(made)).partition("Reports received: Reports")[2].partition("</tr>")[0]
    assert row.count("suppressed (Q1 Q2 Q3)") == 2


# ── Trends ───────────────────────────────────────────────────────────────────────────────────


def test_a_change_is_more_than_the_error() -> None:
    """Spans that touch are no change, and what is not known changes in no direction."""
    assert change(Span(100, 5), Span(110, 5)) == "no change beyond the error"
    assert change(Span(100, 5), Span(111, 5)) == "more"
    assert change(Span(111, 5), Span(100, 5)) == "less"
    assert change(None, Span(1, 0)) == change(Span(1, 0), None) == "not known"
    assert share_of(Span(100, 10), Span(300, 10)) == Share(250, 225, 275)
    assert share_of(Span(0, 0), Span(0, 0)) is None


# ── The shelf ────────────────────────────────────────────────────────────────────────────────


def one(version: int = 1, participants: int = 12) -> Published:
    return release(
        small(), "reports", "year", "2026", every_kind, version=version, participants=participants
    )


def test_the_newest_version_counts() -> None:
    """A correction takes the place of what it corrects, and the same release twice is one."""
    shelf = Shelf.of([one(2), one(1), one(2)])
    assert [found.version for found in shelf.releases] == [2]
    assert shelf.corrected == 1


def test_two_truths_of_one_version_are_refused() -> None:
    """Two releases that say they are the same and differ are never chosen between."""
    with pytest.raises(Conflict) as caught:
        Shelf.of([one(), one(participants=11)])
    assert caught.value.code == "PUBLISHED_TWICE"


@pytest.mark.parametrize("year", [0, 1999, 2000, 2100])
def test_a_pack_is_of_a_year(year: int) -> None:
    """A year that no period has is refused."""
    with pytest.raises(InvalidInput) as caught:
        Contents.of(year, federation="x", registry=small(), releases=[], priorities=Priorities())
    assert caught.value.code == "PACK_YEAR"


# ── The signature ────────────────────────────────────────────────────────────────────────────


def parts() -> tuple[bytes, dict[str, bytes]]:
    """The signature and the files that it is over."""
    made = pack()
    return made.pop("kpi-2026.sig.json"), made


def test_a_pack_verifies() -> None:
    """Whoever has the signer's key is sure of every octet of the page and of the bundle."""
    signature, files = parts()
    statement, _ = read_signature(signature)
    assert statement == Statement.of(files, year=2026, signer="customs")
    assert verify_pack(signature, files, PUBLIC) == statement


def test_a_statement_is_signed_elsewhere() -> None:
    """Who holds the key reads what to sign, and gives the very file that the key would have."""
    signature, files = parts()
    asked = Statement.of(files, year=2026, signer="customs").to_bytes()
    read = Statement.parse(asked)
    assert read.to_bytes() == asked
    assert read.signed(signing.sign(KEY, "kpi-pack", asked)) == signature


@settings(max_examples=100, deadline=None)
@given(edits())
def test_no_statement_raises_anything_else(edit: Any) -> None:
    """Any octets in the place of a statement are refused, or are another in its one way."""
    octets = edit(read_signature(SIGNED[0])[0].to_bytes())
    try:
        read = Statement.parse(octets)
    except InvalidInput:
        return
    assert read.to_bytes() == octets


@pytest.mark.parametrize(
    "files", [{}, {"kpi-2026.html": b""}, {"kpi-2026.html": b"", "../kpi-2026.zip": b""}]
)
def test_a_pack_has_its_two_files(files: dict[str, bytes]) -> None:
    """Nothing else can be signed as a pack: fewer files, or any that lie elsewhere."""
    with pytest.raises(InvalidInput) as caught:
        Statement.of(files, year=2026, signer="customs")
    assert caught.value.code == "PACK_FILES"


@pytest.mark.parametrize("change", ["octet", "missing", "other-name", "other-key"])
def test_a_changed_pack_does_not_verify(change: str) -> None:
    """A changed, missing or renamed file, and another key, are found."""
    signature, files = parts()
    public = PUBLIC
    match change:
        case "octet":
            files["kpi-2026.html"] += b" "
        case "missing":
            del files["kpi-2026.zip"]
        case "other-name":
            files["kpi-2025.zip"] = files.pop("kpi-2026.zip")
        case "other-key":
            public = bytes(32)
    with pytest.raises(Forged):
        verify_pack(signature, files, public)


def test_a_signature_of_another_kind_does_not_verify() -> None:
    """What the key signed in another domain is no signature of a pack."""
    signature, files = parts()
    said = re.sub(rb',"signature":"[0-9a-f]+"', b"", signature.strip())
    other = signing.sign(KEY, "query", said).hex().encode()
    forged = re.sub(rb'"signature":"[0-9a-f]+"', b'"signature":"' + other + b'"', signature)
    with pytest.raises(Forged):
        verify_pack(forged, files, PUBLIC)


@settings(max_examples=100, deadline=None)
@given(edits())
def test_no_signature_raises_anything_else(edit: Any) -> None:
    """Any octets in the place of a signature are refused, or are the signature itself."""
    signature, files = SIGNED
    changed = edit(signature)
    if changed != signature:
        with pytest.raises(FairleadError):
            verify_pack(changed, files, PUBLIC)


SIGNED = parts()
