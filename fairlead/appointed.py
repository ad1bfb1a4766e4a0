"""Whom a directory appoints to watch: the audit committee, and the witnesses of the logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.errors import InvalidInput
from fairlead.names import check_partner_id
from fairlead.v1 import directory_pb2 as pb

MAX_COMMITTEE = 5
MIN_COMMITTEE = 2
MAX_WITNESSES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointed:
    """The audit committee and the witnesses, by partner id (PROTOCOL §5).

    ``threshold`` members of ``committee`` together open a sealed detail; without a committee both
    are empty and no detail can be shared. Of the ``witnesses`` so many as ``tolerated`` may lie.
    """

    committee: tuple[str, ...] = ()
    threshold: int = 0
    witnesses: tuple[str, ...] = ()
    tolerated: int = 0

    @classmethod
    def from_wire(cls, content: pb.Directory, listed: Sequence[str]) -> Appointed:
        """Read whom a directory appoints; one that names no witness appoints every partner.

        :param listed: ids of the directory's partners, in order.
        :raises InvalidInput: APPOINTED: not listed, not in order or twice, too many or too few.
        """
        committee, threshold = tuple(content.audit_committee), content.audit_threshold
        witnesses = tuple(content.witnesses) or tuple(listed[:MAX_WITNESSES])
        for named in (committee, witnesses):
            if list(named) != sorted({check_partner_id(name) for name in named} & {*listed}):
                raise _invalid("somebody appointed is no partner, or they are not in order")
        seats = MIN_COMMITTEE <= threshold <= len(committee) <= MAX_COMMITTEE
        if not seats and (committee or threshold):
            raise _invalid("an audit committee has 2 to 5 members, and 2 or more of them open")
        if len(witnesses) > MAX_WITNESSES or content.tolerated_witnesses >= max(len(witnesses), 1):
            raise _invalid("there are too many witnesses, or too few for those tolerated")
        return cls(
            committee=committee,
            threshold=threshold,
            witnesses=witnesses,
            tolerated=content.tolerated_witnesses,
        )

    def put(self, content: pb.Directory) -> None:
        """Write them into a directory in place of those it appoints."""
        content.ClearField("audit_committee")
        content.ClearField("witnesses")
        content.audit_committee.extend(self.committee)
        content.audit_threshold = self.threshold
        content.witnesses.extend(self.witnesses)
        content.tolerated_witnesses = self.tolerated


def _invalid(fault: str) -> InvalidInput:
    return InvalidInput(
        fault, reasons=("APPOINTED",), remedy="fairlead-gateway directory appoint --help"
    )
