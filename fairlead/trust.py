"""What a participant trusts before it has heard anybody: operators, roots, policy officers.

Compared out of band at enrolment and kept in one small TOML file::

    federation = "fairlead.demo"
    operators = ["<Ed25519 key, hex>", …]
    policy_officers = [
      { key = "<Ed25519 key, hex>", person = "u-so1", organisation = "customs" },
    ]
    [partners]
    customs = "<SHA-256 of its root key, hex>"
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from fairlead import signing
from fairlead.errors import FairleadError, Forged, InvalidInput, Misconfigured
from fairlead.keyfile import write_private
from fairlead.names import check_partner_id
from fairlead.officers import Officer, parse_officers, render_officers
from fairlead.partners import DenyLists, Directories, Directory
from fairlead.v1 import directory_pb2

_REMEDY = "make certs   (development), or compare the fingerprints with your operators again"
_KEYS = {"federation", "operators", "policy_officers", "partners"}
MAX_FILE = 16 * 1024 * 1024
RELOAD_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Raw Ed25519 keys of operators, the policy officers, and pinned root fingerprints."""

    federation: str
    operators: tuple[bytes, ...]
    policy_officers: tuple[Officer, ...]
    roots: Mapping[str, bytes]

    @classmethod
    def load(cls, path: Path) -> Trust:
        """Read a trust file.

        :raises Misconfigured: missing, not TOML, unknown keys, or a key that is not 32 octets.
        """
        return cls.parse(read_trusted(path))

    @classmethod
    def parse(cls, data: bytes) -> Trust:
        """Read the octets of a trust file.

        :raises Misconfigured: TRUST_FILE.
        """
        try:
            content = tomllib.loads(data.decode())
            if set(content) != _KEYS:
                raise ValueError
            return cls(
                federation=str(content["federation"]),
                operators=tuple(_octets(item) for item in content["operators"]),
                policy_officers=parse_officers(content["policy_officers"]),
                roots=MappingProxyType(
                    {check_partner_id(p): _octets(pin) for p, pin in content["partners"].items()}
                ),
            )
        except (ValueError, TypeError, AttributeError, RecursionError, InvalidInput):
            raise Misconfigured(
                "the trust anchors cannot be read", reasons=("TRUST_FILE",), remedy=_REMEDY
            ) from None

    def with_root(self, partner_id: str, fingerprint: bytes) -> Trust:
        """The same anchors with one more partner's root."""
        return replace(self, roots=MappingProxyType({**self.roots, partner_id: fingerprint}))

    def render(self) -> bytes:
        """The file's octets; :meth:`parse` reads them back."""
        lines = [
            f"federation = {json.dumps(self.federation)}",
            f"operators = {json.dumps([key.hex() for key in self.operators])}",
            f"policy_officers = {render_officers(self.policy_officers)}",
            "",
            "[partners]",
            *(f'{partner} = "{pin.hex()}"' for partner, pin in sorted(self.roots.items())),
        ]
        return ("\n".join(lines) + "\n").encode()

    def save(self, path: Path) -> None:
        """Put the anchors in place of ``path`` in one step."""
        write_private(path, self.render())

    def directory(self, path: Path, *, now: float, previous: Directory | None = None) -> Directory:
        """Load and verify a signed directory file; see :meth:`Directory.from_signed`.

        :raises Forged: also when it is another federation's.
        """
        return self.verify(read_trusted(path), now=now, previous=previous)

    def former(self, path: Path) -> list[Directory]:
        """The directories before the one in ``path``, as a process keeps them beside it, newest
        first; what does not verify, at the time it was issued, is left out.
        """
        found = []
        for file in path.parent.glob(f"{path.stem}-*{path.suffix}"):
            with contextlib.suppress(FairleadError):
                data = read_trusted(file)
                signed = signing.parse_canonical(directory_pb2.SignedDirectory, data)
                content = signing.parse_canonical(directory_pb2.Directory, signed.directory)
                found.append(self.verify(data, now=content.issued_at))
        return sorted(found, key=lambda directory: directory.serial, reverse=True)

    def verify(self, data: bytes, *, now: float, previous: Directory | None = None) -> Directory:
        """Verify a signed directory as transmitted; see :meth:`Directory.from_signed`.

        :raises Forged: also when it is another federation's.
        """
        found = Directory.from_signed(
            data, operators=self.operators, pins=self.roots, now=now, previous=previous
        )
        if found.federation != self.federation:
            raise Forged("the directory is another federation's", reasons=("FEDERATION",))
        return found


def former_path(path: Path, serial: int) -> Path:
    """Where a superseded directory is kept beside the one in ``path``."""
    return path.with_name(f"{path.stem}-{serial}{path.suffix}")


