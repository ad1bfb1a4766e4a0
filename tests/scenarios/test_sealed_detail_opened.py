"""A committee opens one leaf: programs as people start them, while an oversight runs."""

from __future__ import annotations

import json
from pathlib import Path

from fairlead.auditlog import verify_log
from fairlead.signing import load_signing_key, public_bytes
from tests.commands import as_user
from tests.desks import PARTNERS, WHY
from tests.federation import STORY, federation
from tests.openings import AUDITOR, MORE_USERS
from tests.oversights import oversight_of
from tests.processes import OVERSIGHT, command, oversight_process


async def test_a_leaf_is_opened_while_its_federation_and_an_oversight_run(tmp_path: Path) -> None:
    """The gateway goes on logging beside the auditor who reads its file; the share waits until the
    oversight that runs has its OPENING leaf in its log."""
    async with federation(tmp_path / "made", partners=PARTNERS, more_users=MORE_USERS) as made:
        await made.open_case()
        events = await made.ask(STORY)
        assert made.gateway is not None
        await made.gateway.witnesses.look()
        query = next(e.accepted.query_id for e in events if e.HasField("accepted")).hex()
        log, to = made.gateway_config.state_dir / "audit.sqlite", tmp_path / "opening"

        async def audit(*words: str) -> object:
            named = {"partner": AUDITOR[0], "user": AUDITOR[1]}
            done = await as_user(made, "audit", "open", *words, **named)
            assert done.code == 0, done.err
            return json.loads(done.out) if done.out else None

        await audit(query, "--log", str(log), *WHY, "--to", str(to))
        configs = {p: oversight_of(made.layout, tmp_path / p, p, tmp_path) for p in PARTNERS[:2]}
        shares: list[str] = []
        async with oversight_process(configs["customs"]):
            for partner, config in configs.items():
                target = to / f"{partner}.shares"
                request = to / "request.opening"
                done = await command(
                    OVERSIGHT, "share", request, "--by", "u-o01", "--to", target, "--config", config
                )
                assert done.code == 0, done.err
                shares += ["--share", str(target)]
        opened = await audit(str(to / "request.opening"), *shares, "--output", "json")
        assert isinstance(opened, dict)
        assert opened["terms"][0]["term"] == STORY
        assert {part["result"] for part in opened["parts"]} == {"recomputed"}
        key = load_signing_key(tmp_path / "customs" / "keys" / "log.key")
        report = verify_log(
            tmp_path / "customs" / "state" / "audit.sqlite",
            origin="fairlead.demo/partner/customs/oversight", public_key=public_bytes(key),
        )  # fmt: skip
        assert report.leaves["OPENING"] == 1
