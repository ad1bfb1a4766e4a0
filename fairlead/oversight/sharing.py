"""An oversight that decides about an auditor's request: puts it on the record, then releases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead import signing
from fairlead.errors import InvalidInput, LogUnavailable, Refused
from fairlead.keyfile import private_folder, require_private, write_private
from fairlead.opening.filtering import Doubt, Given, sift
from fairlead.opening.record import RELEASED, SEARCHED, opening_leaf
from fairlead.opening.request import Request
from fairlead.opening.share import Oversight, check_role, release
from fairlead.oversight.app import drain, leaf_writer
from fairlead.oversight.config import OversightConfig
from fairlead.oversight.register import Register
from fairlead.oversight.taking import load_keys
from fairlead.partners import Directory

DRAIN_S = 30.0
"""How long a process that runs has to move a leaf into the log."""
_STEP_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where an officer decides: an oversight's configuration and register. ``by`` is the officer's
    pseudonym as the command was told; ``unwitnessed`` that the officer releases although no quorum
    of witnesses has cosigned what proves the leaves."""

    config: OversightConfig
    register: Register
    by: str
    unwitnessed: bool = False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    @property
    def oversight(self) -> Oversight:
        """Who releases. :raises Misconfigured: a key is missing, or may be read by others."""
        folder = self.config.keys_dir
        require_private(folder)
        return Oversight(
            partner_id=self.config.partner,
            keys=load_keys(folder),
            log_key=signing.load_signing_key(folder / "log.key"),
        )


def share(desk: Desk, request: Request, target: Path) -> None:
    """Release this oversight's shares into ``target``.

    1. The request challenges this oversight, a quorum has cosigned what proves the gateway's leaves
       in it, and the file is not there yet.
    2. The request is kept, and the OPENING leaf, which names it, durable in the oversight's own
       log.
    3. Only then the shares are sealed to their reader's key and written.

    :raises Refused: NO_SHARE, HEAD_UNWITNESSED, OPENING_SEARCHER.
    :raises InvalidInput: FILE_EXISTS.
    :raises LogUnavailable: the leaf could not be made durable; nothing was released.
    """
    # 1
    _check(desk, request, target, filters=False)
    # 2
    leaf = _recorded(desk, request, RELEASED)
    # 3
    write_private(target, release(request, by=desk.oversight, leaf=leaf))


def search(
    desk: Desk, request: Request, given: Given, target: Path, directories: Sequence[Directory]
) -> Sequence[Doubt]:
    """Filter a search as the oversight that it names, and write what is for the auditor.

    1. As for shares.
    2. The request is kept, and the OPENING leaf durable, before anything is opened.
    3. Every leaf is opened and compared; who is to blame for one that is wrong, is an ALARM.
    4. What is about the subject is sealed to the auditor's key and written.

    :returns: the leaves that may be about the subject and could not be read.
    :raises Refused: NO_SHARE, HEAD_UNWITNESSED, OPENING_SEARCHER.
    :raises InvalidInput: FILE_EXISTS. :raises Forged: OPENING_SUBJECT.
    :raises LogUnavailable: a leaf could not be made durable; nothing was released.
    """
    # 1
    _check(desk, request, target, filters=True)
    # 2
    leaf = _recorded(desk, request, SEARCHED)
    # 3
    found = sift(request, by=desk.oversight, given=given, directories=directories, leaf=leaf)
    writer = leaf_writer(desk.config, desk.clock)
    alarms = [
        writer.alarm(
            [doubt.reason],
            subject="opening",
            partner_id=doubt.blamed,
            query_id=request.sought[doubt.place].bound.query_id,
        )
        for doubt in found.doubts
        if doubt.blamed
    ]
    _durable(desk, alarms)
    # 4
    write_private(target, found.octets)
    return found.doubts


def kept_request(config: OversightConfig, request: Request) -> Path:
    """Where an oversight keeps a request that it decided about: its leaf names the digest."""
    return config.state_dir / "requests" / f"{request.digest.hex()}.opening"


def _check(desk: Desk, request: Request, target: Path, *, filters: bool) -> None:
    request.challenge(desk.config.partner)
    check_role(request, desk.config.partner, filters=filters)
    if request.unwitnessed and not desk.unwitnessed:
        raise Refused(
            "no quorum of witnesses has cosigned the head that proves a leaf of this request",
            reasons=("HEAD_UNWITNESSED",),
            remedy="fairlead-oversight share REQUEST --by USER --unwitnessed   (if the gateway's "
            "word is enough); else the auditor asks again: fairlead audit open QUERY --log FILE",
        )
    if target.exists():
        raise InvalidInput(
            "there is a file of that name already", reasons=("FILE_EXISTS",),
            remedy="name another one: --to FILE",
        )  # fmt: skip
    require_private(desk.config.keys_dir)


def _recorded(desk: Desk, request: Request, subject: str) -> bytes:
    """Keep the request, and make its leaf durable. A member that already released for it does so
    again under the same octets."""
    path = kept_request(desk.config, request)
    private_folder(path.parent)
    write_private(path, request.signed)
    leaf = opening_leaf(leaf_writer(desk.config, desk.clock), request, subject, by=desk.by)
    _durable(desk, [leaf])
    return leaf


def _durable(desk: Desk, leaves: Sequence[bytes]) -> None:
    """Wait until leaves are in the log, moved here or by the process that runs."""
    with desk.register.change():
        for leaf in leaves:
            desk.register.record(leaf)
    waited = 0.0
    drain(desk.config, desk.register)
    while desk.register.waiting():
        if waited >= DRAIN_S:
            raise LogUnavailable(
                "the oversight's audit log does not take the leaf",
                reasons=("LOG_UNAVAILABLE",),
                remedy="fairlead-oversight status; fairlead-oversight verify",
            )
        desk.sleep(_STEP_S)
        waited += _STEP_S
