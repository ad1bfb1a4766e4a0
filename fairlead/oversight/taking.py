"""Taking the node's notices: opened, matched, and only then removed from the folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import signing
from fairlead.decoys import open_decoys
from fairlead.errors import FairleadError, Forged, Misconfigured
from fairlead.keyfile import private_folder
from fairlead.leaves import LeafWriter
from fairlead.notice import MAX_NOTICE, Asked, Delivered, FollowUps, Hit, Hits, Notice, open_notice
from fairlead.oversight.alert import Alert, Reason, identity
from fairlead.oversight.config import OversightConfig
from fairlead.oversight.register import Position, Register
from fairlead.sealing import SealingKey
from fairlead.telemetry import Event, get_logger
from fairlead.trust import Trust

SUBJECT = "oversight"
SILENT_S = 3 * 3_600
UNMATCHED_S = 3_600
"""How long an owner's decoys may come after the first hits in its snapshot were told."""
SWEEP_S = 60
"""How often it is looked for lists that never came, and forgotten what is over."""
MAX_QUARANTINED = 1_000
MAX_KEYS = 16
_NAME = re.compile(r"([0-9]{12})\.notice\Z")


def load_keys(folder: Path) -> list[SealingKey]:
    """The oversight's keys: ``oversight*.seed``, more than one while it is exchanged.

    :raises Misconfigured: none, too many, or one that others may read.
    """
    paths = sorted(folder.glob("oversight*.seed"))
    if not 0 < len(paths) <= MAX_KEYS:
        raise Misconfigured(
            "the folder holds no key of an oversight, or too many",
            reasons=("KEY_FILE",),
            remedy="fairlead-oversight init FOLDER …, or restore the key folder from its backup",
        )
    return [SealingKey.load(path) for path in paths]


