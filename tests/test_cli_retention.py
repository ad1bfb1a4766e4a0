"""What operators and auditors type to erase leaves, in one process and without any server."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.federation import UserSpec
from fairlead import errors, process, signing
from fairlead.auditlog import AuditLog
from fairlead.auditlog.erased import erase_rows, part_of
from fairlead.certificates import Role
from fairlead.cli.main import app as fairlead_app
from fairlead.cli.output import Exit, run
from fairlead.keyfile import write_private
from fairlead.leaves import LeafWriter
from fairlead.retention import approve_as_user, approving, by_users, require_approved
from fairlead.retention import spool as spool_module
from fairlead.retention.periods import FILE
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import erasure_pb2
from gateway.app import LOG_FILE, MIGRATIONS
from gateway.cli.main import app as gateway_app
from tests.founders import Founded, founded
from tests.walks import World, make_world

DAY_MS = 86_400_000
OFFICERS = (
    UserSpec(pseudonym="u-c11", roles=(Role.SECURITY_OFFICER,)),
    UserSpec(pseudonym="u-c12", roles=(Role.SECURITY_OFFICER,)),
    UserSpec(pseudonym="u-c13", roles=(Role.AUDITOR, Role.ANALYST)),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


Typed = Callable[..., Ended]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    def one(app: typer.Typer, *words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run(lambda: app(args=list(words), standalone_mode=False))
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return one


# A gateway. --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Gateway:
    """A founded gateway with an old log, and its process between two commands."""

    made: Founded
    typed: Typed

    @property
    def log(self) -> Path:
        return self.made.config.state_dir / LOG_FILE

    def __call__(self, *words: str) -> Ended:
        path = str(self.made.folder / "gateway.toml")
        return self.typed(gateway_app, "audit", *words, "--config", path)

    def verify(self) -> Ended:
        config = self.made.config
        options = ("--directory", str(config.directory), "--trust", str(config.pins))
        return self.typed(fairlead_app, "audit", "verify", str(self.log), *options)

    def open(self) -> AuditLog:
        entry = self.made.books().gateway()
        return AuditLog.open(
            self.log,
            origin=entry.log_origin,
            key=signing.load_signing_key(self.made.config.keys_dir / "log.key"),
            clock=time.time,
            migrations=MIGRATIONS,
        )

    async def work(self) -> None:
        """The process runs for a moment, and takes up what commands left."""
        log = self.open()
        config = self.made.config
        spool = process.spool(
            config,
            process.join(config, time.time),
            log=log,
            leaves=LeafWriter(log="gateway/gw-1", clock=time.time),
            clock=time.time,
        )
        for path in spool.waiting():
            await spool.take(path)
        log.close()


@pytest.fixture
def gateway(tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(spool_module, "WAIT_S", 0)
    made = Gateway(founded(tmp_path / "gateway"), typed)
    made.made.config.state_dir.mkdir(exist_ok=True)

    async def fill() -> None:
        log = made.open()
        old = int(time.time() * 1000) - 3_000 * DAY_MS
        for number, kind in enumerate((pb.LEAF_TYPE_ACTIVATION, *[pb.LEAF_TYPE_REFUSAL] * 5)):
            leaf = pb.AuditLeaf(
                type=kind,
                time_ms=old + number,
                log="gateway/gw-1",
                subject="AskingService.Ask",
                user="spiffe://port.example/partner/gone/user/u-a" if number else "",
                query_id=number.to_bytes(16),
            )
            await log.append(signing.canonical(leaf))
        log.close()

    asyncio.run(fill())
    return made


def test_two_operators_erase_what_is_over(gateway: Gateway, tmp_path: Path) -> None:
    """Table, proposal, two approvals, erasure: each command says the next, and the log verifies."""
    order = str(tmp_path / "old.erasure")
    keys = [
        str(gateway.made.folder / "hand-over" / f"operator-{n}" / "operator.key") for n in (1, 2)
    ]
    held = "00000000000000000000000000000005"
    reference = ("--reference", "ROT 26/417", "--by", "u-o-1")
    assert gateway("hold", "add", "--query", held, *reference).code == Exit.ANSWERED
    asyncio.run(gateway.work())
    assert "ROT 26/417" in gateway("hold", "list").out
    shown = json.loads(gateway("retention", "--output", "json").out)
    old = shown["months"][0]
    assert (old["due"], old["held"], shown["days"]["private"]) == (4, 1, 366)
    young = gateway("propose", "--class", "national", "--before", "100d", "--to", order)
    assert (young.code, "RETENTION_RUNS" in young.err) == (Exit.REFUSED, True)
    made = gateway("propose", "--class", "national", "--before", "2000d", "--to", order)
    assert (made.code, "4 leaves" in made.err) == (Exit.ANSWERED, True)
    again = gateway("propose", "--class", "national", "--before", "2000d", "--to", order)
    assert "FILE_EXISTS" in again.err
    assert gateway("erase", order).code == Exit.ANSWERED
    asyncio.run(gateway.work())
    assert len(list((gateway.made.config.state_dir / "retention").glob("*.refused"))) == 1
    for key in keys:
        assert gateway("approve", order, "--operator", key).code == Exit.ANSWERED
    assert "APPROVED_ALREADY" in gateway("approve", order, "--operator", keys[0]).err
    assert "left for the process" in gateway("erase", order).err
    (gateway.made.config.state_dir / ".backup-dead").mkdir()  # of a backup that was killed
    asyncio.run(gateway.work())
    assert not (gateway.made.config.state_dir / ".backup-dead").exists()
    shown = json.loads(gateway("retention", "--output", "json").out)
    assert [row["leaves"] for row in shown["erased"]] == [4]
    assert "erased on" in gateway("retention").err
    verified = gateway.verify()
    assert (verified.code, "ERASURE 2" in verified.out) == (Exit.ANSWERED, True)
    (line,) = gateway("hold", "list").out.splitlines()[1:]
    assert "HOLD_ID" in gateway("hold", "end", "00", "--by", "u-o-1").err
    assert gateway("hold", "end", line.split()[0], "--by", "u-o-1").code == Exit.ANSWERED
    asyncio.run(gateway.work())
    assert len(gateway("hold", "list").out.splitlines()) <= 1


def test_an_operator_signs_what_this_log_has_due_and_nothing_else(
    gateway: Gateway, tmp_path: Path
) -> None:
    """An order that leaves out what its maker wants kept, or lists more, gets no signature."""
    path = tmp_path / "old.erasure"
    key = str(gateway.made.folder / "hand-over" / "operator-1" / "operator.key")
    words = ("--class", "national", "--before", "2000d", "--to", str(path))
    assert "REFUSAL 5" in gateway("propose", *words).err
    order = erasure_pb2.SignedErasureOrder.FromString(path.read_bytes())
    content = erasure_pb2.ErasureOrder.FromString(order.order)
    content.part_digests[0] = bytes(32)
    order.order = signing.canonical(content)
    path.write_bytes(signing.canonical(order))
    refused = gateway("approve", str(path), "--operator", key)
    assert (refused.code != Exit.ANSWERED, "ERASURE_OTHER" in refused.err) == (True, True)
    assert path.read_bytes() == signing.canonical(order)


def test_what_waits_and_what_was_refused_is_shown(gateway: Gateway) -> None:
    """Nobody believes that a hold is in force because a command ended."""
    path = spool_module.leave(
        gateway.made.config.state_dir,
        erasure_pb2.RetentionJob(hold=erasure_pb2.HoldRequest(ended=bytes(32), by="u-o-1")),
    )
    for words in (("hold", "list"), ("retention",)):
        assert f"waits for the process: {path.name}" in gateway(*words).err
    asyncio.run(gateway.work())
    for words in (("hold", "list"), ("retention",)):
        said = gateway(*words).err
        assert ("HOLD_UNKNOWN" in said, "waits for" in said) == (True, False)


def test_an_erasure_that_nobody_approved_is_named(gateway: Gateway) -> None:
    """Whoever holds the log's key can write the leaf and not the operators' signatures."""

    async def forge() -> None:
        log = gateway.open()
        (row,) = log.read("SELECT idx, hash FROM leaf WHERE idx = 1")
        listed = [(row[0], bytes(row[1]), int(pb.LEAF_TYPE_REFUSAL))]
        from fairlead.auditlog.erased import list_digest

        digest = list_digest(listed)
        content = erasure_pb2.ErasureOrder(
            origin=log.origin,
            leaf_class="private",
            until_ms=1,
            issued_at=int(time.time()),
            count=1,
            part_digests=[digest],
        )
        order = erasure_pb2.SignedErasureOrder(order=signing.canonical(content))
        for number in (1, 2):
            order.operators.add(key_id=bytes([number]) * 32, signature=bytes(64))
        detail = signing.canonical(
            erasure_pb2.ErasedLeaves(order=signing.canonical(order), part=part_of(listed))
        )
        leaf = LeafWriter(log="gateway/gw-1", clock=time.time).erasure(
            leaf_class="private",
            until_ms=1,
            count=1,
            held=0,
            digest=digest,
            approvals=[("spiffe://a/operator/b", bytes(64)), ("spiffe://a/operator/c", bytes(64))],
            detail_digest=signing.digest(detail),
        )
        await log.append(
            leaf,
            detail=detail,
            also=lambda file: erase_rows(file, listed, (digest, "private", 1, 1)),
        )
        log.close()

    asyncio.run(forge())
    found = gateway.verify()
    assert (found.code, "ERASURE_APPROVERS" in found.err) == (Exit.PARTIAL, True)


def test_an_archive_is_read_with_the_period_keys_alone(gateway: Gateway, tmp_path: Path) -> None:
    """It holds no leaf in clear, comes back whole, and without the keys not at all."""
    archive, state = tmp_path / "gateway.tar.gz", gateway.made.config.state_dir
    config = ("--config", str(gateway.made.folder / "gateway.toml"))
    taken = gateway.typed(gateway_app, "backup", "--to", str(archive), *config)
    assert (taken.code, FILE in taken.err) == (Exit.ANSWERED, True)
    assert b"partner/gone" not in gzip.decompress(archive.read_bytes())
    keys = gateway.made.config.keys_dir / FILE
    kept = keys.read_bytes()
    keys.unlink()
    lost = gateway.typed(gateway_app, "restore", str(archive), *config)
    assert (lost.code, "PERIOD_KEYS" in lost.err) == (Exit.CONFIGURATION, True)
    write_private(keys, kept)
    shutil.rmtree(state)
    assert gateway.typed(gateway_app, "restore", str(archive), *config).code == Exit.ANSWERED
    assert gateway.verify().code == Exit.ANSWERED


# A node's people. --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(
        tmp_path_factory.mktemp("world"),
        now=time.time(),
        partners=["customs", "police"],
        more_users={"customs": OFFICERS},
    )


def an_order() -> bytes:
    content = erasure_pb2.ErasureOrder(
        origin="fairlead.demo/partner/customs",
        leaf_class="private",
        issued_at=int(time.time()),
        count=1,
        part_digests=[bytes(32)],
    )
    part = erasure_pb2.ErasurePart(runs=[1, 1], types=b"\x01")
    signed = erasure_pb2.SignedErasureOrder(order=signing.canonical(content), parts=[part])
    return signing.canonical(signed)


def by(world: World, *users: str, partner: str = "customs") -> erasure_pb2.SignedErasureOrder:
    """An order that these people signed."""
    order = an_order()
    for user in users:
        order, _ = approve_as_user(
            order,
            world.certificate(partner, user),
            signing.load_user_key(world.opened.layout.user(partner, user) / "user.key"),
            directory=world.directory,
            now=time.time(),
        )
    return erasure_pb2.SignedErasureOrder.FromString(order)


def judged(world: World, order: erasure_pb2.SignedErasureOrder) -> list[str]:
    judge = by_users("customs", lambda: world.directory, world.opened.deny_lists)
    return [name.rpartition("/")[2] for name, _ in judge(order, time.time())]


def test_two_users_of_the_partner_approve(world: World) -> None:
    """An auditor and a security officer do, today and for whoever reads the log later."""
    order = by(world, "u-c06", "u-c11")
    assert judged(world, order) == ["u-c06", "u-c11"]
    names = [f"spiffe://fairlead.demo/partner/customs/user/{u}" for u in ("u-c06", "u-c11")]
    bare = signing.canonical(erasure_pb2.SignedErasureOrder(order=order.order, users=order.users))
    anchors: dict[str, Any] = {"operators": [], "directories": [world.directory]}
    require_approved(bare, names, **anchors)
    for wrong in (names[::-1], names[:1], []):
        with pytest.raises(errors.FairleadError):
            require_approved(bare, wrong, **anchors)


def test_others_do_not_approve(world: World) -> None:
    """Not one person twice, not two without an auditor, not an analyst, not another partner's."""
    with pytest.raises(errors.Conflict):
        by(world, "u-c06", "u-c06")
    with pytest.raises(errors.Refused) as caught:
        by(world, "u-c01")
    assert caught.value.code == "ERASURE_ROLE"
    twice = by(world, "u-c06")
    twice.users.append(twice.users[0])
    edited = by(world, "u-c06", "u-c11")
    edited.order += b"\x28\x01"
    for order in (by(world, "u-c06"), by(world, "u-c11", "u-c12"), twice, edited):
        with pytest.raises(errors.FairleadError):
            judged(world, order)
    with pytest.raises(errors.Forged):
        by_users("police", lambda: world.directory, world.opened.deny_lists)(
            by(world, "u-c06", "u-c13"), time.time()
        )


