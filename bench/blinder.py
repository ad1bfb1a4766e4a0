"""Our side of the blind benchmark: owner and asker, as the product computes them, in one process.

``python -m bench.blinder FOLDER`` says ``ready``, then obeys one JSON object a line. The index is
built by a pool of further processes, padded as a publication is, and written and verified by
:mod:`fairlead.snapshot`. While anything is measured, one multiplication in a hundred
is made for its own sake by the same process: their CPU time is M, the unit, and is in no figure.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from fairlead import blinding, ristretto
from fairlead.entries import ENTRY_SIZE, EntryCodec, pack_payload
from fairlead.identifiers import NORM_VERSION
from fairlead.snapshot import Snapshot, padded_count, write_snapshot
from fairlead.vocabulary import (
    Europol,
    Event,
    Handling,
    InformationGrade,
    Pap,
    RecordType,
    SourceGrade,
    Tlp,
)

OWNER, NODE, SCHEME = "terminal-north", "partner/terminal-north/node/main", "container"
AUDIENCE = bytes(range(32))
CHUNK = 2000
"""Records that a process of the pool takes at once."""
ASIDE = 100
"""One multiplication on its own for so many elements."""
SINGLES = 200
BUCKETS = 256

_HANDLING = Handling(
    tlp=Tlp.AMBER,
    pap=Pap.AMBER,
    europol=Europol.H0,
    source_grade=SourceGrade.A,
    information_grade=InformationGrade.ONE,
)
_DAYS = tuple(date(2026, 10, day) for day in range(1, 32))


@dataclass(slots=True)
class Meter:
    """CPU seconds of single multiplications, and of what is compared with them."""

    unit_s: float = 0.0
    units: int = 0
    work_s: dict[str, float] = field(default_factory=dict)

    def unit(self, count: int) -> None:
        """Multiply so many times, for the unit."""
        began = time.process_time()
        for _ in range(count):
            _multiply(*_PLACES)
        self.unit_s += time.process_time() - began
        self.units += count

    def run(self, step: str, work: Callable[[], Any]) -> Any:
        """Do it, and count its time."""
        began = time.process_time()
        done = work()
        self.work_s[step] = self.work_s.get(step, 0.0) + time.process_time() - began
        return done

    @property
    def multiplication_s(self) -> float:
        """M in CPU seconds."""
        return self.unit_s / self.units


_multiply = ristretto.load().crypto_scalarmult_ristretto255
_ROWS = ctypes.create_string_buffer(
    bytes(32) + ristretto.reduce(bytes(range(64))) + ristretto.multiply_base(bytes([9] + [0] * 31))
)
_PLACES = tuple(ctypes.addressof(_ROWS) + at for at in (0, 32, 64))


# ── The owner's pool ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Owner:
    """What a process of the pool keeps: the key of one epoch, the codec of its entries."""

    key: blinding.PrivateKey
    codec: EntryCodec

    @classmethod
    def at(cls, epoch: int) -> Owner:
        """The owner in this epoch; its seed is no secret here."""
        seed = blinding.EpochSeed(epoch=epoch, secret=bytes(32))
        key = blinding.epoch_key(seed, node=NODE, audience=AUDIENCE, scheme=SCHEME)
        return cls(key, EntryCodec(audience=AUDIENCE, epoch=epoch))


def encoded(values: Sequence[str]) -> list[bytes]:
    """Canonical values as inputs."""
    return blinding.encode_terms(NORM_VERSION, SCHEME, values)


def entries(epoch: int, first: int, values: Sequence[str]) -> tuple[bytes, Meter, int, float]:
    """The sealed entries of a chunk of records; whose process, and its CPU time until now."""
    owner, meter = Owner.at(epoch), Meter()
    meter.unit(CHUNK // ASIDE)
    sealed = bytearray()
    outputs = blinding.evaluate_unblinded(owner.key, encoded(values))
    for row, output in enumerate(outputs, first):
        payload = pack_payload(
            record_type=RecordType.MOVEMENT, event=(Event.GATE_IN, Event.GATE_OUT)[row % 2],
            handling=_HANDLING, date=_DAYS[row % 31], desk=row % 7, ref=row.to_bytes(16, "big"),
        )  # fmt: skip
        sealed += owner.codec.seal(output, payload)
    return bytes(sealed), meter, os.getpid(), time.process_time()


def tags(epoch: int, _first: int, values: Sequence[str]) -> list[bytes]:
    """Where the records of a chunk would be found."""
    owner = Owner.at(epoch)
    return [owner.codec.tag(o) for o in blinding.evaluate_unblinded(owner.key, encoded(values))]


def in_order(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Entries by their tags. They gather by their first octet, so that no more than one bucket
    becomes objects at once."""
    buckets = [bytearray() for _ in range(BUCKETS)]
    for chunk in chunks:
        for at in range(0, len(chunk), ENTRY_SIZE):
            buckets[chunk[at]] += chunk[at : at + ENTRY_SIZE]
    for number, bucket in enumerate(buckets):
        rows = range(0, len(bucket), ENTRY_SIZE)
        yield from sorted(bytes(bucket[at : at + ENTRY_SIZE]) for at in rows)
        buckets[number] = bytearray()