@dataclass(slots=True, kw_only=True)
class Taking:
    """Takes notices into the register."""

    config: OversightConfig
    register: Register
    keys: list[SealingKey]
    leaves: LeafWriter
    clock: Callable[[], float]
    _gap: tuple[bytes, int, int] | None = field(default=None)
    _directory: tuple[int, int] | None = field(default=None)
    _swept_at: int = 0
    _trouble: dict[str, str] = field(default_factory=dict)

    def look(self) -> int:
        """Take what has come; how many notices.

        1. The directory says who may have signed; one that does not verify changes nobody.
        2. In the order of their names, each file is opened and its signature verified; what is no
           notice is moved away, and an alert.
        3. A number that is skipped must be missing at two looks before it is an alert: files
           appear one by one.
        4. One that comes again is removed; another under a number that was taken is an alert.
        5. What it says is matched, and durable with its number, before the file goes.
        6. Silence is an alert too, and so are hits whose owner's decoys never came.
        """
        now = int(self.clock())
        # 1
        self._learn_signers(now)
        # 2 to 5
        taken, gap = 0, self._gap
        self._gap = None
        for path in self._files():
            notice, digest = self._open(path, now)
            if notice is not None:
                if self._skips(notice, gap, now):
                    break
                taken += self._take(path, notice, digest, now)
        # 6
        self._miss(now)
        return taken

    # ── Files ────────────────────────────────────────────────────────────────────────────────

    def _files(self) -> list[Path]:
        """What waits, in the order of numbers; what is unfinished is the node's."""
        try:
            names = sorted(p for p in self.config.outbox.iterdir() if not p.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain(Event.OVERSIGHT_NOT_READ, "outbox", error)
            return []
        return names

    def _open(self, path: Path, now: int) -> tuple[Notice | None, bytes]:
        data = b""
        try:
            data = _read(path)
            named = _NAME.match(path.name)
            notice = open_notice(
                data,
                partner_id=self.config.partner,
                keys=self.keys,
                signers=self.register.signers(self.config.partner),
            )
            if named is None or int(named[1]) != notice.number:
                raise Forged("a notice has another's name", reasons=("NOTICE",))
        except OSError as error:
            self._complain(Event.OVERSIGHT_NOT_READ, "file", error)
            return None, b""
        except FairleadError:
            self._put_away(path, data, now)
            return None, b""
        return notice, signing.digest(data)

    def _put_away(self, path: Path, data: bytes, now: int) -> None:
        """What is no notice leaves the folder, and is an alert, once for each content."""
        content = signing.digest(data or path.name.encode("utf-8", "surrogateescape"))
        self._alert(
            Alert(
                reason=Reason.NOTICE_FORGED,
                identity=identity(Reason.NOTICE_FORGED, content),
                at=now,
            )
        )
        folder = private_folder(self.config.quarantine)
        with suppress(OSError):
            if sum(1 for _ in folder.iterdir()) >= MAX_QUARANTINED:
                path.unlink()
            else:
                _move(path, folder / content.hex())

    # ── Numbers ──────────────────────────────────────────────────────────────────────────────

    def _skips(self, notice: Notice, before: tuple[bytes, int, int] | None, now: int) -> bool:
        """Whether numbers are missing before a notice that may still come: look again."""
        position = self.register.position()
        if position is not None and position.series != notice.series:
            return False  # another series is an alert of its own, or was over
        last = position.number if position else 0
        if notice.number <= last + 1:
            return False
        gap = (notice.series, last, notice.number)
        if before != gap:
            self._gap = gap
            return True
        first = (last + 1).to_bytes(8, "big")
        self._alert(
            Alert(
                reason=Reason.NOTICES_MISSING,
                identity=identity(Reason.NOTICES_MISSING, notice.series, first),
                at=now,
                count=notice.number - last - 1,
            )
        )
        return False

    def _take(self, path: Path, notice: Notice, digest: bytes, now: int) -> int:
        series, number = notice.series, notice.number
        taken = self.register.taken(series, number)
        if taken is not None and taken != digest:
            self._put_away(path, digest, now)
            return 0
        if taken is None:
            position = self.register.position()
            newest = position is None or (position.series == series and position.number < number)
            if position is not None and not self.register.known_series(series):
                newest = True
                self._alert(
                    Alert(
                        reason=Reason.NOTICES_BEGUN_ANEW,
                        identity=identity(Reason.NOTICES_BEGUN_ANEW, series),
                        at=now,
                    )
                )
            with self.register.change():
                raised = self._said(notice, now)
                self.register.take(series, number, digest, now)
                if newest:
                    self.register.advance(Position(series=series, number=number, at=now))
            for alert in raised:
                self._shout(alert)
        try:
            path.unlink()
        except OSError as error:  # it is taken, and known when it is met again
            self._complain(Event.OVERSIGHT_NOT_READ, "remove", error)
        return int(taken is None)

    # ── What a notice says ───────────────────────────────────────────────────────────────────

    def _said(self, notice: Notice, now: int) -> list[Alert]:
        """Within a transaction; the alerts that are new."""
        content = notice.content
        if isinstance(content, Hits):
            found = [hit for hit in content.hits if self.register.told(hit, content.asked, now)]
            alerts = [_hit(hit, content.asked) for hit in found]
        elif isinstance(content, FollowUps):
            alerts = [
                _followed(item.asked, decoy, self.config.partner)
                for item in content.found
                for decoy in item.decoys
            ]
        else:
            alerts = self._delivered(content, now)
        return [alert for alert in alerts if self._raise(alert)]

    def _delivered(self, content: Delivered, now: int) -> list[Alert]:
        try:
            found = open_decoys(
                content.sealed,
                owner=content.owner,
                manifest=content.manifest,
                reader=self.config.partner,
                keys=self.keys,
                signers=self.register.signers(content.owner),
            )
        except Forged:
            reason = Reason.NOTICE_FORGED
            about = identity(reason, content.owner.encode(), content.manifest)
            return [Alert(reason=reason, identity=about, at=now, owner=content.owner)]
        before = self.register.learn(content.owner, content.manifest, found)
        return [_hit(hit, asked) for hit, asked in before]

    def _miss(self, now: int) -> None:
        position = self.register.position()
        if position is not None and now - position.at >= SILENT_S:
            reason, since = Reason.NOTICES_SILENT, position.number.to_bytes(8, "big")
            about = identity(reason, position.series, since)
            self._alert(Alert(reason=reason, identity=about, at=position.at))
        if now - self._swept_at < SWEEP_S:
            return
        self._swept_at = now
        for owner, manifest in self.register.unmatched(now - UNMATCHED_S):
            reason = Reason.DECOYS_MISSING
            about = identity(reason, owner.encode(), manifest)
            self._alert(Alert(reason=reason, identity=about, at=now, owner=owner))
        with self.register.change():
            self.register.forget(now)

    # ── Alerts ───────────────────────────────────────────────────────────────────────────────

    def _alert(self, alert: Alert) -> None:
        with self.register.change():
            raised = self._raise(alert)
        if raised:
            self._shout(alert)

    def _raise(self, alert: Alert) -> bool:
        user = f"partner/{alert.partner}/user/{alert.user}" if alert.user else ""
        leaf = self.leaves.alarm(
            [alert.reason],
            subject=SUBJECT,
            user=f"spiffe://{self.config.federation}/{user}" if user else "",
            partner_id=alert.owner or alert.partner,
            query_id=alert.query_id,
        )
        return self.register.enter(alert, leaf, int(self.clock()))

    def _shout(self, alert: Alert) -> None:
        get_logger().error(
            Event.OVERSIGHT_ALERT,
            code=alert.reason.value,
            owner=alert.owner or None,
            partner=alert.partner or None,
            user=alert.user or None,
            purpose=alert.purpose or None,
            query_id=alert.query_id or None,
            case_commitment=alert.case_commitment or None,
        )

    def _complain(self, event: Event, what: str, error: Exception) -> None:
        """A line in the operator's log when something begins to fail, not every two seconds."""
        if self._trouble.get(what) != type(error).__name__:
            self._trouble[what] = type(error).__name__
            get_logger().error(event, error=error)

    # ── Who signs ────────────────────────────────────────────────────────────────────────────

    def _learn_signers(self, now: int) -> None:
        """Read the directory when its file is another; one that does not verify changes nothing:
        whoever signed until now may go on."""
        try:
            state = self.config.directory.stat()
            seen = (state.st_mtime_ns, state.st_ino)
            if seen == self._directory:
                return
            directory = Trust.load(self.config.trust).directory(self.config.directory, now=now)
        except (OSError, FairleadError) as error:
            self._complain(Event.MEMBERSHIP_PROBLEM, "directory", error)
            return
        self._trouble.pop("directory", None)
        self._directory = seen
        with self.register.change():
            keys = [(p.partner_id, p.signing_key) for p in directory.partners.values()]
            self.register.sign(keys, now)


def _hit(hit: Hit, asked: Asked) -> Alert:
    reason = Reason.DECOY_HIT
    return Alert(
        reason=reason,
        identity=identity(reason, asked.query_id, hit.owner.encode(), hit.ref),
        at=asked.at,
        owner=hit.owner,
        partner=asked.partner,
        user=asked.user,
        purpose=asked.purpose,
        query_id=asked.query_id,
        case_commitment=asked.case_commitment,
    )


def _followed(asked: Asked, decoy: bytes, owner: str) -> Alert:
    reason = Reason.DECOY_FOLLOWED
    return Alert(
        reason=reason,
        identity=identity(reason, asked.partner.encode(), asked.query_id, decoy),
        at=asked.at,
        owner=owner,
        partner=asked.partner,
        user=asked.user,
        purpose=asked.purpose,
        query_id=asked.query_id,
        case_commitment=asked.case_commitment,
        decoy=decoy.hex(),
    )


def _move(path: Path, place: Path) -> None:
    """Put a file elsewhere; over to another file system no more than a notice has."""
    try:
        path.rename(place)
    except OSError:
        with suppress(OSError, Forged):
            place.write_bytes(_read(path))
        path.unlink()


def _read(path: Path) -> bytes:
    """At most one octet more than a notice has; of a link or a device nothing."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise Forged("a file of notices is none", reasons=("NOTICE",))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_NOTICE + 1)
