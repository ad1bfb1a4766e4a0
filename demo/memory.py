"""Another process's memory, as whoever administers its machine can read it (proc(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_MAP = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)\s*(.*)")
CHUNK = 16 * 1024 * 1024
OVERLAP = 4096


def rss_mib(pid: int) -> float:
    """Resident memory in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def writable(pid: int) -> Iterator[bytes]:
    """Everything a process can write to, in chunks that overlap; unreadable pages are left out."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            found = _MAP.match(line)
            if found is None or "w" not in found[3] or "r" not in found[3]:
                continue
            start, end = int(found[1], 16), int(found[2], 16)
            for place in range(start, end, CHUNK):
                try:
                    memory.seek(place)
                    yield memory.read(min(CHUNK + OVERLAP, end - place))
                except (OSError, ValueError, OverflowError):
                    continue


def holds(pid: int, forms: dict[str, list[bytes]]) -> set[str]:
    """Names of those ``forms`` of which some octets stand in the process's memory."""
    found: set[str] = set()
    for chunk in writable(pid):
        for name, spelt in forms.items():
            if name not in found and any(form in chunk for form in spelt):
                found.add(name)
    return found
