"""What the owner holds in its hands, of a node that runs or of its files at rest."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fairlead import process
from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.cubes.registry import Registry
from fairlead.decisions import Once, open_recorder
from fairlead.disclosure.rules import Rules
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.policy.live import LivePolicy
from fairlead.policy.recorded import Recorder
from fairlead.release import ReleaseDesk
from node import snapshots
from node.counting import Today
from node.decoys import DecoyBook
from node.exposure import acceptance
from node.exposure.gate import ExposureGate
from node.exposure.source import source_facts
from node.feedback import FeedbackBook
from node.figures import Figures
from node.figures.mapped_config import MappedSources
from node.history import DAY_S
from node.index import Index
from node.indexing import INDEX_FILE, LOG_FILE, index_keys
from node.opening import (
    MIGRATIONS,
    cubes_of,
    log_origin,
    no_index,
    open_index,
    open_vault,
    own_keys,
    own_node,
    register_key,
    words_of,
)
from node.origins import figures_of
from node.owncells import OwnCells
from node.owner import Owner
from node.pausing import Pause
from node.previewing import Previewing
from node.publication import shelf
from node.publication.decoying import Decoying
from node.publication.epochs import Epochs
from node.publication.folder import NAME as BLIND_FOLDER
from node.publication.folder import Folder
from node.publication.publisher import Publisher
from node.publication.publishing import Publishing
from node.publication.seeds import SeedFile
from node.register import Register, RegisterDesk
from node.sources.mapping import load_mapping
from node.status import Status
from node.steering import Steering
from node.vault import Vault


def steering_of(
    config: NodeConfig,
    member: Membership,
    *,
    keys: KeyRing,
    log: AuditLog,
    leaves: LeafWriter,
    policy: LivePolicy,
    desk: ReleaseDesk,
    index: Index | None,
    book: FeedbackBook,
    clock: Callable[[], float],
) -> Steering:
    """What the owner holds in its hands, over the parts that answer.

    :param book: feedback, as the node keeps it.
    """
    gate = ExposureGate()
    gate.accept(acceptance.stored(log))
    pause = Pause(log, leaves, desk, clock=clock)
    owner = Owner(
        partner_id=config.partner,
        directory=lambda: member.directory.current,
        policy=lambda: policy.imagined,
        sources=lambda: [source_facts(load_mapping(path)) for path in config.sources],
        log=log,
        leaves=leaves,
        gate=gate,
        clock=clock,
    )

    def cubes() -> Registry:
        return cubes_of(policy.imagined)

    def indexed() -> Index:
        return index if index is not None else open_index(config)

    decoying = _decoying(config, keys, owner)
    register = Register(log, leaves, key=register_key(config), clock=clock)
    mapped = MappedSources(config.statistics, environ=os.environ)
    figures = _figures(config, owner, register, book, mapped)
    return Steering(
        look=member.look,
        owner=owner,
        pause=pause,
        decoying=decoying,
        register=RegisterDesk(register=register, registry=cubes, clock=clock),
        mapped=mapped,
        own_cells=OwnCells(
            figures=figures,
            registry=cubes,
            partners=lambda: len(owner.directory().partners),
            rules=Rules(),
            clock=clock,
        ),
        previewing=Previewing(
            owner=config.partner,
            directory=owner.directory,
            policy=owner.policy,
            index=indexed,
            gate=gate,
            log=log,
            leaves=leaves,
            clock=clock,
        ),
        publishing=Publishing(
            _publisher(config, keys, owner, decoying.book, lambda: indexed().root, policy.recorder)
        ),
        status=Status(
            partner=config.partner,
            owner=owner,
            pause=pause,
            index=lambda: index,
            deny_lists=member.deny_lists,
            certificate=config.keys_dir / "tls.pem",
            running=False,
            today=Today(log, config.partner, clock),
        ),
        snapshots=_held(log, clock),
    )


def _figures(
    config: NodeConfig,
    owner: Owner,
    register: Register,
    book: FeedbackBook,
    mapped: MappedSources,
) -> Figures:
    """What this node can state of any cube. Feedback is deleted when the policy keeps no answer so
    long, so coverage of before then is not known any more."""

    def kept_since() -> float:
        return owner.clock() - words_of(owner.policy()).retention_days * DAY_S

    return figures_of(
        partner=config.partner,
        kind=lambda: owner.directory().partner(config.partner).kind,
        log=owner.log,
        register=register,
        book=book,
        kept_since=kept_since,
        clock=owner.clock,
        source=mapped,
        mapped=mapped.maps,
    )


def _decoying(config: NodeConfig, keys: KeyRing, owner: Owner) -> Decoying:
    """Who keeps decoys."""

    def path() -> Path:
        path = config.state_dir / INDEX_FILE
        if not path.exists():
            raise no_index()
        return path

    of_index = index_keys(config)
    book = DecoyBook(
        owner.log,
        owner.leaves,
        keys=of_index,
        kept_s=config.blind_epoch_s + config.blind_overlap_s,
        clock=owner.clock,
    )
    return Decoying(
        book=book,
        index=path,
        keys=of_index,
        owner=lambda: owner.directory().partner(config.partner),
        sign=keys.signing,
    )


def _held(log: AuditLog, clock: Callable[[], float]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """What a node at rest holds of others' publications; nobody confirms it."""

    async def report() -> dict[str, Any]:
        now = clock()
        held = snapshots.HeldShelf(log).manifests(now)
        rows = [snapshots.report_row(item, now=now, confirmed_at=None) for item in held]
        return {"snapshots": rows, "waiting": 0}

    return report


