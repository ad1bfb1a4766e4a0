"""Backup and restore of one process's state, and the refusal to travel back in time.

An archive is a gzipped tar of the state folder: every SQLite file as a consistent copy taken
beside the running process (SQLite's online backup), every other small file as it is, and a
manifest with sizes and SHA-256 digests. Left out: the index (it is rebuilt from its sources),
what is published for blind queries with the seeds behind it (an old seed in a backup would open
what its epoch kept closed), the key of what watches look up again, the mark by which a witness
knows that it lost nothing, what was said about figures, locks and sockets. Private keys of the
identity are not in it: they are kept in ``keys_dir``, which is backed up once, offline. The archive
holds secrets all the same (the keys of answers and of the index), so it is written with mode 0600.

Bodies and details of the log's leaves are sealed in it, under the key of their class and month:
once a period is over and erased, no archive tells what it held (docs/adr/0037).

An audit log that comes back shorter contradicts what others have seen of it. Owners then refuse
its receipts, and are right; so a restore refuses to replace a log by an older one.
"""

from __future__ import annotations

import fcntl
import glob
import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from fairlead import storage
from fairlead.errors import Conflict, Forged, InvalidInput, Misconfigured

SCHEMA = 1
MANIFEST = "manifest.json"
LOG = "audit.sqlite"
EXCLUDED = frozenset(
    {
        "index.sqlite",
        "index.sqlite.stage",
        "control.sock",
        "watches.secret",
        "witness.mark",
        "figures.sqlite",  # an older copy would have forgotten what was said
        "reconciling.sqlite",  # derived from the log, and made anew from it
    }
)
EXCLUDED_FOLDERS = frozenset({"blind", "oversight", "snapshots", "retention"})
"""Folders of the state that no archive holds; of the last the jobs would be done again."""
SCRATCH, SCRATCH_LOCK = ".backup-", ".backup.lock"
EXCLUDED_SUFFIXES = (".lock", "-wal", "-shm", "-journal", ".sock", ".new")
MAX_FILES = 4096
MAX_MANIFEST = 1024 * 1024
MAX_FILE = 64 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What an archive says of itself. ``leaves`` is the size of its audit log."""

    kind: str
    name: str
    made_at: int
    origin: str
    leaves: int
    files: dict[str, tuple[int, str]]

    def as_record(self) -> dict[str, object]:
        """For printing."""
        return {
            "kind": self.kind,
            "name": self.name,
            "log": self.origin,
            "leaves": self.leaves,
            "files": len(self.files),
            "octets": sum(size for size, _ in self.files.values()),
        }


def _as_it_is(_copy: Path) -> None:
    """Leaves a copy of a log as it is."""


def take(
    state: Path,
    target: Path,
    *,
    kind: str,
    name: str,
    now: float,
    seal: Callable[[Path], None] = _as_it_is,
) -> Backup:
    """Write an archive of ``state`` to ``target`` (0600), also while the process serves.

    :param kind: ``gateway`` or ``node``; :param name: its id.
    :param seal: given the copy of the audit log before it goes into the archive.
    :raises Misconfigured: NO_STATE, or BACKUP_UNWRITABLE. :raises Conflict: BACKUP_EXISTS.
    """
    if not (state / LOG).is_file():
        raise Misconfigured(
            "there is no audit log to back up",
            reasons=("NO_STATE",),
            remedy="correct state_dir in the configuration (config show --config FILE)",
        )
    if target.exists():
        raise Conflict(
            "the backup's file exists already",
            reasons=("BACKUP_EXISTS",),
            remedy="name another file: an older backup may be all you have",
        )
    with _scratch(state) as scratch:
        files = dict(_copies(state, scratch))
        seal(files[LOG])
        origin, leaves = log_size(files[LOG])
        made = Backup(
            kind=kind,
            name=name,
            made_at=int(now),
            origin=origin,
            leaves=leaves,
            files={n: (p.stat().st_size, _digest(p)) for n, p in sorted(files.items())},
        )
        _write(target, made, files)
    return made


def sweep(state: Path) -> None:
    """Remove what backups left behind that were killed: copies of the log, not sealed yet. While a
    backup is being taken, nothing is.

    :raises Misconfigured: BACKUP_UNWRITABLE.
    """
    try:
        lock = os.open(state / SCRATCH_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise _unwritable() from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        for path in state.glob(f"{SCRATCH}*"):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


@contextmanager
def _scratch(state: Path) -> Iterator[Path]:
    """A folder for copies that nobody sweeps away meanwhile."""
    sweep(state)
    lock = os.open(state / SCRATCH_LOCK, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with TemporaryDirectory(dir=state, prefix=SCRATCH) as folder:
            yield Path(folder)
    finally:
        os.close(lock)


def _write(target: Path, made: Backup, files: dict[str, Path]) -> None:
    unfinished = target.with_name(target.name + ".new")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with (
            os.fdopen(descriptor, "wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w") as archive,
        ):
            document = json.dumps({"schema": SCHEMA, **_plain(made)}, indent=1).encode()
            _add(archive, MANIFEST, len(document), io.BytesIO(document))
            for name, path in sorted(files.items()):
                with path.open("rb") as file:
                    _add(archive, name, path.stat().st_size, file)
        _sync(unfinished)
        unfinished.replace(target)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise _unwritable() from None


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    archive.addfile(member, content)


def _copies(state: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Relative name → a file that no longer changes."""
    for path in sorted(state.rglob("*")):
        name = path.relative_to(state).as_posix()
        excluded = path.name in EXCLUDED or path.name.endswith(EXCLUDED_SUFFIXES)
        excluded = excluded or name.split("/")[0] in EXCLUDED_FOLDERS
        if excluded or name.startswith(SCRATCH) or path.is_symlink() or not path.is_file():
            continue
        if path.suffix != ".sqlite":
            yield name, path
            continue
        copy = scratch / hashlib.sha256(name.encode()).hexdigest()
        try:
            with closing(storage.open_readonly(path)) as source, closing(_new(copy)) as target:
                source.backup(target)
        except sqlite3.Error:
            raise storage.unusable() from None
        yield name, copy


