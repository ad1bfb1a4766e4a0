"""Files of a stated form: what is expected where one has it not, and in which line.

A value is never repeated in a problem, and neither is an unknown key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict

from fairlead.written import Path, line_of, spelt

UNKNOWN_KEY = "an unknown key is here"


STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
"""Of every table of such a file: nothing is converted, and nothing unknown is passed over."""


def placed(lines: Mapping[Path, int], path: Path, text: str) -> str:
    """``line: path: text``. The line is that of the very key; the path shows neither an unknown
    key's own spelling nor pydantic's mark of a key."""
    line = line_of(lines, path)
    path = path[:-1] if text.startswith(UNKNOWN_KEY) else path
    path = path[:-1] if path and path[-1] == "[key]" else path
    return f"{line}: {spelt(path)}: {text}"


def said_of(item: Any, models: Iterable[type[BaseModel]]) -> str:
    """What is expected where pydantic found an error. :param models: every table of the file."""
    path, kind = item["loc"], item["type"]
    if kind == "extra_forbidden":
        return f"{UNKNOWN_KEY}{_meant(str(path[-1]), models)}"
    if kind == "missing":
        return "is missing"
    return _EXPECTED.get(kind, "a value of the documented form is expected")


_EXPECTED = {
    "int_type": "a whole number is expected",
    "bool_type": "true or false is expected",
    "string_type": "text is expected",
    "list_type": "a list is expected",
    "dict_type": "a table is expected",
    "model_type": "a table is expected",
    "date_type": "a date is expected, as in 2026-01-31",
    "too_short": "at least one entry is expected",
    "greater_than_equal": "a larger number is expected",
    "less_than_equal": "a smaller number is expected",
    "literal_error": "one of the documented words is expected",
    "string_pattern_mismatch": "one of the documented spellings is expected",
}


def _meant(key: str, models: Iterable[type[BaseModel]]) -> str:
    known = {f.alias or n for model in models for n, f in model.model_fields.items()}
    close = get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
