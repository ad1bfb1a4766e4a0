"""The record of processing (GDPR Article 30) and the works council's summary, out of the exposure.

Plain lists of (heading, lines). What a node cannot know (who the officer is, where a contract
lies) is said to be missing rather than made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.exposure.document import limit

Json = Mapping[str, Any]
Entry = tuple[str, list[str]]
STAFF_WORDS = (
    "badge",
    "driver",
    "operator",
    "employee",
    "staff",
    "user",
    "crew",
    "shift",
)
"""A field with one of these words in its name is about somebody at work."""
SAFEGUARDS = (
    (
        "Each question carries a purpose, a legal basis, a case and its user's signature; without "
        "a receipt of the gateway's audit log it is not answered."
    ),
    (
        "Policy is decided here again and can only narrow what the gateway granted; two security "
        "officers sign it; this acceptance narrows it further."
    ),
    (
        "Identifiers are keyed tokens and content is encrypted in the index (AES-256-GCM-SIV); "
        "answers are encrypted to the asker (HPKE, MLKEM768-X25519), have one fixed size and leave "
        "on a fixed tick; transport is TLS 1.3 with certificates on both sides."
    ),
    "“No hit”, hidden and absent look the same to the asker and to the gateway.",
    "The source database is read, never asked: it does not see who asks what.",
    "Every question, refusal, acceptance, pause and preview is a leaf of this node's own log.",
    "A pause (fairlead-node pause …) stops every answer at once.",
)


def processing(found: Json) -> list[Entry]:
    """Article 30(1)(a) to (g)."""
    node = found["node"]
    rows = [row for row in found["rows"] if row["record_type"]]
    purposes = sorted({row["purpose"] for row in rows})
    bases = sorted({row["legal_basis"] for row in rows})
    recipients = sorted({row["partner"] for row in rows})
    kept = limit(max((row["retention_days"] for row in rows), default=0))
    abroad = sorted({p["country"] for p in found["partners"].values()})
    return [
        (
            "Controller (a)",
            [
                f"{node['display_name']}, {node['country']}; contact: {node['contact_desk']}",
                "Data-protection officer: to be filled in",
            ],
        ),
        ("Purposes (b)", [_purpose(found, p) for p in purposes]),
        ("Legal bases of the askers", [found["legal_bases"].get(b, b) for b in bases]),
        ("Data subjects (c)", _subjects(found)),
        ("Categories of data (c)", _categories(found)),
        ("Recipients (d)", [_partner(found, p) for p in recipients] or ["none"]),
        ("Countries of recipients (e)", [", ".join(abroad) or "none"]),
        (
            "Erasure (f)",
            [
                *(
                    f"{s['name']}: {s['retention_days']} days after the event"
                    for s in found["sources"]
                ),
                f"at a recipient: at most {kept} days, an obligation that comes with each answer",
            ],
        ),
        ("Security (g)", list(SAFEGUARDS)),
        ("Grounds for columns about persons", _grounds(found)),
    ]


def staff(found: Json) -> list[Entry]:
    """What a works council has to know; empty when nothing is about people at work."""
    sources = [s for s in found["sources"] if s["personal"] or staff_fields(s)]
    if not sources:
        return []
    names = {s["name"] for s in sources}
    rows = [r for r in found["rows"] if names & set(r["sources"]) and r["approvals"] == 0]
    leaving = sorted(
        {f.removeprefix("field:") for r in rows for f in r["facets"] if f.startswith("field:")}
        & {f for s in sources for f in staff_fields(s)}
    )
    held = sorted({f for s in sources for f in staff_fields(s)} - set(leaving))
    return [
        ("Sources", [f"{s['name']} ({s['record_type']})" for s in sources]),
        ("Fields about people at work that can leave", [", ".join(leaving) or "none"]),
        ("Held back from everybody", [", ".join(held) or "none"]),
        (
            "Who can receive them",
            sorted({_partner(found, r["partner"]) for r in rows}) or ["nobody"],
        ),
        ("What for", [_purpose(found, p) for p in sorted({r["purpose"] for r in rows})]),
        (
            "What it is not",
            [
                "No continuous transfer and no list: who asks names an identifier, in a case.",
                (
                    "No measuring of performance or conduct: a question for any purpose but those "
                    "above is refused."
                ),
                "A blind question does not tell this node, or the employer, whom it is about.",
            ],
        ),
        ("Erasure", [f"{s['name']}: {s['retention_days']} days" for s in sources]),
    ]


def staff_fields(source: Json) -> list[str]:
    """Fields of a source whose names say that they are about somebody at work."""
    names = [*source["fields"], *source["withheld"]]
    return sorted(f for f in names if any(word in f for word in STAFF_WORDS))


def _purpose(found: Json, name: str) -> str:
    about = found["purposes"].get(name, {})
    return f"{about.get('title', name)} ({name}{', covert' if about.get('covert') else ''})"


def _partner(found: Json, partner: str) -> str:
    about = found["partners"].get(partner, {})
    return f"{about.get('display_name', partner)} ({partner}, {about.get('kind', '')})"


def _subjects(found: Json) -> list[str]:
    about = [s["name"] for s in found["sources"] if s["personal"]]
    lines = [f"Persons that records are about: {', '.join(about)}"] if about else []
    working = [s["name"] for s in found["sources"] if staff_fields(s)]
    if working:
        lines.append(f"Drivers, operators and other staff named in records: {', '.join(working)}")
    return lines or ["None that a mapping names; plates and accounts can lead to persons"]


def _categories(found: Json) -> list[str]:
    fields = sorted({f for s in found["sources"] for f in s["fields"]})
    personal = [f for f in fields if found["fields"].get(f, {}).get("personal", True)]
    schemes = sorted({scheme for s in found["sources"] for scheme in s["schemes"]})
    return [
        f"Identifiers: {', '.join(schemes) or 'none'}",
        f"Content: {', '.join(f for f in fields if f not in personal) or 'none'}",
        f"Content about persons: {', '.join(personal) or 'none'}",
    ]


def _grounds(found: Json) -> list[str]:
    lines = [
        f"{s['name']}: {s['ground']}, approved by {s['approver']}"
        for s in found["sources"]
        if s.get("ground") or s.get("approver")
    ]
    missing = [s["name"] for s in found["sources"] if s["personal"] and not s.get("ground")]
    if missing:
        lines.append(f"not stated in the mapping of: {', '.join(missing)}")
    return lines or ["none needed"]