def fillers(count: int) -> bytes:
    """Entries that are none, up to the next rung, at the cost of a publication's own."""
    return b"".join(
        hashlib.shake_256(AUDIENCE + place.to_bytes(8, "big")).digest(ENTRY_SIZE)
        for place in range(padded_count(count) - count)
    )


def cpu_so_far(_: int) -> tuple[int, float]:
    """This process of the pool and its CPU time; waits a moment so that another gets the next."""
    time.sleep(0.05)
    return os.getpid(), time.process_time()


def peak_mb() -> float:
    """The most memory this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ── The process ──────────────────────────────────────────────────────────────────────────────


class Blinder:
    """Obeys the benchmark."""

    def __init__(self, folder: Path, pool: ProcessPoolExecutor, processes: int) -> None:
        self._path = folder / "snapshot"
        self._digest = b""
        self._pool = pool
        self._processes = processes

    def index(self, epoch: int, records: str) -> dict[str, Any]:
        """Build the sealed index; the CPU time is that of this process and of its pool."""
        started = dict(self._pool.map(cpu_so_far, range(4 * self._processes)))
        meter, ended, count = Meter(), dict(started), 0
        wall, own = time.perf_counter(), time.process_time()

        def chunks() -> Iterator[bytes]:
            nonlocal count
            for sealed, part, pid, cpu in self._spread(entries, epoch, Path(records)):
                meter.unit_s += part.unit_s
                meter.units += part.units
                ended[pid] = cpu
                started.setdefault(pid, 0.0)
                count += len(sealed) // ENTRY_SIZE
                yield sealed
            yield fillers(count)

        self._digest = write_snapshot(self._path, in_order(chunks()))
        pooled = sum(ended.values()) - sum(started.values()) - meter.unit_s
        return {
            "count": count,
            "cpu_s": pooled + time.process_time() - own,
            "unit_s": meter.multiplication_s,
            "wall_s": time.perf_counter() - wall,
            "octets": self._path.stat().st_size,
        }

    @contextmanager
    def _opened(self) -> Iterator[Snapshot]:
        """The snapshot as its reader opens it: count, digest and order verified."""
        entries = self._path.stat().st_size // ENTRY_SIZE
        found = Snapshot.open(self._path, entries=entries, digest=self._digest)
        try:
            yield found
        finally:
            found.close()

    def ask(self, epoch: int, terms: str, seed: str) -> dict[str, Any]:
        """The snapshot verified; every term through the protocol in chunks, looked up, opened."""
        owner, meter, secret = Owner.at(epoch), Meter(), bytes.fromhex(seed)
        up = down = hits = count = 0
        with ExitStack() as stack:
            found = meter.run("open", lambda: stack.enter_context(self._opened()))
            for number, values in enumerate(_batches(Path(terms), blinding.MAX_ELEMENTS)):
                meter.unit(max(1, len(values) // ASIDE))
                asked = meter.run("blind", lambda n=number, v=values: _blind(secret, n, v))
                answer = meter.run(
                    "prove", lambda a=asked: blinding.evaluate(owner.key, a.elements)
                )
                outputs = meter.run(
                    "verify",
                    lambda a=asked, r=answer: blinding.finalise(a, r, owner.key.public),
                )
                hits += meter.run("look_up", lambda o=outputs: _look_up(owner.codec, found, o))
                count += len(values)
                up += len(asked.elements)
                down += len(answer.elements) + len(answer.proofs)
        return {
            "count": count, "hits": hits, "unit_s": meter.multiplication_s,
            "work_s": meter.work_s, "up": up, "down": down,
        }  # fmt: skip

    def single(self, epoch: int, terms: str) -> dict[str, Any]:
        """One term after the other, each a whole exchange of its own."""
        owner, meter, seconds = Owner.at(epoch), Meter(), []
        with self._opened() as found, Path(terms).open(encoding="ascii") as lines:
            for number, line in enumerate(itertools.islice(lines, SINGLES)):
                meter.unit(5)
                began = time.process_time()
                asked = _blind(bytes(32), number, [line.strip()])
                answer = blinding.evaluate(owner.key, asked.elements)
                outputs = blinding.finalise(asked, answer, owner.key.public)
                _look_up(owner.codec, found, outputs)
                seconds.append(time.process_time() - began)
        return {"seconds": seconds, "unit_s": meter.multiplication_s}

    def misses(self, epoch: int, values: str) -> dict[str, Any]:
        """Look up what nobody holds: how many, and how many were found all the same."""
        count = hits = 0
        with self._opened() as found:
            for some in self._spread(tags, epoch, Path(values)):
                count += len(some)
                hits += sum(found.find(tag) is not None for tag in some)
        return {"count": count, "false_hits": hits}

    def memory(self) -> dict[str, Any]:
        """The most any process had, in MiB: this one, and the largest of the pool."""
        pooled = list(self._pool.map(_peak, range(4 * self._processes)))
        return {"rss_mb": peak_mb(), "pool_rss_mb": max(pooled)}

    def _spread(self, work: Callable[..., Any], epoch: int, values: Path) -> Iterator[Any]:
        """``work`` on every chunk by the pool, a few chunks ahead of what is taken."""
        waiting: deque[Future[Any]] = deque()
        for number, chunk in enumerate(_batches(values, CHUNK)):
            waiting.append(self._pool.submit(work, epoch, number * CHUNK, chunk))
            if len(waiting) > 3 * self._processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _peak(_: int) -> float:
    return peak_mb()


def _blind(seed: bytes, chunk: int, values: Sequence[str]) -> blinding.Blinded:
    blinds = blinding.derive_blinds(seed, owner=OWNER, chunk=chunk, count=len(values))
    return blinding.blind(encoded(values), blinds)


def _look_up(codec: EntryCodec, found: Snapshot, outputs: Sequence[bytes]) -> int:
    hits = 0
    for output in outputs:
        entry = found.find(codec.tag(output))
        if entry is not None:
            codec.open(output, entry)
            hits += 1
    return hits


def _batches(path: Path, size: int) -> Iterator[list[str]]:
    with path.open(encoding="ascii") as lines:
        values = (line.strip() for line in lines)
        while batch := list(itertools.islice(values, size)):
            yield batch


def main() -> None:
    """Obey until standard input ends, or somebody ends this; the pool ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    processes = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        blinder = Blinder(Path(sys.argv[1]), pool, processes)
        list(pool.map(cpu_so_far, range(4 * processes)))
        print("ready", flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            print(json.dumps(getattr(blinder, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main()