def add_pin(
    path: Path, partner_id: str, fingerprint: bytes, directory: Path, *, now: float
) -> None:
    """Add a root to a trust file in one step, once the directory verifies with it.

    :param fingerprint: SHA-256 of the root key, compared out of band.
    :raises FairleadError: the directory does not verify with it; nothing was written.
    """
    before = Trust.load(path)
    roots = MappingProxyType({**before.roots, check_partner_id(partner_id): fingerprint})
    wanted = replace(before, roots=roots)
    wanted.directory(directory, now=now)
    lines = read_trusted(path).decode().splitlines()
    heads = [i for i, line in enumerate(lines) if line.strip() == "[partners]"]
    lines.insert(heads[-1] + 1 if heads else 0, f'{partner_id} = "{fingerprint.hex()}"')
    fresh = path.with_name(f"{path.name}.new")
    write_private(fresh, ("\n".join(lines) + "\n").encode())
    if Trust.load(fresh) != wanted:
        fresh.unlink()
        raise Misconfigured(
            "the pins file cannot be edited by this command",
            reasons=("TRUST_FILE",),
            remedy=f'add the line   {partner_id} = "{fingerprint.hex()}"   under [partners]',
        )
    fresh.replace(path)


class DenyListFile(DenyLists):
    """Deny lists kept in a file; a changed file takes effect within a second, on open
    connections too. A file that cannot be verified changes nothing and is tried again."""

    def __init__(
        self,
        path: Path,
        trust: Trust,
        directory: Directories,
        clock: Callable[[], float],
        *,
        on_problem: Callable[[FairleadError], None] | None = None,
    ) -> None:
        super().__init__()
        self._path = path
        self._trust = trust
        self._directory = directory
        self._clock = clock
        self._on_problem = on_problem
        self.on_update: Callable[[], None] = lambda: None
        """Called after newer lists were taken over."""
        self._looked = clock()
        self._stamp: tuple[int, int, int] | None = None
        self._told: tuple[str, ...] = ()
        self._reload()

    def check(self, spiffe_id: str, now: float) -> None:
        """See :meth:`DenyLists.check`; looks at the file at most once a second."""
        if abs(now - self._looked) >= RELOAD_S:
            self._looked = now
            self.look()
        super().check(spiffe_id, now)

    def look(self) -> None:
        """Look at the file now; a problem is reported once, and what it concerns stays as it is."""
        try:
            self._reload()
            self._told = ()
        except FairleadError as error:
            told, self._told = self._told, error.reasons
            if self._on_problem is not None and told != error.reasons:
                self._on_problem(error)

    def forget(self) -> None:
        """Read the file again at the next look: other issuers may be known by now."""
        self._stamp = None

    def take(self, data: bytes) -> bool:
        """Take over newer lists that came another way than the file; see :meth:`update`.

        :returns: whether any was newer.
        """
        changed = self.update(
            data,
            directory=self._directory.current,
            operators=self._trust.operators,
            now=self._clock(),
        )
        if changed:
            self.on_update()
            self._report()
        return changed

    def _report(self) -> None:
        if self.refused is not None and self._on_problem is not None:
            self._on_problem(self.refused)

    def store(self) -> None:
        """Put every list held into the file, beside those in it whose issuers are unknown here.

        :raises OSError: it cannot be written.
        """
        held = self.bundle()
        known = signing.parse_canonical(directory_pb2.DenyListBundle, held)
        issuers = {_issuer(item) for item in known.lists}
        with contextlib.suppress(FairleadError):
            there = read_trusted(self._path)
            for item in signing.parse_canonical(directory_pb2.DenyListBundle, there).lists:
                if _issuer(item) not in issuers:
                    known.lists.append(item)
        write_private(self._path, signing.canonical(known))

    def _reload(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            raise Misconfigured(
                "the deny lists cannot be read", reasons=("DENY_LISTS",), remedy=_REMEDY
            ) from None
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            # A file that cannot be verified is tried again, because it may be half written, or
            # ahead of the directory.
            self.update(
                read_trusted(self._path),
                directory=self._directory.current,
                operators=self._trust.operators,
                now=self._clock(),
            )
            self._stamp = stamp
            self.on_update()
            self._report()


def _issuer(item: directory_pb2.SignedDenyList) -> str:
    return signing.parse_canonical(directory_pb2.DenyList, item.deny_list).issuer


def _octets(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != 32:
        raise ValueError
    return value


def read_trusted(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError:
        raise Misconfigured(
            "a file named in the configuration is missing or unreadable",
            reasons=("FILE",),
            remedy=_REMEDY,
        ) from None
    if len(data) > MAX_FILE:
        raise Misconfigured("a file is larger than allowed", reasons=("FILE",))
    return data
