"""The demo's books: rows by partner and source, written in the order of time."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

MAPPINGS = Path(__file__).parent / "mappings"

COLUMNS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("terminal-north", "gate"): (
        "at", "direction", "container_no", "plate", "plate_country", "seal_no", "gate",
        "booking", "haulier_eori", "driver", "driver_card",
    ),
    ("terminal-north", "quay"): (
        "at", "move", "container_no", "vessel_imo", "seal_no", "berth", "operator",
    ),
    ("terminal-north", "release"): (
        "at", "action", "container_no", "release_ref", "account", "workstation",
    ),
    ("terminal-north", "reefer"): (
        "at", "container_no", "what", "block", "operator", "severity",
    ),
    ("oceanic-line", "release"): (
        "at", "action", "container_no", "release_ref", "booking", "account", "customer_eori",
        "office", "tlp", "europol",
    ),
    ("customs", "inspection"): (
        "at", "kind", "container_no", "seal_no", "place", "declarant_eori", "officer", "severity",
        "tlp",
    ),
    ("police", "intelligence"): (
        "at", "kind", "container_no", "plate", "plate_country", "place", "severity", "tlp", "pap",
        "europol", "source", "information", "watched",
    ),
    ("quayguard", "patrol"): (
        "at", "kind", "container_no", "plate", "plate_country", "vessel_imo", "place", "guard",
        "severity",
    ),
    ("inland-port", "barge"): (
        "at", "move", "container_no", "quay", "booking", "operator", "severity",
    ),
    ("inland-port", "gate"): (
        "at", "direction", "container_no", "plate", "plate_country", "gate", "driver",
        "driver_card",
    ),
}  # fmt: skip
PARTNERS = ("customs", "police", "terminal-north", "oceanic-line", "quayguard", "inland-port")


class Ledger:
    """Rows of every source; ``total`` counts them."""

    def __init__(self, *, until: float) -> None:
        self._until = int(until)
        self._rows: dict[tuple[str, str], list[tuple[int, tuple[str, ...]]]] = {
            key: [] for key in COLUMNS
        }
        self.total = 0

    def add(self, partner: str, source: str, at: float, *values: str) -> None:
        """Enter one row; what has not happened yet is not entered."""
        if at < self._until:
            self._rows[partner, source].append((int(at), values))
            self.total += 1

    def write(self, out_dir: Path) -> dict[str, tuple[Path, ...]]:
        """Write each source as CSV with its mapping beside it; returns partner → mappings."""
        mappings: dict[str, list[Path]] = {partner: [] for partner in PARTNERS}
        for (partner, source), rows in self._rows.items():
            folder = out_dir / partner
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{source}.csv").open("w", encoding="utf-8", newline="") as file:
                lines = csv.writer(file, lineterminator="\n")
                lines.writerow(COLUMNS[partner, source])
                lines.writerows((_stamp(at), *values) for at, values in sorted(rows))
            mapping = folder / f"{source}.toml"
            shutil.copyfile(MAPPINGS / f"{partner}.{source}.toml", mapping)
            mappings[partner].append(mapping)
        return {partner: tuple(paths) for partner, paths in mappings.items()}


def _stamp(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
