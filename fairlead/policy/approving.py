"""A release on its way to its signatures: the author's makes it, a second person's completes it.

Whoever signs, signs what lies in the folder now: a file that was changed since the author signed
is no longer the author's, and only the author may sign it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.errors import Misconfigured, PolicyUnavailable, Refused
from fairlead.keyfile import write_private
from fairlead.officers import Officer, key_id
from fairlead.policy.bundle import Bundle, Files, check_reports, verify_files
from fairlead.policy.cubes import check_cubes
from fairlead.policy.issuing import LIFETIME_S, MAX_AGE_S, Wishes, draft, tree
from fairlead.policy.manifest import (
    MANIFEST,
    Kind,
    Manifest,
    SignedManifest,
    parse_manifest,
    unavailable,
)
from fairlead.policy.reports import is_about

TESTS = "reports/tests.json"
REPLAY = "reports/replay-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the author says of a release beside its files."""

    kind: Kind = Kind.RELEASE
    lifetime_s: int = LIFETIME_S
    max_age_s: int = MAX_AGE_S
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where releases are signed. ``officers``: who may; ``base``: the release that this one is to
    follow, as files; None where there is none; ``local``: a partner's own."""

    officers: Sequence[Officer]
    base: Files | None
    local: bool = False

    def officer(self, key: Ed25519PrivateKey) -> Officer:
        """Whose key it is.

        :raises Refused: OFFICER_UNKNOWN.
        """
        named = key_id(signing.public_bytes(key))
        for officer in self.officers:
            if officer.key_id == named:
                return officer
        raise Refused(
            "this key is no policy officer's",
            reasons=("OFFICER_UNKNOWN",),
            remedy="use the key file of an officer listed in pins.toml (or in [local_policy])",
        )

    def sign(
        self, folder: Path, key: Ed25519PrivateKey, terms: Terms, *, now: float
    ) -> SignedManifest:
        """The manifest with this person's signature, not written yet.

        1. The key is an officer's.
        2. What the author signed and nobody changed since gets one more signature, if with it the
           release is one, or still lacks only a second person's.
        3. What nobody signed, its author changed, or what was fetched and changed, is made anew,
        with the author's signature alone; a release that goes back is always made anew.

        :raises Refused: OFFICER_UNKNOWN. :raises PolicyUnavailable: POLICY_TAMPERED: somebody
            else changed it; POLICY_UNJUSTIFIED, and whatever makes it no release.
        :raises InvalidCubes: the registry of cubes is wrong or does not follow the one before.
        """
        # 1
        self.officer(key)
        files = tree(folder, local=self.local)
        before = None if terms.kind is Kind.REVERT else signed_in(folder)
        # 2
        if before is not None and _unchanged(before.manifest, files):
            signed = before.signed_by(key)
            self._check(signed, files, now=now)
            return signed
        # 3
        if before is not None and not self._may_begin(before.manifest, key):
            raise unavailable(
                "POLICY_TAMPERED",
                "the files are not those that the author signed",
                "ask the author for the folder again, or to sign it anew",
            )
        check_cubes(files, None if terms.kind is Kind.REVERT else self.base)
        manifest = self._manifest(files, key, terms, now=now)
        check_reports(manifest, files, self.officers, local=self.local)
        signed = SignedManifest(manifest=manifest).signed_by(key)
        self._check(signed, files, now=now)
        return signed

    def _may_begin(self, before: Manifest, key: Ed25519PrivateKey) -> bool:
        """Whether what was signed before is the author's own, or the release that is followed."""
        base = parse_manifest(self.base[MANIFEST]).manifest if self.base else None
        return before.author == key_id(signing.public_bytes(key)) or before == base

    def _manifest(
        self, files: dict[str, bytes], key: Ed25519PrivateKey, terms: Terms, *, now: float
    ) -> Manifest:
        base = parse_manifest(self.base[MANIFEST]).manifest if self.base else None
        not_after, max_age_s = int(now) + terms.lifetime_s, terms.max_age_s
        if base and terms.kind is Kind.EMERGENCY:  # one person makes nothing last longer
            not_after, max_age_s = min(not_after, base.not_after), min(max_age_s, base.max_age_s)
        wishes = Wishes(
            serial=base.serial + 1 if base else 1,
            previous=base.identity if base else "",
            kind=terms.kind,
            issued_at=int(now),
            not_after=not_after,
            max_age_s=max_age_s,
            tests=TESTS if TESTS in files else "",
            replays=tuple(name for name in files if name.startswith(REPLAY)),
            note=terms.note,
        )
        made = draft(files, wishes, author=signing.public_bytes(key))
        if self.local:
            return made
        named = [*made.replays, *filter(None, [made.tests])]
        left = {name for name in named if self._is_the_last_ones(name, files, made)}
        replays = tuple(name for name in made.replays if name not in left)
        return replace(made, tests="" if made.tests in left else made.tests, replays=replays)

    def _is_the_last_ones(self, name: str, files: Files, made: Manifest) -> bool:
        """Whether a report came with the release that is followed and says nothing of this one;
        any other that is about other files keeps this from being signed."""
        base = self.base or {}
        return base.get(name) == files[name] and not is_about(files[name], made.files, made.data)

    def _check(self, signed: SignedManifest, files: Mapping[str, bytes], *, now: float) -> None:
        """A second signature that would not help, or a release that is none, is not written."""
        try:
            verify_files(
                {**files, MANIFEST: signed.to_bytes()},
                officers=self.officers,
                now=now,
                before=self._before(now),
                local=self.local,
            )
        except PolicyUnavailable as error:
            if error.code != "POLICY_UNDERSIGNED":
                raise

    def _before(self, now: float) -> Bundle | None:
        """The base, for an emergency; an emergency cannot be the base of one before its review."""
        if self.base is None:
            return None
        issued = parse_manifest(self.base[MANIFEST]).manifest.issued_at
        try:
            return verify_files(self.base, officers=self.officers, now=min(now, issued))
        except PolicyUnavailable:
            return None


def signed_in(folder: Path) -> SignedManifest | None:
    """The manifest that lies in a folder; None where nobody signed one there."""
    try:
        return parse_manifest((folder / MANIFEST).read_bytes())
    except (OSError, PolicyUnavailable):
        return None


def files_in(folder: Path) -> Files:
    """The release in a folder as it travels, unverified.

    :raises Misconfigured: POLICY_SOURCES: nobody has signed one there, or a file is missing.
    """
    signed = signed_in(folder)
    try:
        if signed is None:
            raise OSError
        named = signed.manifest.files
        return {
            MANIFEST: (folder / MANIFEST).read_bytes(),
            **{name: (folder / name).read_bytes() for name in named},
        }
    except OSError:
        raise Misconfigured(
            "there is no signed policy release in this folder",
            reasons=("POLICY_SOURCES",),
            remedy="fairlead policy sign DIR --key FILE",
        ) from None


def write_signed(folder: Path, signed: SignedManifest) -> None:
    """Put the manifest in place."""
    write_private(folder / MANIFEST, signed.to_bytes())


def _unchanged(manifest: Manifest, files: dict[str, bytes]) -> bool:
    return {n: signing.digest(content).hex() for n, content in files.items()} == dict(
        manifest.files
    )
