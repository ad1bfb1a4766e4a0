"""The catalogue of reasons: code → what it says, what would be needed, and what to do next.

A file a language. ``en.toml`` is complete and gives each code its audience; another language is a
file beside it, and what it lacks is said in English. ``internal.toml`` names the codes that no
person has to understand, each group with the reason why.

Reading is total: a file that is damaged, or an entry that is not one, is as if it were not there,
for an explanation that cannot be read must not hide the refusal it belongs to.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

ENGLISH = "en"
AUDITOR = "auditor"
"""The audience of what is not in the catalogue: nobody else reads a code that nobody judged."""
PLACEHOLDERS: Mapping[str, str] = MappingProxyType(
    {"config": "FILE", "partner": "PARTNER", "query": "QUERY"}
)
"""What an entry may leave open, and what stands there when the value is not known."""
MAX_FILE = 512 * 1024
"""Octets of one language."""
MAX_TEXT = 400
"""Characters of one text."""
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")
_LANGUAGE = re.compile(r"[a-z]{2}\Z")
_OPEN = re.compile(r"\{([a-z]+)\}")
_AUDIENCES = frozenset({"requester", "owner", AUDITOR})
_WORDS = "words"
_FIELDS = {"audience", "text", "needed", "next"}
_UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One code in one language, placeholders open. Only English states the audience."""

    text: str
    needed: str = ""
    next: str = ""
    audience: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One code as a person reads it: a sentence, what would be needed, a command or a step.

    ``language`` is the one the words are in: English where the one wanted lacks this code.
    """

    code: str
    audience: str
    text: str
    needed: str
    next: str
    language: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Codes that are not explained one by one: why not, and which code's words stand for them
    where one of them is shown bare ("" for what is no reason code at all)."""

    why: str
    shown_as: str
    codes: frozenset[str]


class Catalogue:
    """The catalogue in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reason(self, code: str, language: str, values: Mapping[str, str]) -> Explanation:
        """What ``code`` says; never fails, whatever the code."""
        translated = self._entries.get(language, {})
        key = code if code in self._english else self._stand_ins.get(code) or _UNKNOWN
        entry = translated.get(key) or self._english.get(key) or _NOTHING
        return Explanation(
            code=code,
            audience=self.audience_of(code),
            text=_filled(entry.text, values),
            needed=_filled(entry.needed, values),
            next=_filled(entry.next, values),
            language=language if key in translated else ENGLISH,
        )

    def audience_of(self, code: str) -> str:
        """Who may read a code: an auditor alone when it is not in the catalogue."""
        entry = self._english.get(code)
        return entry.audience if entry and entry.audience in _AUDIENCES else AUDITOR

    @property
    def codes(self) -> tuple[str, ...]:
        """Every code, in the catalogue's own order: what is met first comes first."""
        return tuple(self._english)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages there is a file of, English first."""
        return tuple(self._files)

    def words(self, language: str) -> Mapping[str, str]:
        """The few words around an explanation, by their English ones."""
        labels = [_labels(self._files.get(name, b"")) for name in (ENGLISH, language)]
        return MappingProxyType({**_LABELS, **labels[0], **labels[1]})

    @cached_property
    def internal(self) -> tuple[Group, ...]:
        """The codes that are not in the catalogue, and why."""
        return groups(_octets(self._folder / "internal.toml"))

    @cached_property
    def _files(self) -> Mapping[str, bytes]:
        paths = sorted(path for path in self._folder.glob("*.toml") if _LANGUAGE.match(path.stem))
        found = {path.stem: _octets(path) for path in paths}
        return {ENGLISH: found.pop(ENGLISH, b""), **found}

    @cached_property
    def _entries(self) -> Mapping[str, Mapping[str, Entry]]:
        return {language: entries(octets) for language, octets in self._files.items()}

    @property
    def _english(self) -> Mapping[str, Entry]:
        return self._entries[ENGLISH]

    @cached_property
    def _stand_ins(self) -> Mapping[str, str]:
        return {code: group.shown_as for group in self.internal for code in group.codes}


@lru_cache(maxsize=1)
def catalogue() -> Catalogue:
    """The product's own."""
    return Catalogue(Path(__file__).parent)


def reason(
    code: str, language: str = ENGLISH, values: Mapping[str, str] = PLACEHOLDERS
) -> Explanation:
    """What ``code`` says in a language; never fails, whatever the code.

    :param values: what is known of :data:`PLACEHOLDERS`.
    """
    return catalogue().reason(code, language, values)


def audience_of(code: str) -> str:
    """Who may read a code: ``requester``, ``owner``, or ``auditor`` when it is not known."""
    return catalogue().audience_of(code)


# ── Files ────────────────────────────────────────────────────────────────────────────────────

_NOTHING = Entry(text="This code is not explained here.")
_LABELS = {"error": "error", "needed": "needed", "next": "next"}
"""When not even the English file can be read."""


def entries(octets: bytes) -> dict[str, Entry]:
    """The well-formed entries of a file, in its order; none of a file that is not one."""
    found: dict[str, Entry] = {}
    for code, table in _document(octets).items():
        if _CODE.match(code) and isinstance(table, dict) and table.keys() <= _FIELDS:
            fields = {name: value for name, value in table.items() if _is_text(value)}
            if fields.keys() == table.keys() and fields.get("text"):
                found[code] = Entry(**fields)
    return found


def groups(octets: bytes) -> tuple[Group, ...]:
    """The well-formed groups of codes that are not explained one by one."""
    listed = _document(octets).get("group")
    found = []
    for table in listed if isinstance(listed, list) else ():
        if not isinstance(table, dict) or table.keys() != {"why", "shown_as", "codes"}:
            continue
        why, shown_as, named = table["why"], table["shown_as"], table["codes"]
        if _is_text(why) and _is_text(shown_as) and isinstance(named, str):
            spelt = frozenset(filter(_CODE.match, named.split()))
            found.append(Group(why=why, shown_as=shown_as, codes=spelt))
    return tuple(found)


def _document(octets: bytes) -> dict[str, object]:
    if len(octets) > MAX_FILE:
        return {}
    try:
        return tomllib.loads(octets.decode())
    except (ValueError, RecursionError):
        return {}


def _labels(octets: bytes) -> dict[str, str]:
    table = _document(octets).get(_WORDS)
    found = table if isinstance(table, dict) else {}
    return {name: value for name, value in found.items() if value and _is_text(value)}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        return values.get(name) or PLACEHOLDERS.get(name, found[0])

    return _OPEN.sub(value, text)
