"""``fairlead partners``: the directory as the own node verified it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.cli.output import Exit
from tests.commands import as_user, fairlead, profile
from tests.federation import federation


async def test_partners_are_listed_as_the_directory_says(tmp_path: Path) -> None:
    """Every partner with kind, country and schemes, for people and for programs."""
    async with federation(tmp_path, partners=("customs", "terminal-north"), start=False) as made:
        await made.start_node("customs")
        ended = await as_user(made, "partners", "--output", "json")
        assert ended.code == Exit.ANSWERED
        assert [item["partner"] for item in ended.json] == ["customs", "terminal-north"]
        assert ended.json[1]["kind"] == "terminal"
        assert ended.json[1]["schemes"] == "container, vehicle-plate, vessel-imo"
        assert "directory 1, in force until" in ended.err
        table = await as_user(made, "partners", user="u-c02")
        assert table.out.splitlines()[0].split() == [
            "partner",
            "name",
            "kind",
            "country",
            "schemes",
        ]


@pytest.mark.parametrize("broken", ["directory", "trust", "key"])
async def test_a_broken_profile_says_what_to_do(tmp_path: Path, broken: str) -> None:
    """A directory, anchors or key that do not verify end before anybody is called."""
    async with federation(tmp_path, partners=("customs",), start=False) as made:
        path = profile(made)
        bad = tmp_path / "bad"
        bad.write_bytes(b"garbage")
        lines = path.read_text().splitlines()
        path.write_text(
            "\n".join(
                f'{broken} = "{bad}"' if line.startswith(f"{broken} ") else line for line in lines
            )
        )
        ended = await fairlead("partners", home=path.parent, profile_file=path)
        assert ended.code in (Exit.USAGE, Exit.CONFIGURATION, Exit.CHECK_FAILED)
        assert ended.out == ""
        assert "Traceback" not in ended.err
        assert "internal error" not in ended.err
