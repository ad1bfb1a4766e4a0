"""What this gateway says of its own log to a node's statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.auditlog import AuditLog
from fairlead.receipts import Head
from fairlead.reconciling import (
    Counterstatement,
    Ledger,
    Statement,
    sign_counterstatement,
)
from fairlead.v1 import reconcile_pb2 as pb
from gateway.reconciled import Known


class Counterstating:
    """Looks a node's entries up, lists this log's own, and signs both.

    :param gateway: this gateway's SPIFFE id. :param key: its signing key at the moment.
    :param limit: entries of one statement of its own.
    :param cosigned: the newest head of this log that a quorum cosigned, with its cosigned note;
        None while there is none.
    """

    def __init__(
        self,
        *,
        gateway: str,
        key: Callable[[], Ed25519PrivateKey],
        log: AuditLog,
        ledger: Ledger,
        clock: Callable[[], float],
        limit: int,
        cosigned: Callable[[], Head | None],
    ) -> None:
        self._gateway = gateway
        self._key = key
        self._log = log
        self._ledger = ledger
        self._clock = clock
        self._limit = limit
        self.cosigned = cosigned

    def said(self, statement: Statement, known: Known | None) -> Counterstatement:
        """What this log holds, not yet under a checkpoint; it runs beside the event loop.

        Every entry is looked up in the whole log. Of what is not this partner's to know the log
        holds nothing, whatever it holds: it would tell an owner who else has answered.
        """
        partner = statement.pair.partner_id
        size = min(self._ledger.catch_up(), self._log.head.size)  # others may append to it, too
        looked = [
            self._ledger.find(entry) if self._ledger.concerns(partner, entry) else (0, False)
            for entry in statement.entries
        ]
        first = known.told_from(statement.gateway_next) if known else 0
        entries, end, more = self._ledger.of_partner(
            partner, first=first, size=size, limit=self._limit
        )
        return Counterstatement(
            pair=statement.pair,
            gateway=self._gateway,
            time_ms=int(self._clock() * 1000),
            statement_digest=statement.digest,
            first=first,
            next=end,
            checkpoint="",
            previous_ms=known.at_ms if known else 0,
            excused=known.excused if known else 0,
            more=more,
            entries=entries,
            leaves=tuple(leaf for leaf, _ in looked),
            differing=tuple(place for place, (_, differs) in enumerate(looked) if differs),
        )

    def signed(
        self, said: Counterstatement, statement: Statement, request: pb.ReconcileRequest
    ) -> pb.Countered:
        """Under the last checkpoint, which covers all that was looked up, and with its proofs."""
        head = self._log.head
        said = replace(
            said,
            checkpoint=head.checkpoint,
            excused=head.size if statement.lost else said.excused,
        )
        octets, signature = sign_counterstatement(said, self._key())
        known = min(request.head_size, head.size)
        response = pb.Countered(
            counterstatement=octets,
            signature=signature,
            consistency_from=known,
            consistency=self._log.consistency(known, head.size),
            from_shown=self._log.consistency(min(request.shown_size, head.size), head.size),
        )
        cosigned = self.cosigned()
        if cosigned is not None and cosigned.size <= head.size:
            settled = min(request.settled_size, cosigned.size)
            response.cosigned = cosigned.checkpoint
            response.from_settled.extend(self._log.consistency(settled, cosigned.size))
            response.to_checkpoint.extend(self._log.consistency(cosigned.size, head.size))
        return response
