"""Names that travel: strict spelling, so that nothing can be smuggled in one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import InvalidInput
from fairlead.names import check_case_id, check_code, check_partner_id

CHECKS = [check_partner_id, check_code, check_case_id]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (check_partner_id, "ab"),
        (check_partner_id, "a" + "-9" * 15 + "z"),
        (check_code, "a"),
        (check_code, "a" * 64),
        (check_case_id, "2026/0017-a_b.c"),
        (check_case_id, "9" * 64),
    ],
)
def test_names_at_the_limits_pass_unchanged(check: Callable[[str], str], value: str) -> None:
    """The shortest and the longest names are returned as they are."""
    assert check(value) == value


@pytest.mark.parametrize(
    ("check", "value", "code"),
    [
        (check_partner_id, "a", "PARTNER_ID"),
        (check_partner_id, "a" * 33, "PARTNER_ID"),
        (check_partner_id, "1a", "PARTNER_ID"),
        (check_partner_id, "Customs", "PARTNER_ID"),
        (check_partner_id, "cus/toms", "PARTNER_ID"),
        (check_code, "", "CODE"),
        (check_code, "a" * 65, "CODE"),
        (check_code, "a_b", "CODE"),
        (check_case_id, "", "CASE_ID"),
        (check_case_id, "/etc", "CASE_ID"),
        (check_case_id, "x" * 65, "CASE_ID"),
        (check_case_id, "a b", "CASE_ID"),
    ],
)
def test_names_beyond_the_limits_are_refused_by_name(
    check: Callable[[str], str], value: str, code: str
) -> None:
    """What is too long, too short or holds another character has one code per kind of name."""
    with pytest.raises(InvalidInput) as caught:
        check(value)
    assert caught.value.reasons == (code,)


@given(st.sampled_from(CHECKS), st.text(max_size=70))
def test_what_passes_is_plain(check: Callable[[str], str], value: str) -> None:
    """Whatever passes is short ASCII without blanks, line ends or control characters."""
    try:
        passed = check(value)
    except InvalidInput:
        return
    assert passed == value
    assert value.isascii()
    assert value.isprintable()
    assert " " not in value
    assert len(value) <= 64


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("tail", ["\n", "\x00", " ", "\u202e"])
def test_a_good_name_with_a_tail_is_no_name(check: Callable[[str], str], tail: str) -> None:
    """A newline, NUL, blank or bidirectional override behind a good name is refused."""
    with pytest.raises(InvalidInput):
        check("customs" + tail)
