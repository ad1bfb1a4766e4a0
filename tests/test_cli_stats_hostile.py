"""What a hostile gateway, a shared folder and a text from elsewhere do to who asks for figures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.cli.stats.gathering import Telling, gather
from fairlead.cli.stats.keeping import Kept, draw
from fairlead.cli.stats.packing import write_files
from fairlead.errors import Conflict, Forged, Misconfigured
from fairlead.escaping import sheet
from fairlead.strategic.received import Request
from fairlead.strategic.terms import FINAL_AFTER_S
from tests.asked_figures import GATEWAY, Node, directory, made, request, signed

REPLACED_KEY = Ed25519PrivateKey.from_private_bytes(b"\x0a" * 32)


def kept(folder: Path, own: Any = None) -> Kept:
    return Kept(folder=folder / "figures", directory=own or directory())


def _after_a_rotation() -> Any:
    """The directory once the gateway has another key."""
    own = directory()
    entry = vars(own.gateways[GATEWAY]) | {"signing_key": signing.public_bytes(REPLACED_KEY)}
    own.gateways = {GATEWAY: SimpleNamespace(**entry)}
    return own


async def test_a_gateways_new_key_hides_no_other_figure(tmp_path: Path) -> None:
    """What lies there is compared though nobody's key of today signed it; the same release is kept
    again under the new key."""
    only = request(period="2026-Q1")
    await gather(Node(), only, kept=kept(tmp_path), telling=Telling())
    shelf = kept(tmp_path, _after_a_rotation())
    same = made(only, only.units[0])
    other = replace(same, participants=11)
    with pytest.raises(Conflict, match="other figures under this version"):
        await gather(
            Node(change=lambda _: [signed(other, REPLACED_KEY)]), only, kept=shelf,
            telling=Telling(),
        )  # fmt: skip
    assert not list(shelf.find(only, only.units[0].ends))
    again = Node(change=lambda _: [signed(same, REPLACED_KEY)])
    await gather(again, only, kept=shelf, telling=Telling())
    assert list(shelf.find(only, only.units[0].ends)) == [same]


async def test_first_figures_under_the_name_of_final_ones_are_none(tmp_path: Path) -> None:
    """A file that was copied to the other version's name is passed over."""
    shelf, only = kept(tmp_path), request(period="2026-Q1")
    await gather(Node(), only, kept=shelf, telling=Telling())
    (path,) = tmp_path.rglob("*-1.release")
    path.with_name(path.name.replace("-1.", "-2.")).write_bytes(path.read_bytes())
    assert not list(shelf.find(only, only.units[0].ends + FINAL_AFTER_S))
    assert len(list(shelf.find(only, only.units[0].ends))) == 1


@pytest.mark.parametrize(
    "changed", [{"version": 2}, {"version": 3}, {"version": 9, "released_at": 2**40},
                {"released_at": 2**40}],
)  # fmt: skip
async def test_no_version_makes_another_figure_of_one_that_is_out(
    tmp_path: Path, changed: dict[str, int]
) -> None:
    """Final figures before they are due, a version that there is none of, and a release from the
    future, as of whose day a pack would be."""
    node = Node(releases=lambda wanted, unit: replace(made(wanted, unit), **changed))  # type: ignore[arg-type]
    only = request(period="2026-Q1")
    with pytest.raises(Forged) as caught:
        await gather(node, only, kept=kept(tmp_path), telling=Telling())
    assert caught.value.code == "FIGURES_OTHER"
    assert not list(tmp_path.rglob("*.release"))


class _Writing(Node):
    """A node that passes on what a gateway calls a unit of time."""

    async def ask_figures(self, wanted: Request) -> AsyncIterator[Any]:
        """The same events, with a unit that a terminal would obey."""
        async for event in super().ask_figures(wanted):
            if event.WhichOneof("event") == "progress":
                event.progress.unit = "\x1b]0;owned\x07"
            yield event


async def test_a_gateway_does_not_write_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is told of progress is the gateway's text, and only what can be seen of it is."""
    wanted = request(period="2026-Q1")
    await gather(_Writing(), wanted, kept=kept(tmp_path), telling=Telling(live=True))
    told = capsys.readouterr().err
    assert "owned" in told
    assert "\x1b]" not in told
    assert "\x07" not in told


@pytest.mark.parametrize("text", ['Gates;=HYPERLINK("http://x")', 'a;"=1+1";b', "a; @x", "'=1"])
def test_a_semicolon_begins_no_formula(text: str) -> None:
    """Spreadsheets of countries with a decimal comma part cells there."""
    written = sheet(("number", "title"), [(1, text)])
    cells = [cell for row in csv.reader(io.StringIO(written), delimiter=";") for cell in row]
    assert not [cell for cell in cells if cell.strip().strip('"').startswith(("=", "@"))]


def test_a_link_in_the_way_is_not_written_through(tmp_path: Path) -> None:
    """A pack's folder may be one where others write: theirs is replaced, and mine stays."""
    out, mine = tmp_path / "pack", tmp_path / "mine"
    out.mkdir()
    mine.write_text("mine")
    for name in (f".kpi-2026.html.{os.getpid()}", "kpi-2026.html"):
        (out / name).symlink_to(mine)
    write_files(out, {"kpi-2026.html": b"page"})
    assert (out / "kpi-2026.html").read_bytes() == b"page"
    assert mine.read_text() == "mine"


def test_a_chart_is_utf_8_and_one_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Whatever the locale; where a folder stands in the way, the remedy says so."""
    draw(tmp_path / "c.svg", "± …")
    assert (tmp_path / "c.svg").read_bytes() == "± …".encode()
    (tmp_path / "d.svg").mkdir()
    with pytest.raises(Misconfigured) as caught:
        draw(tmp_path / "d.svg", "x")
    assert caught.value.code == "EXPORT_FILE"
    assert "--chart FILE" in caught.value.remedy
