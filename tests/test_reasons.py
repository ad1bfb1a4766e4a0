"""The catalogue of reasons: whole, translated, total, and nothing in it that tips somebody off."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.facts import refusal_of, requester_code
from fairlead.policy import reading
from fairlead.policy.decision import Audience, denial, explain
from fairlead.reasons import (
    AUDITOR,
    ENGLISH,
    PLACEHOLDERS,
    Catalogue,
    catalogue,
    chosen,
    entries,
    groups,
    reason,
)
from fairlead.reasons.catalogue import MAX_TEXT
from tests.reason_codes import ROOT, codes_of, source_codes
from tools.reason_table import PAGE, page

FOLDER = ROOT / "fairlead" / "reasons"
CODES = catalogue().codes
FOR_REQUESTERS = [code for code in CODES if reason(code).audience == "requester"]
OTHERS = catalogue().languages[1:]
OPEN = re.compile(r"\{[^}]*\}")
COMMAND = re.compile(r"(?:fairlead[a-z-]*|timedatectl) (?:--)?[a-z]+(?: [a-z]+)?")
TELLING = {
    "en": r"\b(records?|hits?|target|decoys?|leads to|watched by)\b",
    "nl": r"\b(het gegeven|treffers?|onderzoeksdoel|lokgegevens?)\b",
}
"""Words by which a text for requesters would say something about what an owner holds."""


@lru_cache
def raw(language: str) -> dict[str, dict[str, str]]:
    """A file as it stands, placeholders open, without its labels."""
    tables = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return {code: table for code, table in tables.items() if code.isupper()}


def texts(language: str, code: str) -> str:
    table = raw(language).get(code, {})
    return " ".join(value for key, value in table.items() if key != "audience")


# ── Whole ────────────────────────────────────────────────────────────────────────────────────


def test_every_code_of_the_source_is_explained_or_listed_with_a_reason_why_not() -> None:
    """A new code gets its words in fairlead/reasons/en.toml, or a group in internal.toml."""
    listed = {code for group in catalogue().internal for code in group.codes}
    unknown = {c: min(where) for c, where in source_codes().items() if c not in listed}
    assert {c: where for c, where in unknown.items() if c not in CODES} == {}


def test_the_walk_finds_codes_wherever_they_stand() -> None:
    """Codes of one word are found as a keyword, a name, an argument, a result and in a class."""
    import ast

    source = (
        "raise E('x', reasons=('ALPHA',))\nreason = 'BRAVO'\nLegFailed(1, 'CHARLIE')\n"
        "def f(): return 'DELTA'\nclass Sign: A = 'ECHO'\nx = 'TWO_WORDS'\nFOX = 'FOX'\ny = 'NOT'"
    )
    found = {"ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOX", "TWO_WORDS"}
    assert set(codes_of(ast.parse(source))) == found


def test_no_code_is_explained_that_nothing_says() -> None:
    """The catalogue has no dead entry."""
    assert set(CODES) - source_codes().keys() - {"UNKNOWN"} == set()


def test_no_code_is_both_explained_and_listed() -> None:
    """One place for each code, and each group says why, and whose words stand for its codes."""
    for group in catalogue().internal:
        assert group.codes.isdisjoint(CODES)
        assert group.why.endswith(".")
        assert group.shown_as == "" or group.shown_as in CODES
    assert all(reason(code).text for group in catalogue().internal for code in group.codes)


def test_every_entry_of_every_file_is_read() -> None:
    """Reading is total, so a malformed entry would be left out silently but for this test."""
    for language in catalogue().languages:
        assert list(raw(language)) == list(entries((FOLDER / f"{language}.toml").read_bytes()))
    listed = tomllib.loads((FOLDER / "internal.toml").read_text(encoding="utf-8"))["group"]
    assert len(catalogue().internal) == len(listed)
    assert {len(g["codes"].split()) for g in listed} == {len(g.codes) for g in catalogue().internal}


@pytest.mark.parametrize("language", catalogue().languages)
def test_every_reason_says_what_would_be_needed_and_what_to_do(language: str) -> None:
    """No refusal leaves a person with a no: each code has a sentence, a need and a step."""
    for code in CODES:
        told = reason(code, language)
        assert told.text.endswith(".") or told.text.endswith('."'), code
        assert told.needed, code
        assert told.next, code
        assert not told.needed.endswith("."), code


def test_the_audience_of_the_kernel_is_the_catalogues() -> None:
    """Rego and catalogue agree on who may read each code of a decision."""
    rego = (ROOT / "policies" / "reasons" / "reasons.rego").read_text(encoding="utf-8")
    rows = re.findall(r'\t(requester|owner|auditor)\("([A-Z_]+)"\)', rego)
    stated = {code: audience for audience, code in rows}
    assert len(stated) > 30
    assert {code: reason(code).audience for code in stated} == stated


@pytest.mark.parametrize("language", TELLING)
def test_nothing_for_requesters_depends_on_a_record(language: str) -> None:
    """A text for whoever asks says nothing about what an owner holds."""
    told = {c: t for c in FOR_REQUESTERS if re.search(TELLING[language], t := texts(language, c))}
    assert told == {}
    assert re.search(TELLING[language], texts(language, "ACTIVE_TARGET"))


def test_english_can_travel_as_metadata() -> None:
    """A step goes with a refusal over gRPC, in ASCII but for the dots of what is left out."""
    for code in CODES:
        assert reason(code).next.replace("…", "...").isascii(), code


# ── Translated ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_every_code_for_requesters(language: str) -> None:
    """Where a translation lacks a code its words are English, which this finds."""
    assert OTHERS
    assert [c for c in FOR_REQUESTERS if reason(c, language).language != language] == []
    assert set(raw(language)) - set(CODES) == set()


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_keeps_placeholders_and_commands(language: str) -> None:
    """The sentence is translated, and what is typed is not."""
    for code, table in raw(language).items():
        english = raw(ENGLISH)[code]
        assert table["text"] != english["text"], code
        for field in ("text", "needed", "next"):
            assert sorted(OPEN.findall(table[field])) == sorted(OPEN.findall(english[field])), code
        assert COMMAND.findall(table["next"]) == COMMAND.findall(english["next"]), code


def test_a_missing_translation_is_english_and_says_so(tmp_path: Path) -> None:
    """Half a translation is no refusal hidden: what lacks is said in English, marked as such."""
    (tmp_path / "en.toml").write_text('[A]\naudience = "requester"\ntext = "A."\n[B]\ntext = "B."')
    (tmp_path / "xx.toml").write_text('[A]\ntext = "Ah."\n[words]\nneeded = "xx"')
    made = Catalogue(tmp_path)
    told = [made.reason(code, language, {}) for code in "AB" for language in ("xx", "yy")]
    assert [(t.text, t.language) for t in told] == [
        ("Ah.", "xx"), ("A.", "en"), ("B.", "en"), ("B.", "en"),
    ]  # fmt: skip
    assert made.languages == ("en", "xx")
    assert made.words("xx") == {"error": "error", "needed": "xx", "next": "next"}
    assert made.audience_of("B") == AUDITOR


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "nl_NL.UTF-8"}, "nl"),
        ({"LANG": "nl_BE@euro", "LC_MESSAGES": "en_GB.UTF-8"}, "en"),
        ({"LC_MESSAGES": "nl", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "nl_NL", "LC_ALL": ""}, "nl"),
        ({"FAIRLEAD_LANG": "nl", "LC_ALL": "de_DE"}, "nl"),
        ({"FAIRLEAD_LANG": "NL-nl"}, "nl"),
        ({"FAIRLEAD_LANG": "en", "LANG": "nl_NL"}, "en"),
        ({"FAIRLEAD_LANG": "", "LANG": "nl_NL"}, "nl"),
        ({"FAIRLEAD_LANG": "fr", "LANG": "nl_NL"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "nlx"}, "en"),
        ({"FAIRLEAD_LANG": "../../etc/passwd"}, "en"),
    ],
)
def test_the_language_is_the_persons_then_the_systems(
    environment: dict[str, str], language: str
) -> None:
    """One's own choice decides, then the system's, and what is unknown is English."""
    assert chosen(environment) == language


@given(st.dictionaries(st.sampled_from(["FAIRLEAD_LANG", "LC_ALL", "LANG"]), st.text()))
def test_any_environment_has_a_language(environment: dict[str, str]) -> None:
    """Whatever the variables hold, there are words."""
    assert chosen(environment) in catalogue().languages


# ── Total ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", catalogue().languages)
def test_no_placeholder_stays_open(language: str) -> None:
    """Each has a value, known or not, and a value cannot open another one."""
    for code in CODES:
        for values in ({}, dict.fromkeys(PLACEHOLDERS, "{query}x")):
            told = reason(code, language, values)
            said = f"{told.text} {told.needed} {told.next}".replace("{query}x", "")
            assert OPEN.search(said) is None, code
    named = {name for code in CODES for name in OPEN.findall(texts(language, code))}
    assert named <= {f"{{{name}}}" for name in PLACEHOLDERS}


@given(st.text(max_size=80), st.text(max_size=8))
def test_any_code_is_explained(code: str, language: str) -> None:
    """A code of a newer release, or of a partner's own rules, is readable and for the auditor."""
    told = reason(code, language)
    assert told.code == code
    assert told.text
    assert told.audience in {"requester", "owner", AUDITOR}
    if code not in CODES:
        assert told.audience == AUDITOR


