"""Signing the annual pack of figures for the partner's own analysts (ADR 0040).

The pack itself is not sent here: its statement is, which names year, partner and two digests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.errors import FairleadError, InvalidInput, Refused
from fairlead.keyring import KeyRing
from fairlead.kpi.signature import DOMAIN, Statement
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.reasons import reason

SUBJECT = "AskingService.SignPack"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackDesk:
    """Signs statements with the key that the directory has of this partner.

    :param roles: those that may ask for figures: no other person of the partner's stands for any.
    """

    partner_id: str
    keys: KeyRing
    directory: Directories
    log: AuditLog
    leaves: LeafWriter
    roles: Callable[[], Collection[str]]

    async def sign(self, octets: bytes, user: Identity) -> bytes:
        """The signature of a statement, once the log has who asked for it, and of what.

        :raises Refused: FIGURES_ROLE: it is nobody who may ask for figures.
        :raises InvalidInput: PACK_SIGNATURE: it is none, or PACK_SIGNER: it is of another partner's
            pack. It is on the record.
        """
        async with self._refusals(user):
            if user.roles.isdisjoint(self.roles()):
                raise Refused(
                    "who may ask for no figures has none signed",
                    reasons=("FIGURES_ROLE",),
                    remedy=reason("FIGURES_ROLE").next,
                )
            if Statement.parse(octets).signer != self.partner_id:
                raise InvalidInput(
                    "a node signs its own partner's packs alone",
                    reasons=("PACK_SIGNER",),
                    remedy="make the pack with a profile of the partner that signs it",
                )
        key = self.keys.signing(self.directory.current.partner(self.partner_id).signing_key)
        digest = signing.digest(signing.preimage(DOMAIN, octets))
        await self.log.append(self.leaves.owner("pack-signed", user=user.spiffe_id, digest=digest))
        return signing.sign(key, DOMAIN, octets)

    @asynccontextmanager
    async def _refusals(self, user: Identity) -> AsyncGenerator[None, None]:
        try:
            yield
        except FairleadError as error:
            await self.log.append(
                self.leaves.refusal(
                    error, subject=SUBJECT, partner_id=self.partner_id, user=user.spiffe_id
                )
            )
            raise
