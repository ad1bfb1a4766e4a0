"""Ways to change a proof, a note or a receipt a little, and ways to splice valid ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fairlead.v1 import audit_pb2

DASH = "\N{EM DASH}"


def flipped(data: bytes, chance: random.Random) -> bytes:
    """One bit changed."""
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def hashes(proof: Sequence[bytes], other: Sequence[bytes], chance: random.Random) -> list[bytes]:
    """The hashes of a proof with one changed, gone, twice, exchanged, or from another proof."""
    found = list(proof)
    place = chance.randrange(len(found)) if found else 0
    kind = chance.randrange(6)
    if not found or kind == 0:
        found.insert(place, chance.choice(list(other) or [bytes(32)]))
    elif kind == 1:
        found[place] = flipped(found[place], chance)
    elif kind == 2:
        del found[place]
    elif kind == 3:
        found.insert(place, found[place])
    elif kind == 4:
        with_place = chance.randrange(len(found))
        found[place], found[with_place] = found[with_place], found[place]
    else:
        found[place] = chance.choice([found[place][:-1], found[place] + b"\0", b"", *other])
    return found


# ── Texts: notes, checkpoints, proofs ────────────────────────────────────────────────────────

Change = Callable[[str, str, random.Random], str]


def bit(text: str, _other: str, chance: random.Random) -> str:
    """One bit of one octet."""
    return flipped(text.encode(), chance).decode("utf-8", "surrogateescape")


def cut(text: str, _other: str, chance: random.Random) -> str:
    """The beginning or the end alone."""
    place = chance.randrange(len(text))
    return text[:place] if chance.random() < 0.5 else text[place:]


def line_moved(text: str, _other: str, chance: random.Random) -> str:
    """Two lines have changed places, or one is gone or stands twice."""
    lines = text.split("\n")
    one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(3)
    if kind == 0:
        lines[one], lines[two] = lines[two], lines[one]
    elif kind == 1:
        del lines[one]
    else:
        lines.insert(two, lines[one])
    return "\n".join(lines)


def line_spliced(text: str, other: str, chance: random.Random) -> str:
    """One line of another valid text."""
    lines, others = text.split("\n"), other.split("\n")
    place = chance.randrange(len(lines))
    lines[place] = (
        others[min(place, len(others) - 1)] if chance.random() < 0.7 else chance.choice(others)
    )
    return "\n".join(lines)


def halves_spliced(text: str, other: str, chance: random.Random) -> str:
    """The beginning of one valid text and the end of another, joined at an empty line or not."""
    if chance.random() < 0.5:
        return text.partition("\n\n")[0] + "\n\n" + other.partition("\n\n")[2]
    return text[: chance.randrange(len(text))] + other[chance.randrange(len(other)) :]


def number_changed(text: str, _other: str, chance: random.Random) -> str:
    """A line that is or ends in a number says another one."""
    lines = text.split("\n")
    places = [place for place, line in enumerate(lines) if line.rpartition(" ")[2].isdecimal()]
    if not places:
        return bit(text, _other, chance)
    place = chance.choice(places)
    word, gap, number = lines[place].rpartition(" ")
    changed = max(0, int(number) + chance.choice([-1, 1, 2**31, 2**63])) if number.isascii() else 0
    lines[place] = (
        word + gap + chance.choice([str(changed), f"0{number}", f"+{number}", f"-{number}"])
    )
    return "\n".join(lines)


def signature_added(text: str, other: str, chance: random.Random) -> str:
    """Another text's signature, before, behind or instead of the right one."""
    foreign = [line for line in other.split("\n") if line.startswith(DASH)]
    lines = text.split("\n")
    own = [place for place, line in enumerate(lines) if line.startswith(DASH)]
    if not foreign or not own:
        return bit(text, other, chance)
    kind = chance.randrange(3)
    if kind == 0:
        lines[own[0]] = foreign[0]
    else:
        lines.insert(own[0] + (kind == 1), foreign[0])
    return "\n".join(lines)


def spaced(text: str, _other: str, chance: random.Random) -> str:
    """One more space, newline, tab, equals sign or dash somewhere."""
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice([" ", "\n", "\t", "=", "-", "\r", "\u00a0"]) + text[place:]


TEXTS: tuple[Change, ...] = (
    *(bit, cut, line_moved, line_spliced, halves_spliced, number_changed, signature_added, spaced),
)


# ── Receipts ─────────────────────────────────────────────────────────────────────────────────


def receipt(
    valid: audit_pb2.Receipt, other: audit_pb2.Receipt, chance: random.Random
) -> audit_pb2.Receipt | None:
    """A receipt with one part changed or of another valid one; None if it cannot be read."""
    changed = audit_pb2.Receipt()
    changed.CopyFrom(valid)
    kind = chance.randrange(6)
    if kind == 0:
        return _parsed(flipped(valid.SerializeToString(), chance))
    if kind == 1:
        changed.leaf = chance.choice([flipped(valid.leaf, chance), other.leaf, valid.leaf[:-1]])
    elif kind == 2:
        change = chance.choice(TEXTS)
        text = change(valid.tlog_proof, other.tlog_proof, chance)
        changed.tlog_proof = text.encode("utf-8", "replace").decode()
    elif kind == 3:
        del changed.consistency[:]
        changed.consistency.extend(hashes(valid.consistency, other.consistency, chance))
    elif kind == 4:
        changed.consistency_from = max(
            0, valid.consistency_from + chance.choice([-1, 1, other.consistency_from])
        )
    else:
        whole = chance.choice(["leaf", "tlog_proof", "consistency_from"])
        setattr(changed, whole, getattr(other, whole))
    return changed


def _parsed(octets: bytes) -> audit_pb2.Receipt | None:
    try:
        return audit_pb2.Receipt.FromString(octets)
    except Exception:
        return None