def test_an_internal_code_is_said_in_its_groups_words() -> None:
    """A partner's line with a bare code of the protocol tells what kind of thing went wrong."""
    assert reason("ANSWER_BINDING").text == reason("FORGED").text
    assert reason("ANSWER_BINDING", "nl").text == reason("FORGED", "nl").text
    assert reason("NEVER_HEARD_OF").text == reason("UNKNOWN").text


_SCALARS = st.text(max_size=MAX_TEXT + 20) | st.integers() | st.booleans()


def _toml(value: object) -> str:
    import json

    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["A", "B_C", "words", "group"]),
        _SCALARS | st.dictionaries(st.sampled_from(["text", "needed", "next", "x"]), _SCALARS),
        max_size=5,
    )
)
def test_a_malformed_entry_is_left_out_and_its_neighbours_stay(tables: dict[str, object]) -> None:
    """Whatever stands in a file, only well-formed entries come out, and a good one always does."""
    tables["GOOD"] = {"text": "Good."}
    file = "\n".join(f"{_toml(name)} = {_toml(table)}" for name, table in tables.items())
    found = entries(file.encode("utf-8", "replace"))
    groups(file.encode("utf-8", "replace"))
    for code, entry in found.items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", code)
        assert entry.text
        assert all(len(t) <= MAX_TEXT and t.isprintable() for t in (entry.text, entry.next))
    try:
        tomllib.loads(file)
    except (tomllib.TOMLDecodeError, UnicodeError):
        return
    assert found["GOOD"].text == "Good."


