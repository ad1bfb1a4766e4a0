"""Attack: the gateway's operator searches its memory, while figures are summed and afterwards, and
all its files, for what one partner has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from demo.memory import holds, writable
from fairlead.strategic.statements import statement_to_wire
from fairlead.summing import Figures, Terms
from fairlead.summing.masking import pack
from fairlead.v1 import statistics_pb2 as pb
from gateway.members import LegFailed
from tests.counting import KINDS, OUT, put, take
from tests.federation import ROOT
from tests.summed import Nodes, figures_of, names
from tests.tallying import Wire
from tests.walks import make_world

PLANTED = {name: 61_803_398 + 111_317 * place for place, name in enumerate(names(8))}
"""What each partner has in the first cell, where all have something."""
ALONE = 77_123_457
"""What one partner has in the second cell, where no other has anything."""


SOUGHT = {name: PLANTED[name] for name in ("p01", "p05")} | {"alone": ALONE}
"""Of two partners: when all but one have stated theirs, one of these has."""


def spellings(value: int) -> Iterator[bytes]:
    """Ways in which a number can stand in a file."""
    yield str(value).encode()
    yield value.to_bytes(8, "little")
    yield value.to_bytes(8, "big")
    varint, rest = bytearray(), value
    while rest:
        varint.append(rest & 0x7F | (0x80 if rest > 0x7F else 0))
        rest >>= 7
    yield b"\x08" + bytes(varint)  # a protobuf field


FORMS = {name: [*spellings(value)] for name, value in SOUGHT.items()}
DECIMAL = {name: forms[:1] for name, forms in FORMS.items()} | {"control": [b"quarter,country"]}
"""With what the gateway knows, lest the search read the wrong memory."""


def in_memory(pid: int) -> set[str]:
    """Whose figures a process holds: in decimal digits, as a word of a vector at whatever place,
    or as one of Python's own numbers."""
    found = holds(pid, DECIMAL)
    for chunk in writable(pid):
        for shift in range(4):
            words = np.frombuffer(chunk, "<u4", count=(len(chunk) - shift) // 4, offset=shift)
            for name, value in SOUGHT.items():
                for at in np.flatnonzero(words == value):
                    word = words[at + 1 : at + 2].tolist() == [0]
                    if word or words[max(0, at - 2) : at].tolist() == [1, 0]:
                        found.add(name)
    return found


def planted(partner: str, terms: Terms) -> Figures:
    """A partner's figures."""
    words = (1,) * (len(terms.measures) - 1)
    second = ALONE if partner == "p00" else 0
    rows = ((PLANTED[partner], *words), (second, *(words if second else (0,) * len(words))))
    return figures_of(terms.measures, rows)


def searched(folder: Path) -> Generator[set[str], None, None]:
    """Have a gateway make a release: what is found in its memory while it has everybody's vectors
    but one, when the release is out, and in its files."""
    make_world(folder / "certs")
    (folder / "state").mkdir()
    wire, asked = Wire(Nodes(8), counts=planted), 0
    with subprocess.Popen(
        [sys.executable, "-m", "tests.counting", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    ) as gateway:  # fmt: skip
        assert gateway.stdin is not None
        assert gateway.stdout is not None
        while (partner := take(gateway.stdout)) not in {OUT, b""}:
            (kind,) = take(gateway.stdout)
            request = KINDS[kind].FromString(take(gateway.stdout))
            try:
                said = statement_to_wire(wire.statement(partner.decode(), request))
            except LegFailed:
                put(gateway.stdin, b"")
                continue
            asked += isinstance(request, pb.SumValuesRequest)
            if asked == len(PLANTED):
                yield in_memory(gateway.pid)
            put(gateway.stdin, said.SerializeToString())
        assert partner == OUT
        yield in_memory(gateway.pid)
    yield in_files(folder / "state")


def in_files(folder: Path) -> set[str]:
    """Whose figures stand in some file."""
    blobs = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert blobs
    return {
        name for name, spelt in FORMS.items() if any(form in b for form in spelt for b in blobs)
    }


def test_no_memory_and_no_file_of_the_gateway_holds_one_partners_figure(tmp_path: Path) -> None:
    """Not while it has all partners' vectors, nor when the release is out."""
    assert [*searched(tmp_path)] == [{"control"}, {"control"}, set()]


def test_without_masks_and_noise_it_would_hold_every_partners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what nodes send in clear is found by the same search."""
    monkeypatch.setattr("fairlead.summing.rounds.mask", lambda values, *_: pack(values))
    monkeypatch.setattr("fairlead.summing.noise.Noise.share", lambda *_: 0)
    with closing(searched(tmp_path)) as found:
        assert next(found) & PLANTED.keys()


@pytest.mark.parametrize("form", FORMS["alone"])
def test_the_search_finds_every_spelling_in_a_file(tmp_path: Path, form: bytes) -> None:
    """The other control."""
    (tmp_path / "audit.sqlite").write_bytes(b"\x00before" + form + b"after\xff")
    assert in_files(tmp_path) == {"alone"}
