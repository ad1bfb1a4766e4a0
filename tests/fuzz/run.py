"""``make fuzz``: coverage-guided fuzzing of every parser, a process a group, a table at the end.

Parsers of one kind share a process (:data:`GROUPS`), which is fuzzed for ten minutes; ``--target``
names a group, or one parser to fuzz alone. Needs atheris (``make fuzz`` installs it from
requirements/fuzz.lock). A crash is printed with the file that reproduces it:
``python -m tests.fuzz.run --target NAME --reproduce FILE``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from tests.fuzz.target import Group, Target

HERE = "tests.fuzz.run"

GROUPS = {
    "identifiers": "scheme-*",
    "words": "recognise event handling moment phrase spiffe-id",
    "query": "mandate header statement approval pending-approval question sealed-part watch-order",
    "answer": "grant grant-statement answer-* outcome feedback feedback-body",
    "receipt": "receipt-proof tlog-proof checkpoint evidence cosignature cosigned-note "
    "witness-answer",
    "membership": "directory signed-directory partner-entry deny-list deny-lists",
    "certificates": "certificate certificate-request",
    "requests": "request-* stream-*",
    "enrolment": "enrolment-request admission signed-admission invitation",
    "configuration": "node-config gateway-config profile mapping trust",
    "policy": "agreements local-agreements policy-manifest policy-release release-report officers "
    "decision reasons",
    "state": "backup acceptance control terms-csv terms-txt",
    "texts": "source-csv source-json source-jsonl guess",
    "parquet": "source-parquet",
    "workbooks": "source-xlsx terms-xlsx",
    "blind": "blind-*",
    "oversight": "notice notice-body decoy-list decoy-list-body",
    "audit": "audit-* erasure-order erased-leaves period-keys sealed-under",
    "timestamps": "timestamp-*",
    "openings": "sealed-detail key-share asked-detail owned-detail opening-*",
    "reconciliation": "reconcile-*",
    "figures": "figures-*",
    "decisions": "decision-batch decision-inputs decision-file replay-report",
}
"""Group → the names of its parsers, ``*`` for any ending."""


def groups(known: Iterable[Target]) -> dict[str, Group]:
    """The groups of ``known``."""
    found: dict[str, list[Target]] = {name: [] for name in GROUPS}
    for target in known:
        for group, patterns in GROUPS.items():
            if any(fnmatchcase(target.name, pattern) for pattern in patterns.split()):
                found[group].append(target)
    return {name: Group(name=name, members=members) for name, members in found.items()}


def targets(folder: Path) -> Iterator[Target]:
    """All parsers; keys and files of theirs go to ``folder``."""
    from tests.fuzz import (
        asked_figures,
        audited,
        blind,
        decided,
        enrolling,
        files,
        messages,
        openings,
        oversight,
        reconciled,
        streams,
        tables,
    )

    yield from enrolling.targets(folder / "enrolling")
    yield from tables.targets(folder / "tables")
    yield from messages.targets(folder / "messages")
    yield from files.targets(folder / "files")
    yield from blind.targets()
    yield from oversight.targets()
    yield from openings.targets(folder / "openings")
    yield from reconciled.targets()
    yield from decided.targets(folder / "decided")
    yield from audited.targets(folder / "audited")
    yield from streams.targets(folder / "streams")
    yield from asked_figures.targets(folder / "figures")


def both(folder: Path) -> dict[str, Group | Target]:
    """Groups and parsers by name."""
    known = list(targets(folder))
    return {**{t.name: t for t in known}, **groups(known)}


def fuzz_one(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process until the time is over or something escapes."""
    import atheris

    with atheris.instrument_imports(include=["fairlead", "node", "gateway"]):
        from tests.fuzz import (  # noqa: F401
            asked_figures,
            blind,
            decided,
            enrolling,
            files,
            messages,
            openings,
            oversight,
            reconciled,
            streams,
            tables,
        )
    target = both(folder / "world")[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=4096",
               f"-artifact_prefix={folder}/", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target)
    atheris.Fuzz()


def run_one(name: str, seconds: int, kept: Path) -> dict[str, object]:
    """Fuzz one target in a process of its own; what it found is copied to ``kept``."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        command = [sys.executable, "-m", HERE, "--target", name, "--seconds", str(seconds)]
        done = subprocess.run(
            [*command, "--in", scratch], capture_output=True, text=True, check=False
        )
        runs = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
        crashes = [p for p in Path(scratch).iterdir() if re.match(r"(crash|timeout|oom)-", p.name)]
        for path in crashes:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / f"{name}-{path.name}").write_bytes(path.read_bytes())
        ok = done.returncode == 0 and not crashes
        if not ok:
            print(f"── {name}\n{done.stderr[-3000:]}", file=sys.stderr)
        return {"target": name, "runs": int(runs[1]) if runs else 0, "ok": ok}


def main() -> int:
    """The command line; the last line printed is one JSON object."""
    parser = argparse.ArgumentParser(prog=f"python -m {HERE}", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each group (%(default)s)")
    parser.add_argument("--target", action="append", help="only this group or parser; repeat")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reproduce", type=Path, help="run one target on this file")
    parser.add_argument("--kept", type=Path, default=Path(".fuzz"), help="where crashes are kept")
    options = parser.parse_args()
    if options.folder is not None:
        fuzz_one(options.target[0], options.seconds, options.folder)
        return 0
    if options.reproduce is not None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            both(Path(scratch))[options.target[0]](options.reproduce.read_bytes())
        return 0
    names = options.target or list(GROUPS)
    started = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda name: run_one(name, options.seconds, options.kept), names))
    for row in done:
        print(f"{row['target']:<28} {row['runs']:>12,} runs   {'ok' if row['ok'] else 'FAILED'}")
    ok = all(row["ok"] for row in done)
    print(json.dumps({
        "schema": 1, "fuzz": "ok" if ok else "failed", "groups": len(done),
        "seconds_each": options.seconds, "runs": sum(int(str(row["runs"])) for row in done),
        "seconds": round(time.monotonic() - started),
    }))  # fmt: skip
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
