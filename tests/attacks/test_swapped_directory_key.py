"""Attack: both operators are bought and swap an owner's key, to read what is sealed to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.lists import sign_entry
from fairlead import sealing, signing
from fairlead.errors import FairleadError
from fairlead.v1 import directory_pb2, query_pb2
from tests.attacks.crafted import OWNER, changed
from tests.attacks.directory import content, entry_of, resign, root_key, with_entry
from tests.federation import Federation, federation, states

Swap = Callable[[directory_pb2.PartnerEntry], directory_pb2.SignedPartnerEntry]
MINE = sealing.SealingKey.generate().public_bytes()
THEIRS = Ed25519PrivateKey.generate()


def under_the_old_signature(made: Federation) -> directory_pb2.SignedPartnerEntry:
    """The sealing key swapped; the partner's root signature left as it was."""
    listed = content(made)
    signed = next(
        item for item in listed.partners
        if directory_pb2.PartnerEntry.FromString(item.entry).partner_id == OWNER
    )  # fmt: skip
    entry = changed(entry_of(listed, OWNER), sealing_key=MINE)
    return changed(signed, entry=signing.canonical(entry))


def under_another_root(made: Federation) -> directory_pb2.SignedPartnerEntry:
    """The sealing key and the root key swapped, signed by the new root."""
    fresh = changed(
        entry_of(content(made), OWNER),
        sealing_key=MINE,
        root_key=signing.public_bytes(THEIRS),
    )
    return sign_entry(fresh, THEIRS)


def by_another_root(made: Federation) -> directory_pb2.SignedPartnerEntry:
    """The pinned root named, but another key's signature under it."""
    return sign_entry(changed(entry_of(content(made), OWNER), sealing_key=MINE), THEIRS)


def user_authority(made: Federation) -> directory_pb2.SignedPartnerEntry:
    """Another partner's user authority, to mint customs' people."""
    theirs = entry_of(content(made), "oceanic-line").user_authority
    fresh = changed(entry_of(content(made), OWNER), user_authority=theirs)
    return sign_entry(fresh, THEIRS)


SWAPS: list[tuple[Callable[[Federation], directory_pb2.SignedPartnerEntry], str]] = [
    (under_the_old_signature, "SIGNATURE"),
    (under_another_root, "ROOT_PIN"),
    (by_another_root, "SIGNATURE"),
    (user_authority, "SIGNATURE"),
]


@pytest.mark.parametrize(("swap", "reason"), SWAPS)
async def test_two_operators_cannot_swap_an_owners_key(
    tmp_path: Path, swap: Callable[[Federation], directory_pb2.SignedPartnerEntry], reason: str
) -> None:
    """Without the partner's own root key no node and no gateway takes the list over."""
    async with federation(tmp_path, start=False) as made:
        resign(made, serial=2, partners=with_entry(content(made), OWNER, swap(made)))
        for start in (made.start_gateway(), made.start_node("customs"), made.start_node(OWNER)):
            with pytest.raises(FairleadError) as caught:
                await start
            assert caught.value.code == reason


async def test_two_operators_cannot_add_a_partner_nobody_pinned(tmp_path: Path) -> None:
    """An invented organisation is listed, but nobody asks it, and nobody's work is disturbed."""
    async with federation(tmp_path, start=False) as made:
        listed = content(made)
        ghost = changed(
            entry_of(listed, OWNER), partner_id="zz-ghost", root_key=signing.public_bytes(THEIRS)
        )
        resign(made, serial=2, partners=[*listed.partners, sign_entry(ghost, THEIRS)])
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case()
        found = states(await made.ask())
        assert (found["zz-ghost"].status, found["zz-ghost"].reason) == (
            query_pb2.STATUS_NOT_ASKED,
            "ROOT_UNPINNED",
        )
        assert found[OWNER].status == query_pb2.STATUS_ANSWERED


async def test_one_operator_alone_changes_nothing(tmp_path: Path) -> None:
    """One signature, or the same one twice, is no directory."""
    async with federation(tmp_path, start=False) as made:
        whole = directory_pb2.SignedDirectory.FromString(made.layout.directory.read_bytes())
        for signatures in (whole.signatures[:1], [whole.signatures[0]] * 2):
            one = changed(whole, signatures=list(signatures))
            made.layout.directory.write_bytes(signing.canonical(one))
            with pytest.raises(FairleadError) as caught:
                await made.start_node("customs")
            assert caught.value.code == "OPERATOR_QUORUM"


async def test_a_rotated_entry_must_name_its_predecessor(tmp_path: Path) -> None:
    """Against the directory seen before, a key changes only in the partner's own unbroken chain."""
    async with federation(tmp_path, start=False) as made:
        old = made.directory
        entry = entry_of(content(made), OWNER)
        root = root_key(made, OWNER)
        before = old.partners[OWNER].entry_digest
        rotated = changed(entry, sealing_key=MINE, sequence=2, previous_digest=before)
        unchained = changed(rotated, previous_digest=bytes(32))
        skipped = changed(rotated, sequence=3)
        for fresh, accepted in ((rotated, True), (unchained, False), (skipped, False)):
            signed = sign_entry(fresh, root)
            resign(made, serial=2, partners=with_entry(content(made), OWNER, signed))
            if accepted:
                made.trust.directory(made.layout.directory, now=old.issued_at + 1, previous=old)
                continue
            with pytest.raises(FairleadError) as caught:
                made.trust.directory(made.layout.directory, now=old.issued_at + 1, previous=old)
            assert caught.value.code == "ENTRY_CHAIN"


async def test_two_operators_cannot_bring_an_owners_lost_key_back(tmp_path: Path) -> None:
    """A newer list with the entry from before a rotation, truly signed once, is not taken over."""
    async with federation(tmp_path, start=False) as made:
        root = root_key(made, OWNER)
        lost = next(
            item for item in content(made).partners
            if directory_pb2.PartnerEntry.FromString(item.entry).partner_id == OWNER
        )  # fmt: skip
        rotated = changed(
            entry_of(content(made), OWNER),
            sealing_key=MINE,
            sequence=2,
            previous_digest=signing.digest(lost.entry),
        )
        signed = sign_entry(rotated, root)
        resign(made, serial=2, partners=with_entry(content(made), OWNER, signed))
        await made.start_node("customs")
        await made.stop_node("customs")
        resign(made, serial=3, partners=with_entry(content(made), OWNER, lost))
        with pytest.raises(FairleadError) as caught:
            await made.start_node("customs")
        assert caught.value.code in {"ENTRY_CHAIN", "ENTRY_OLDER"}
