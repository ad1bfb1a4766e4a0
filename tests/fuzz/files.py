"""Files and words: what an administrator, a partner or a person hands to a program."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fairlead import backup, identifiers, reasons, signing, vocabulary
from fairlead.auditlog.erased import indexes_of, parse_detail
from fairlead.cli.ask import recognise
from fairlead.cli.options import lasting, moment
from fairlead.cli.terms import read_terms
from fairlead.config import GatewayConfig, NodeConfig, load
from fairlead.evidence import load_evidence
from fairlead.identifiers import matching
from fairlead.officers import parse_officers, render_officers
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.manifest import MANIFEST, parse_manifest
from fairlead.policy.reading import read_candidates, read_decision, read_records
from fairlead.policy.reports import check_justified
from fairlead.profile import Profile
from fairlead.retention import LeafClass, read_order
from fairlead.retention.periods import PeriodKeys
from fairlead.retention.sealed import SealedUnder
from fairlead.trust import Trust
from fairlead.v1 import erasure_pb2
from node.control.message import parse_request
from node.exposure.acceptance import Acceptance
from node.sources.mapping import load_mapping
from tests.federation import ROOT
from tests.fuzz.target import Target, text
from tests.releases import OFFICERS, release, verified

NOW = 1_795_000_000.0


def _file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of files as one of octets."""

    def attempt(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return attempt


def targets(folder: Path) -> Iterator[Target]:
    """Every parser of files and words; ``folder`` takes what they are read from."""
    folder.mkdir(parents=True, exist_ok=True)
    yield from _configuration(folder)
    yield from _policy()
    yield from _words()
    archive = backup.Backup(
        kind="node", name="x", made_at=0, origin="", leaves=0, files={"audit.sqlite": (0, "")}
    )
    state = folder / "state"
    state.mkdir()
    (state / "audit.sqlite").touch()
    backup._write(folder / "seed.tar.gz", archive, {"audit.sqlite": state / "audit.sqlite"})
    part = erasure_pb2.ErasurePart(runs=[1, 2], types=b"\x01\x02")
    content = erasure_pb2.ErasureOrder(leaf_class="private", count=2, part_digests=[bytes(32)])
    order = erasure_pb2.SignedErasureOrder(order=signing.canonical(content), parts=[part])
    octets = signing.canonical(order)
    erased = signing.canonical(erasure_pb2.ErasedLeaves(order=octets, part=part))
    yield Target(name="erasure-order", seeds=[octets], attempt=read_order)
    yield Target(
        name="erased-leaves",
        seeds=[erased],
        attempt=lambda data: indexes_of(parse_detail(data)[1], 1_000_000),
    )
    keys = PeriodKeys.make().without(LeafClass.PRIVATE, [3])
    yield Target(name="period-keys", seeds=[keys.to_bytes()], attempt=PeriodKeys.parse)
    sealed = SealedUnder()
    sealed.put(2, (LeafClass.PRIVATE, 3))
    yield Target(name="sealed-under", seeds=[sealed.to_bytes()], attempt=SealedUnder.parse)
    yield Target(
        name="backup",
        seeds=[(folder / "seed.tar.gz").read_bytes()],
        attempt=_file(folder / "x.tar.gz", backup.inspect),
    )
    yield Target(
        name="evidence", seeds=[b'{"fairlead_receipt": 1}'],
        attempt=_file(folder / "evidence.json", load_evidence),
    )  # fmt: skip
    yield Target(
        name="acceptance",
        seeds=[
            b'{"schema": 1, "digest": "", "by": "", "accepted_at": 0, "rows": [], "sources": {}}'
        ],
        attempt=Acceptance.parse,
    )
    yield Target(
        name="control", seeds=[b'{"command": "pause", "reason": "X", "for_s": 1}'],
        attempt=parse_request,
    )  # fmt: skip
    for suffix in ("csv", "xlsx", "txt"):
        yield Target(
            name=f"terms-{suffix}",
            seeds=[b"term,scheme\nMSCU6639870,container\n"],
            attempt=_file(
                folder / f"terms.{suffix}",
                lambda path: read_terms(path, partial(recognise, aloud=False)),
            ),
        )


def _configuration(folder: Path) -> Iterator[Target]:
    examples = ROOT / "examples"
    for name, seed, read in (
        ("node-config", examples / "node_full.toml", lambda path: load(NodeConfig, path)),
        ("gateway-config", examples / "gateway_full.toml", lambda path: load(GatewayConfig, path)),
        ("profile", examples / "node_full.toml", lambda path: load(Profile, path)),
        ("mapping", examples / "mapping.toml", load_mapping),
        ("trust", examples / "node_full.toml", Trust.load),
    ):
        yield Target(
            name=name, seeds=[seed.read_bytes()], attempt=_file(folder / f"{name}.toml", read)
        )


def _policy() -> Iterator[Target]:
    policies = ROOT / "policies"
    files = {
        name: (policies / name).read_bytes() for name in ("data/agreements.yaml", "data/demo.yaml")
    }
    cubes = (policies / "cubes" / "registry.yaml").read_bytes()
    yield Target(
        name="agreements",
        seeds=[files["data/demo.yaml"]],
        attempt=lambda data: federation_data({**files, "data/demo.yaml": data}, cubes),
    )
    federation = federation_data(files, cubes)
    yield Target(
        name="local-agreements",
        seeds=[(policies / "data" / "local.example.yaml").read_bytes()],
        attempt=lambda data: local_data(federation, files, "local.yaml", data),
    )
    signed = release()
    yield Target(
        name="policy-manifest",
        seeds=[signed[MANIFEST], (policies / MANIFEST).read_bytes()],
        attempt=parse_manifest,
    )
    yield Target(
        name="policy-release",
        seeds=[signed[MANIFEST]],
        attempt=lambda data: verified({**signed, MANIFEST: data}),
    )
    yield Target(
        name="release-report",
        seeds=[b'{"schema": 1, "widenings": [{"id": "a", "justification": null}]}'],
        attempt=lambda data: check_justified(data, OFFICERS),
    )
    yield Target(
        name="officers",
        seeds=[f"x = {render_officers(OFFICERS)}".encode()],
        attempt=lambda data: parse_officers(_toml(data)),
    )

    folder = ROOT / "fairlead" / "reasons"
    yield Target(
        name="reasons",
        seeds=[b'[A]\ntext = "A."\n', (folder / "internal.toml").read_bytes()],
        attempt=lambda data: (reasons.entries(data), reasons.groups(data)),
    )

    def decided(data: bytes) -> None:
        for attempt in (
            lambda: read_decision(data, kind="admission", policy_serial=1, policy_id=""),
            lambda: read_candidates(data, kind="routing", policy_serial=1, policy_id=""),
            lambda: read_records(data, 1, policy_serial=1, policy_id=""),
        ):
            Target(name="", seeds=[], attempt=lambda _, a=attempt: a())(b"")  # type: ignore[misc]

    yield Target(
        name="decision",
        seeds=[b'{"effect": "deny", "checks": {}, "facets": [], "policy": ""}'],
        attempt=decided,
    )


def _toml(data: bytes) -> object:
    try:
        return tomllib.loads(data.decode()).get("x")
    except ValueError:
        return None


def _keyed(scheme: str, raw: str) -> None:
    """Canonical form, beside nothing and beside itself, and the keys of each."""
    normal = identifiers.normaliser(scheme)
    for value in (raw, normal(raw, "").value, normal(raw, raw).value):
        matching.held_keys(scheme, value)
        if len(set(matching.asked_keys(scheme, value))) != matching.keys_per_term(scheme):
            raise AssertionError("the number of keys tells something about the term")


def _words() -> Iterator[Target]:
    for scheme in identifiers.SCHEMES:
        yield Target(
            name=f"scheme-{scheme}",
            seeds=[b"MSCU6639870", b"NL:AB-12-CD", b"9074729", b"Jansen, Jan|1980-02-01"],
            attempt=text(partial(_keyed, scheme)),
        )

    def recognised(raw: str) -> None:
        identifiers.recognise(raw)
        identifiers.suggest(raw)

    yield Target(name="recognise", seeds=[b"MSCU6639870"], attempt=text(recognised))
    yield Target(name="event", seeds=[b"gate-in"], attempt=text(vocabulary.parse_event))
    yield Target(
        name="handling",
        seeds=[b"AMBER|AMBER|H0|A|1"],
        attempt=text(_handling),
    )
    yield Target(
        name="moment", seeds=[b"90d", b"2026-11-01T06:00Z"],
        attempt=text(lambda raw: (moment(raw, now=NOW), lasting(raw, now=NOW))),
    )  # fmt: skip


def _handling(raw: str) -> object:
    parts = (raw.split("|") + [""] * 5)[:5]
    return vocabulary.parse_handling(
        tlp=parts[0],
        pap=parts[1],
        europol=parts[2],
        source_grade=parts[3],
        information_grade=parts[4],
    )
