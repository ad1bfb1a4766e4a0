"""Whom a directory appoints: the audit committee and the witnesses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.appointed import Appointed
from fairlead.errors import InvalidInput
from fairlead.v1 import directory_pb2 as pb

LISTED = ("customs", "police", "port", "terminal")


def read(appointed: Appointed) -> Appointed:
    content = pb.Directory()
    appointed.put(content)
    return Appointed.from_wire(content, LISTED)


def test_a_directory_that_names_no_witness_appoints_every_partner() -> None:
    """Silence about witnesses is not silence about the log: everybody looks."""
    assert read(Appointed()) == Appointed(witnesses=LISTED)


@pytest.mark.parametrize(
    "wanted",
    [
        Appointed(committee=("customs",), threshold=1),
        Appointed(committee=("customs", "police"), threshold=1),
        Appointed(committee=("customs", "police"), threshold=3),
        Appointed(committee=("customs", "stranger"), threshold=2),
        Appointed(committee=("police", "customs"), threshold=2),
        Appointed(committee=("customs", "customs"), threshold=2),
        Appointed(threshold=2),
        Appointed(witnesses=("stranger",)),
        Appointed(witnesses=("customs",), tolerated=1),
        Appointed(tolerated=4),
    ],
)
def test_an_appointment_that_cannot_work_is_refused(wanted: Appointed) -> None:
    """One member alone, more needed than there are, strangers, twice, all of them liars."""
    with pytest.raises(InvalidInput) as refused:
        read(wanted)
    assert refused.value.reasons == ("APPOINTED",)


@given(
    st.sets(st.sampled_from(LISTED), min_size=2),
    st.sets(st.sampled_from(LISTED), min_size=2),
    st.data(),
)
def test_what_was_appointed_reads_back(
    committee: set[str], witnesses: set[str], data: st.DataObject
) -> None:
    """Every appointment that can work is the same after it was written and read."""
    appointed = Appointed(
        committee=tuple(sorted(committee)),
        threshold=data.draw(st.integers(2, len(committee))),
        witnesses=tuple(sorted(witnesses)),
        tolerated=data.draw(st.integers(0, len(witnesses) - 1)),
    )
    assert read(appointed) == appointed