@given(st.binary(max_size=300))
def test_any_octets_are_a_catalogue(octets: bytes) -> None:
    """Nothing that a file holds stops the words of another from being read."""
    assert isinstance(entries(octets), dict)
    assert isinstance(groups(octets), tuple)


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[" * 100_000, b"a = " + b"[" * 50_000])
def test_without_a_catalogue_there_are_words_still(damaged: bytes, tmp_path: Path) -> None:
    """Even with every file damaged or gone a code is shown, for the auditor, in some words."""
    assert Catalogue(tmp_path).reason("NO_AGREEMENT", "nl", {}).text
    for name in ("en", "nl", "internal"):
        (tmp_path / f"{name}.toml").write_bytes(damaged)
    made = Catalogue(tmp_path)
    told = made.reason("NO_AGREEMENT", "nl", {})
    assert (told.text, told.audience) == ("This code is not explained here.", AUDITOR)
    assert made.words("nl")["needed"] == "needed"


# ── In a decision ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "stated", "read"),
    [
        ("NO_AGREEMENT", "requester", "requester"),
        ("NO_AGREEMENT", "owner", "owner"),
        ("ACTIVE_TARGET", "requester", "owner"),
        ("ACTIVE_TARGET", "auditor", "auditor"),
        ("SUBJECT_IS_WATCHED", "requester", "auditor"),
        ("SIGNATURE", "requester", "auditor"),
    ],
)
def test_rules_cannot_show_a_requester_what_the_catalogue_keeps(
    code: str, stated: str, read: str
) -> None:
    """A wider audience, or a code of its own, in a partner's own Rego tells nobody more."""
    told = reading._reason({"code": code, "audience": stated})
    assert (told.code, told.audience) == (code, read)
    decision = denial(told)
    assert requester_code(decision) == (code if read == "requester" else "POLICY")
    assert refusal_of(decision).reasons == ((code,) if read == "requester" else ("POLICY",))
    assert (f"[{code}]" in explain(decision, Audience.REQUESTER)) is (read == "requester")
    assert f"[{code}]" in explain(decision, Audience.AUDITOR, "nl")


@given(st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True), st.sampled_from(list(Audience)))
def test_any_code_in_an_output_is_a_readable_refusal(code: str, audience: Audience) -> None:
    """Whatever an output calls its reason, the denial stands, and each reader gets words."""
    decision = denial(reading._reason({"code": code, "audience": audience.value}))
    assert not decision.permit
    for reader in Audience:
        assert explain(decision, reader).startswith("not permitted")
    assert refusal_of(decision).diagnostics()


# ── The page ─────────────────────────────────────────────────────────────────────────────────


def test_the_page_is_what_the_catalogue_says() -> None:
    """Run `python tools/reason_table.py` when a text changes."""
    assert PAGE.read_text(encoding="utf-8") == page()
