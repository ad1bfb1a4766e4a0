"""A change of policy as two officers make it: docs/policy-walkthrough.md, typed."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from certs.dev.federation import UserSpec
from demo.accepting import records_of_code
from fairlead.certificates import Role
from fairlead.facts import party_facts
from fairlead.policy.inputs import CaseFacts, QueryFacts, UserFacts
from fairlead.v1 import asking_pb2
from node.exposure.matrix import measure
from node.owner import take
from tests.commands import profile
from tests.federation import APPROVER, STORY, Federation, federation, record
from tests.live import apart, start, until
from tests.typist import Machine, Typist

pytestmark = pytest.mark.alone

PAGE = "docs/policy-walkthrough.md"
OFFICERS = {"customs": "u-so1", "terminal-north": "u-so2"}
CASE = "C-2026-0815"
ROUNDS = 5_100
"""Questions decided beforehand; each leaves a decision for each of two partners."""


async def open_case(made: Federation) -> None:
    """A case of risk management for customs' analyst."""
    async with made.client(*APPROVER) as client:
        case = asking_pb2.Case(
            case_id=CASE,
            purpose="customs-risk",
            legal_basis="eu-ucc-art-46",
            schemes=["container"],
            members=["u-c01"],
            expires_at=int(time.time()) + 86_400,
        )
        await client.stub.OpenCase(asking_pb2.OpenCaseRequest(case=case))


def decide(made: Federation) -> int:
    """Questions decided at customs' node, recorded as all its decisions are; returns how many."""
    node = made.nodes["customs"]
    partners = node.member.directory.current.partners
    others = {name: party_facts(p) for name, p in partners.items() if name != "customs"}
    now = int(time.time())
    query = QueryFacts(
        mode="sealed",
        purpose="customs-risk",
        legal_basis="eu-ucc-art-46",
        schemes=("container",),
        term_count=1,
        window_days=90,
        events=(),
        instrument=None,
    )
    case = CaseFacts(
        open=True,
        assigned=True,
        purpose=query.purpose,
        legal_basis=query.legal_basis,
        schemes=query.schemes,
        expires_at=now + 3_600,
    )
    decided = 0
    for number in range(ROUNDS):
        asked = replace(query, mode=("sealed", "blind")[number % 2], window_days=30 + number % 60)
        _, each = node.releases.live.current.asking(
            now=now,
            query=asked,
            asker=party_facts(partners["customs"]),
            user=UserFacts(pseudonym="u-c01", roles=("analyst",)),
            case=case,
            approvals=0,
            candidates=others,
        )
        decided += 1 + len(each)
    return decided


@pytest.mark.timeout(300)
async def test_the_walk_of_two_officers(tmp_path: Path) -> None:
    """From a wish to its effect and back, over ten thousand decisions, as the page says."""
    people = {
        partner: [UserSpec(pseudonym=name, roles=(Role.SECURITY_OFFICER,))]
        for partner, name in OFFICERS.items()
    }
    held = {"terminal-north": [record(purposes=("customs-risk",))]}
    async with federation(tmp_path / "made", records=held, more_users=people, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        await open_case(made)
        assert decide(made) >= 10_000
        loop = asyncio.get_running_loop()

        def meanwhile(work: Coroutine[None, None, None]) -> None:
            asyncio.run_coroutine_threadsafe(work, loop).result(60)

        await asyncio.to_thread(walk, made, tmp_path / "desk", meanwhile)


async def everywhere(made: Federation, serial: int) -> None:
    """Within about a second every node has heard."""
    await until(lambda: all(n.releases.live.serial == serial for n in made.nodes.values()))


async def accepted(made: Federation) -> None:
    """The terminal's people accept what the release lets their node answer."""
    node = made.nodes["terminal-north"]
    await everywhere(made, 2)
    policy, owner = node.releases.live.imagined, node.steering.owner
    partner = owner.directory().partners["terminal-north"]
    found = await measure(
        owner=partner,
        directory=owner.directory(),
        policy=policy,
        sources=records_of_code(policy, partner.schemes),
        now=owner.clock(),
    )
    given = {"log": owner.log, "leaves": owner.leaves, "gate": owner.gate, "now": owner.clock()}
    await take(found, "u-t01", **given)  # type: ignore[arg-type]


def walk(
    made: Federation, desk: Path, meanwhile: Callable[[Coroutine[None, None, None]], None]
) -> None:
    """Type the page: what the second officer types, with the second officer's profile."""
    desk.mkdir()
    shutil.copy(made.folder / "replay.key", desk)
    for number, name in ((1, "customs"), (2, "terminal")):
        shutil.copy(made.layout.federation / f"policy-{number}.key", desk / f"{name}.key")
    analyst = {"FAIRLEAD_PROFILE": str(profile(made))}
    officers = {
        partner: {"FAIRLEAD_PROFILE": str(profile(made, partner, name))}
        for partner, name in OFFICERS.items()
    }

    def who(line: str) -> Mapping[str, str]:
        if line.startswith("fairlead ask"):
            return analyst
        return officers["terminal-north" if "terminal.key" in line else "customs"]

    with Machine(desk) as machine:
        typist = Typist(
            PAGE,
            machine,
            desk,
            values={
                "CASE": CASE,
                "MSCU6639870": STORY,
                "5d1c0f7e9a42": lambda: machine.heard("^([0-9a-f]{12}) "),
            },
            variables=who,
        )
        typist.block("A change of policy, from idea to effect and back")
        typist.block("Draft")
        told = typist.block("Check, test, look")
        assert "customs-risk" in told
        began = time.monotonic()
        told = typist.block("Replay")
        print(f"replayed and justified in {time.monotonic() - began:.1f} s")
        assert "fairlead policy sign" in told
        counted = re.findall(r"([0-9,]+) decisions", machine.said)
        assert max(int(number.replace(",", "")) for number in counted) >= 10_000
        typist.block("Sign twice, publish")
        assert "terminal-north" in typist.block("Sign twice, publish")
        meanwhile(accepted(made))
        typist.block("The next question")
        assert "customs-asks-openly" in machine.said
        typist.block("Back")
        meanwhile(everywhere(made, 3))
        typist.block("Back")
        typist.done()