def _new(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return sqlite3.connect(path, isolation_level=None)


def log_size(path: Path) -> tuple[str, int]:
    """Origin and size of an audit log's file; its last checkpoint says both.

    :raises Misconfigured: DATABASE_UNUSABLE.
    """
    with closing(storage.open_readonly(path)) as log:
        try:
            (size,) = log.execute("SELECT count(*) FROM leaf").fetchone()
            row = log.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        except sqlite3.Error:
            raise storage.unusable() from None
    return (str(row[0]).split("\n", 1)[0] if row else ""), int(size)


# ── Restore ──────────────────────────────────────────────────────────────────────────────────


def inspect(source: Path) -> Backup:
    """Read an archive's manifest.

    :raises InvalidInput: BACKUP_UNREADABLE: no archive of ours, or a limit is broken.
    """
    with _opened(source) as archive:
        return _manifest(archive)


def restore(
    source: Path,
    state: Path,
    *,
    kind: str,
    name: str,
    now: float,
    unseal: Callable[[Path], None] = _as_it_is,
) -> Backup:
    """Put an archive in the place of ``state``; what was there is kept beside it.

    1. The archive is one of this kind and name.
    2. Every file is the one the manifest lists: same names, sizes and digests; then its log is
       opened.
    3. The process is stopped (its log is not locked).
    4. Its log is not shorter than the one it would replace, and of the same origin.
    5. The folders change places; the old one stays as ``<state>.before-<time>``.

    :raises InvalidInput: BACKUP_UNREADABLE or BACKUP_OTHER. :raises Forged: BACKUP_CHANGED.
    :raises Misconfigured: DATABASE_IN_USE. :raises Conflict: BACKUP_OLDER.
    """
    # 1
    found = inspect(source)
    if (found.kind, found.name) != (kind, name):
        raise InvalidInput(
            "the backup is another process's",
            reasons=("BACKUP_OTHER",),
            remedy="name the configuration of the process that the backup was taken of",
        )
    fresh = state.with_name(f"{state.name}.restoring")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        # 2
        _unpack(source, fresh, found)
        unseal(fresh / LOG)
        # 3 and 4
        if (state / LOG).exists():
            _check_newer(state / LOG, fresh / LOG)
        # 5
        if state.exists():
            state.rename(state.with_name(f"{state.name}.before-{int(now)}"))
        fresh.rename(state)
    except OSError:
        raise Misconfigured(
            "the state cannot be restored",
            reasons=("RESTORE_UNWRITABLE",),
            remedy="check the permissions of the folder and the free space (df -h)",
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return found


def replaced(state: Path) -> list[Path]:
    """What restores put aside, the oldest first. It is as it was: not sealed, never erased."""
    return sorted(state.parent.glob(f"{glob.escape(state.name)}.before-*"))


def _check_newer(present: Path, restored: Path) -> None:
    storage.open_database(present, (), scope="backup").close()  # nobody else holds it
    origin, size = log_size(present)
    other, leaves = log_size(restored)
    if origin and (origin != other or leaves < size):
        raise Conflict(
            "the backup's audit log is older than the one in place, or another log's; whoever "
            "saw the newer one would refuse everything this process says",
            reasons=("BACKUP_OLDER",),
            remedy="keep the state in place and start it; if its log is damaged, tell the other "
            "operators before you move it away and restore",
        )


def _unpack(source: Path, fresh: Path, found: Backup) -> None:
    left = dict(found.files)
    fresh.mkdir(mode=0o700, parents=True)
    with _opened(source) as archive:
        for member in archive:
            if member.name == MANIFEST:
                continue
            expected = left.pop(member.name, None)
            content = archive.extractfile(member) if member.isreg() else None
            if expected is None or content is None or member.size != expected[0]:
                raise _changed()
            path = fresh / member.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
            if _digest(path) != expected[1]:
                raise _changed()
    if left:
        raise _changed()


_HOSTILE: tuple[type[Exception], ...] = (
    *(tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError),
    *(KeyError, TypeError, AttributeError, RecursionError, OSError),
)
"""What reading a hostile archive may raise."""


class _Archive:
    """A tar stream whose every failure is one error of ours."""

    def __init__(self, source: Path) -> None:
        try:
            self._tar = tarfile.open(source, mode="r|gz")  # noqa: SIM115  closed by __exit__
        except _HOSTILE:
            raise _unreadable() from None

    def __enter__(self) -> tarfile.TarFile:
        return self._tar

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._tar.close()
        if isinstance(error, _HOSTILE):
            raise _unreadable() from None


def _opened(source: Path) -> _Archive:
    if not source.is_file():
        raise _unreadable()
    return _Archive(source)


def _manifest(archive: tarfile.TarFile) -> Backup:
    first = archive.next()
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > MAX_MANIFEST:
        raise _unreadable()
    content = archive.extractfile(first)
    document: Any = json.loads(content.read() if content else b"")
    if document["schema"] != SCHEMA or not 0 < len(document["files"]) <= MAX_FILES:
        raise _unreadable()
    files = {_safe(n): (int(size), str(digest)) for n, (size, digest) in document["files"].items()}
    if LOG not in files or any(not 0 <= size <= MAX_FILE for size, _ in files.values()):
        raise _unreadable()
    return Backup(
        kind=str(document["kind"]),
        name=str(document["name"]),
        made_at=int(document["made_at"]),
        origin=str(document["origin"]),
        leaves=int(document["leaves"]),
        files=files,
    )


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    plain = not path.is_absolute() and path.parts and path.as_posix() == name
    if not plain or {"..", "."} & set(path.parts) or "\0" in name or "\\" in name:
        raise _unreadable()
    return name


def _plain(made: Backup) -> dict[str, object]:
    return {field: getattr(made, field) for field in made.__slots__}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable() -> Misconfigured:
    return Misconfigured(
        "the backup cannot be written",
        reasons=("BACKUP_UNWRITABLE",),
        remedy="check the folder, its permissions and the free space (df -h)",
    )


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "this is no backup made by this program",
        reasons=("BACKUP_UNREADABLE",),
        remedy="name a file that the command backup wrote",
    )


def _changed() -> Forged:
    return Forged(
        "the backup's content is not what its manifest lists",
        reasons=("BACKUP_CHANGED",),
        remedy="use another copy of this backup, or an older one, and find out who changed it",
    )