def _publisher(
    config: NodeConfig,
    keys: KeyRing,
    owner: Owner,
    decoys: DecoyBook,
    root: Callable[[], bytes],
    recorder: Recorder | None,
) -> Publisher:
    """Who publishes for blind queries."""

    def node() -> str:
        directory = owner.directory()
        named = own_node(config, directory.partner(config.partner))
        return named.removeprefix(f"spiffe://{directory.federation}/")

    epochs = Epochs(length_s=config.blind_epoch_s, overlap_s=config.blind_overlap_s)
    return Publisher(
        config=config,
        node=node,
        keys=keys,
        owner=owner,
        root=root,
        epochs=epochs,
        seeds=SeedFile(config.state_dir / BLIND_FOLDER, epochs),
        shelf=shelf.Shelf(owner.log),
        folder=Folder(config.state_dir),
        decoys=decoys,
        recorder=None if recorder is None else Once(recorder, owner.clock),
    )


@asynccontextmanager
async def at_rest(
    config: NodeConfig, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Steering]:
    """The owner's acts on the files of a node that does not run; its log is locked meanwhile.

    :raises FairleadError: configuration, membership or policy do not verify, or the node runs.
    """
    member = process.join(config, clock)
    partner, keys = own_keys(config, member)
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(member.directory.current, config.partner),
        key=keys.signing(partner.signing_key),
        former=keys.signing_keys(),
        clock=clock,
        migrations=MIGRATIONS,
    )
    index = open_index(config) if (config.state_dir / INDEX_FILE).exists() else None
    vault: Vault | None = None
    try:
        vault = open_vault(config)
        leaves = LeafWriter(log=f"partner/{config.partner}", clock=clock)
        policy = process.load_policy(
            config, member.trust, now=clock(), minimum_serial=process.active_serial(log, "policy")
        )
        live = LivePolicy(policy)
        live.record_by(open_recorder(log, leaves, replay_key=config.replay_key, clock=clock))
        yield steering_of(
            config,
            member,
            keys=keys,
            log=log,
            leaves=leaves,
            policy=live,
            desk=ReleaseDesk(log, leaves, tick_s=0),
            index=index,
            book=FeedbackBook(vault),
            clock=clock,
        )
    finally:
        await asyncio.to_thread(log.close)
        if vault is not None:
            vault.close()
        if index is not None:
            index.close()
