"""What an authority decides about people: add, renew, suspend, certify, deny.

Each decision is one transaction of the register with its leaf. A certificate leaves only once its
leaf is in the audit log; that order is :mod:`fairlead.user_authority.service`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import signing
from fairlead.authority import Issuer, issue_user
from fairlead.certificates import MAX_USER_LIFETIME, IdentityKind, Role, SpiffeId, encode_service
from fairlead.errors import FairleadError, InvalidInput, Refused, Stale, Unauthenticated
from fairlead.keyfile import private_folder, write_private
from fairlead.leaves import LeafWriter
from fairlead.lists import deny_list, sign_users_list
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.credential import Credential, OneTimeCodes
from fairlead.user_authority.register import Person, Register, State
from fairlead.v1 import authority_pb2

CLOCK_SKEW_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """One partner's people, its authority's key, and the leaves about them."""

    config: AuthorityConfig
    register: Register
    issuer: Issuer
    leaves: LeafWriter
    clock: Callable[[], float]
    random: Callable[[int], bytes] = field(default=os.urandom)

    @property
    def credential(self) -> Credential:
        """What a person presents the first time."""
        return OneTimeCodes(self.register)

    # ── The administrator ────────────────────────────────────────────────────────────────────

    def add(self, person: Person) -> str:
        """Enter a pseudonym; returns its one-time code.

        :raises InvalidInput: misspelt, no role, or a service user nobody answers for.
        :raises Conflict: USER_EXISTS. :raises NotFound: the responsible person is unknown.
        """
        self._spiffe_id(person.pseudonym)
        if not person.roles:
            raise InvalidInput("a user needs at least one role", reasons=("ROLES",))
        if bool(person.responsible) != bool(person.schemes):
            encode_service(person.responsible, person.schemes)
        with self.register.change():
            if person.responsible:
                encode_service(person.responsible, person.schemes)
                self._answers_for_others(person.responsible)
            self.register.add(person)
            code = self._new_code(person.pseudonym)
            self._record("user-added", person.pseudonym)
        return code

    def renew(self, pseudonym: str) -> str:
        """A new one-time code for somebody who lost key or certificate.

        Somebody suspended comes back only when the last certificate has expired: a deny list
        names people, so lifting it would bring a stolen key back to life.

        :raises NotFound: UNKNOWN_USER. :raises Refused: USER_SUSPENDED.
        """
        with self.register.change():
            person = self.register.person(pseudonym)
            if person.state is State.SUSPENDED and self.clock() < person.certified_until:
                raise Refused(
                    "a suspended user comes back only when the last certificate has expired",
                    reasons=("USER_SUSPENDED",),
                    remedy="fairlead-authority user list   (says when), or user add another one",
                )
            if person.state is State.SUSPENDED:
                self.register.set_state(pseudonym, State.ACTIVE)
                self._record("user-resumed", pseudonym)
                self._sign_deny_list()
            code = self._new_code(pseudonym)
            self._record("code-made", pseudonym)
        return code

    def suspend(self, pseudonym: str) -> bool:
        """Deny somebody, and every service user they answer for; False when it was so before.

        :raises NotFound: UNKNOWN_USER.
        """
        with self.register.change():
            named = self.register.person(pseudonym)
            concerned = [
                person
                for person in (named, *self._services_of(pseudonym))
                if person.state is State.ACTIVE
            ]
            for person in concerned:
                self.register.set_state(person.pseudonym, State.SUSPENDED)
                self._record("user-suspended", person.pseudonym)
            self._sign_deny_list()
        return bool(concerned)

    def sign_deny_list(self) -> None:
        """Sign the list anew, with its next serial, for as long as configured."""
        with self.register.change():
            self._sign_deny_list()

    # ── The person ───────────────────────────────────────────────────────────────────────────

    def enrol(self, presented: str, public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Certify a person's first key; returns DER.

        :raises FairleadError: the credential is refused; that is on the record.
        """
        now = self.clock()
        refused: FairleadError | None = None
        with self.register.change():
            try:
                person = self.register.person(self.credential.redeem(presented, now=now))
                return self._certify(person, public_key, "certificate-issued")
            except Unauthenticated as error:
                refused = error  # the failed attempt is kept: it is counted and recorded
                self.register.failed(int(now))
                self.register.record(self.leaves.refusal(error, subject="enrol"))
        raise refused

    def next_certificate(self, renewal: bytes, signature: bytes) -> bytes:
        """Certify the same key for longer; returns DER.

        1. The certificate presented is this authority's, for one of its people, and in force.
        2. Its key signed this renewal within the last two minutes.
        3. The person is not suspended; whoever holds a suspended person's key is on the record.

        :raises Unauthenticated: RENEWAL. :raises Forged: SIGNATURE.
        :raises Stale: CLOCK_SKEW. :raises Refused: USER_SUSPENDED.
        """
        content = signing.parse_canonical(authority_pb2.Renewal, renewal, limit=32 * 1024)
        # 1
        pseudonym, key = self._own(content.certificate)
        # 2
        signing.verify_as_user(key, "renewal", renewal, signature)
        self.check_clock(content.issued_at)
        # 3
        with self.register.change():
            person = self.register.person(pseudonym)
            if person.state is not State.SUSPENDED:
                return self._certify(person, key, "certificate-renewed")
            refused = _suspended()
            user = self._spiffe_id(pseudonym)
            self.register.record(self.leaves.refusal(refused, subject="renew", user=user))
        raise refused

    def check_clock(self, stated: int) -> None:
        """:raises Stale: CLOCK_SKEW: a request made more than two minutes from now."""
        if abs(stated - self.clock()) > CLOCK_SKEW_S:
            raise Stale(
                "your clock and the authority's differ by more than two minutes",
                reasons=("CLOCK_SKEW",),
                remedy="timedatectl   (compare both clocks, correct the wrong one)",
            )

    # ── Within a transaction ─────────────────────────────────────────────────────────────────

    def _certify(
        self, person: Person, public_key: ec.EllipticCurvePublicKey, subject: str
    ) -> bytes:
        if person.state is State.SUSPENDED:
            raise _suspended()
        certificate = issue_user(
            self.issuer,
            federation=self.config.federation,
            partner_id=self.config.partner,
            pseudonym=person.pseudonym,
            roles=person.roles,
            public_key=public_key,
            now=self.clock(),
            lifetime=MAX_USER_LIFETIME,
            responsible=person.responsible,
            schemes=person.schemes,
        )
        der = certificate.public_bytes(Encoding.DER)
        self.register.certified(person.pseudonym, int(certificate.not_valid_after_utc.timestamp()))
        self._record(subject, person.pseudonym, commits_to=der)
        return der

    def _own(self, der: bytes) -> tuple[str, ec.EllipticCurvePublicKey]:
        try:
            certificate = x509.load_der_x509_certificate(der)
            certificate.verify_directly_issued_by(self.issuer.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            (uri,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
            found = SpiffeId.parse(uri)
            key = certificate.public_key()
            ends = certificate.not_valid_after_utc.timestamp()
        except Exception:  # noqa: BLE001 - a stranger's octets: whatever is wrong, they are none
            raise _no_renewal() from None
        ours = (found.kind, found.partner_id) == (IdentityKind.USER, self.config.partner)
        if not ours or not isinstance(key, ec.EllipticCurvePublicKey) or self.clock() >= ends:
            raise _no_renewal()
        return found.name, key

    def _answers_for_others(self, pseudonym: str) -> None:
        person = self.register.person(pseudonym)
        if person.responsible or person.state is not State.ACTIVE:
            raise InvalidInput(
                "whoever answers for a service user is an active person",
                reasons=("SERVICE",),
                remedy="fairlead-authority user list",
            )

    def _services_of(self, pseudonym: str) -> list[Person]:
        return [person for person in self.register.people() if person.responsible == pseudonym]

    def _new_code(self, pseudonym: str) -> str:
        return self.credential.issue(pseudonym, now=self.clock(), secret=self.random(16))

    def _record(self, subject: str, pseudonym: str, *, commits_to: bytes = b"") -> None:
        user = self._spiffe_id(pseudonym)
        self.register.record(self.leaves.user(subject=subject, user=user, commits_to=commits_to))

    def _sign_deny_list(self) -> None:
        denied = [
            self._spiffe_id(person.pseudonym)
            for person in self.register.people()
            if person.state is State.SUSPENDED
        ]
        data = deny_list(
            self.config.partner,
            denied,
            serial=self.register.next_serial(),
            now=self.clock(),
            lifetime_s=self.config.deny_list_hours * 3600,
        )
        private_folder(self.config.deny_list.parent)
        signed = sign_users_list(data, self.issuer.key)
        write_private(self.config.deny_list, signing.canonical(signed))

    def _spiffe_id(self, pseudonym: str) -> str:
        """:raises InvalidInput: SPIFFE_ID."""
        claimed = SpiffeId(
            federation=self.config.federation,
            kind=IdentityKind.USER,
            partner_id=self.config.partner,
            name=pseudonym,
        )
        return str(SpiffeId.parse(str(claimed)))


def admit_roles(names: list[str]) -> tuple[Role, ...]:
    """:raises InvalidInput: ROLES."""
    try:
        return tuple(sorted({Role(name) for name in names}))
    except ValueError:
        raise InvalidInput(
            "a role is unknown",
            reasons=("ROLES",),
            remedy="--role " + "|".join(role.value for role in Role),
        ) from None


def _suspended() -> Refused:
    return Refused("this user is suspended", reasons=("USER_SUSPENDED",))


def _no_renewal() -> Unauthenticated:
    return Unauthenticated(
        "this certificate cannot be renewed: it has expired, or is not this authority's",
        reasons=("RENEWAL",),
        remedy="ask for a code (fairlead-authority user renew PSEUDONYM), then: fairlead login …",
    )
