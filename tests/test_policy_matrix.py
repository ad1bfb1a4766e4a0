"""The matrix says what the engine decides, and its page runs nothing and hides nothing."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from fairlead.policy.agreements import federation_data
from fairlead.policy.asked import Filters
from fairlead.policy.compiling import layer_data
from fairlead.policy.draft import Draft
from fairlead.policy.matrix import MatrixRow, matrix
from fairlead.policy.matrix_page import LEGEND, page
from tests.policy_cases import DEMO, NOW, POLICIES
from tests.random_policies import points

DATA = federation_data(DEMO)
REGISTRY = Draft.read(POLICIES).registry
EVIL = "<script>alert(1)</script>\"'&<!--"


def asked(data: Any, **filters: Any) -> list[MatrixRow]:
    """The matrix of some compiled data."""
    return matrix(points(data), data["federation"], now=NOW, filters=Filters(**filters))


def with_rows(**rows: Any) -> dict[str, Any]:
    """The demo's policy with more agreements."""
    federation = copy.deepcopy(DATA["federation"])
    agreements = federation.pop("agreements")
    federation.pop("sizes")
    return layer_data(federation, {**agreements, **rows})


@pytest.fixture(scope="module")
def rows() -> list[MatrixRow]:
    """The whole matrix of the demo."""
    return asked(DATA)


def test_the_matrix_of_the_demo(rows: list[MatrixRow]) -> None:
    """Public learn from private blind in full; private from public a pointer, after an approval."""
    (blind,) = [
        r for r in rows if (r.asker, r.owner, r.purpose) == ("police", "terminal", "infiltration")
    ]
    assert (blind.modes, blind.level) == (("blind",), "record")
    assert blind.countries == ("EU → EU",)
    assert "person-name" not in blind.schemes
    assert "without driver_name, operator_name" in blind.words()
    (desk,) = [
        r for r in rows if (r.asker, r.owner, r.purpose) == ("terminal", "police", "infiltration")
    ]
    assert (desk.modes, desk.level) == (("blind", "sealed"), "pointer")
    assert "1 to approve at the owner" in desk.conditions
    assert {r.asker for r in rows} >= {"customs", "police", "terminal"}
    assert not any(r.asker == "terminal" and r.purpose == "drug-trafficking" for r in rows)


def test_filters_leave_the_rest_out(rows: list[MatrixRow]) -> None:
    """Filtered rows are rows of the whole, for what was asked only."""
    few = asked(DATA, askers=("police",), owners=("terminal",), purposes=("infiltration",),
                schemes=("container",), modes=("blind",))  # fmt: skip
    (row,) = few
    assert (row.asker, row.owner, row.purpose, row.schemes) == (
        "police", "terminal", "infiltration", ("container",)
    )  # fmt: skip
    assert asked(DATA, countries=("GB",)) == []
    assert len(rows) > 50


def test_countries_instruments_and_second_approvers_show() -> None:
    """An agreement for one country, on an instrument, with a second person, has its own row."""
    like = DATA["federation"]["agreements"]["police-asks-police"]
    abroad = {
        **copy.deepcopy(like), "asker_countries": {"GB": True}, "transfer_ground": "led-art-36",
        "instrument": {"kinds": {"court-order": True}, "authorities": {"court": True}},
        "second_approvers": 2,
    }  # fmt: skip
    found = asked(with_rows(abroad=abroad), askers=("police",), owners=("police",))
    (row,) = [r for r in found if r.agreements == ("abroad",) and r.purpose == "infiltration"]
    assert row.countries == ("GB → EU",)
    assert "a valid court-order of a court" in row.conditions
    assert "2 more to agree at the asker" in row.conditions


def test_a_named_partner_and_one_that_opted_out_have_rows() -> None:
    """Who is named is shown by name; who opted out is missing where others of its kind are."""
    like = DATA["federation"]["agreements"]["police-asks-police"]
    named = {**copy.deepcopy(like), "from": {"kinds": {}, "partners": {"harbour-police": True}},
             "to": {"kinds": {"terminal": True}, "partners": {}}}  # fmt: skip
    found = asked(with_rows(named=named), owners=("terminal",), modes=("sealed",))
    assert any(r.asker == "harbour-police (police)" for r in found)
    out = {**copy.deepcopy(like), "opted_out": {"harbour-police": True}}
    found = asked(with_rows(**{"police-asks-police": out}), owners=("police",))
    assert not any(r.asker.startswith("harbour-police (police)") for r in found)
    assert any(r.asker == "police" for r in found)


class Seen(HTMLParser):
    """What a browser would find."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids |= {value or "" for name, value in attrs if name == "id"}
        self.links |= {value or "" for name, value in attrs if name == "href"}

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(rows: list[MatrixRow]) -> tuple[str, Seen]:
    """The page, and what is in it."""
    text = page(rows, DATA["federation"], REGISTRY, day="2026-12-01", name="draft")
    seen = Seen()
    seen.feed(text)
    return text, seen


def test_the_page_has_every_row_and_every_step(rows: list[MatrixRow]) -> None:
    """Each row stands in it, each cell leads to one, and the legend says each step in words."""
    text, seen = drawn(rows)
    assert {f"row-{i}" for i in range(1, len(rows) + 1)} == seen.ids
    assert {link.removeprefix("#") for link in seen.links} <= seen.ids
    for letter, words in LEGEND.values():
        assert words in seen.text
        assert f">{letter}<" in text
    assert "that something is held" in seen.text
    assert "Trafficking of drugs through ports. Covert:" in seen.text
    assert "Regulation (EU) No 952/2013, Article 46" in seen.text


def test_the_page_runs_and_loads_nothing(rows: list[MatrixRow]) -> None:
    """Its policy forbids all but its own style sheet, whose hash is right."""
    text, seen = drawn(rows)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert seen.tags.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert seen.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "id",
                               "scope", "title", "href"}  # fmt: skip
    assert "unsafe-inline" not in text


def test_hostile_words_are_words(rows: list[MatrixRow]) -> None:
    """A name with markup in it is shown, never obeyed."""
    evil = [replace(rows[0], asker=EVIL, owner=EVIL, purpose=EVIL, agreements=(EVIL,))]
    text, seen = drawn(evil)
    assert "script" not in seen.tags
    assert "<script>" not in text
    assert "<script>alert(1)</script>" in seen.text