def test_a_service_user_is_not_the_second_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a service user is a person, who may have a certificate of their own: one twice."""
    order = by(world, "u-c06", "u-c11")
    plain = approving.identity_from_certificate

    def service(*arguments: Any, **settings: Any) -> Any:
        found = plain(*arguments, **settings)
        if not found.spiffe_id.endswith("u-c11"):
            return found
        return replace(found, responsible="u-c06", schemes=frozenset({"container"}))

    monkeypatch.setattr(approving, "identity_from_certificate", service)
    for attempt in (lambda: judged(world, order), lambda: by(world, "u-c11")):
        with pytest.raises(errors.Refused) as caught:
            attempt()
        assert caught.value.code == "ERASURE_ROLE"


def profile_of(world: World, folder: Path, user: str) -> Path:
    layout = world.opened.layout
    keys = layout.user("customs", user)
    content = {
        "node": "127.0.0.1:1",
        "node_id": "spiffe://fairlead.demo/partner/customs/node/node-1",
        "certificate": str(keys / "user.pem"),
        "key": str(keys / "user.key"),
        "directory": str(layout.directory),
        "trust": str(layout.pins),
    }
    profile = folder / f"{user}.toml"
    profile.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in content.items()))
    return profile


def test_an_auditor_signs_nothing_that_a_copy_of_the_log_does_not_hold(
    world: World, typed: Typed, tmp_path: Path
) -> None:
    """With --log each listed leaf is looked up, and the file is left as it was."""
    path, place = tmp_path / "private.erasure", tmp_path / "copy.sqlite"
    path.write_bytes(made := an_order())
    key = Ed25519PrivateKey.generate()
    origin = "fairlead.demo/partner/customs"
    log = AuditLog.open(place, origin=origin, key=key, clock=time.time)
    leaf = pb.AuditLeaf(type=pb.LEAF_TYPE_INTENT, log="partner/customs", query_id=bytes(16))

    async def fill() -> None:
        for _ in range(2):
            await log.append(signing.canonical(leaf))

    asyncio.run(fill())
    log.close()
    profile = profile_of(world, tmp_path, "u-c06")
    words = ("audit", "approve", str(path), "--profile", str(profile), "--log", str(place))
    assert "ERASURE_OTHER" in typed(fairlead_app, *words).err
    assert path.read_bytes() == made


def test_an_auditor_types_the_approval(world: World, typed: Typed, tmp_path: Path) -> None:
    """The command shows what is about to be erased, signs, and says who is next."""
    path = tmp_path / "private.erasure"
    path.write_bytes(an_order())
    said = []
    for user in ("u-c06", "u-c11", "u-c11"):
        profile = profile_of(world, tmp_path, user)
        words = ("audit", "approve", str(path), "--profile", str(profile))
        said.append(typed(fairlead_app, *words))
    assert [one.code for one in said] == [Exit.ANSWERED, Exit.ANSWERED, Exit.USAGE]
    assert "1 leaves of class private" in said[0].err
    assert "INTENT 1" in said[0].err
    assert "fairlead-node audit erase" in said[1].err
    assert "APPROVED_ALREADY" in said[2].err
    assert judged(world, erasure_pb2.SignedErasureOrder.FromString(path.read_bytes())) == [
        "u-c06", "u-c11",
    ]  # fmt: skip
