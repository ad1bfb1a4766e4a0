"""What the page says: from the items alone, in one way only, so that anybody can write it again.

Records come from strangers. Everything is escaped, and signs that change how others read are
replaced.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fairlead.verifier.anchors import anchors_of, sha256, unpacked
from fairlead.verifier.wire import Content, read_message

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MODES = {1: "sealed: each owner saw the terms", 2: "blind: no owner saw a term"}
_STATUSES = {
    1: "answered", 2: "refused", 3: "not asked", 4: "unreachable", 5: "timeout", 6: "overloaded",
    7: "invalid", 8: "lost",
}  # fmt: skip
_TLP = ("unspecified", "CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
_PAP = ("unspecified", "CLEAR", "GREEN", "AMBER", "RED")
NO_HIT = "no hit: nothing this owner holds may be disclosed for this purpose"
NODES_WORD = "as the asker's node says; nothing in this file proves it"


_OWN_RECORD = (
    "Of this table, user and period are signed with the chunks below, and the time is within the "
    "mandate's; the rest is the word of the asker's node."
)
_NO_RECORD = "No signed record was kept; what follows is the word of the asker's node."


def summary_of(items: Mapping[str, Any]) -> bytes:
    """The readable part of a page, UTF-8."""
    lines = [*_top(items), *_case(items["case"])]
    queries = [items[name] for name in items if name.startswith("query ")]
    lines += [f"<h2>Queries: {len(queries)}</h2>"]
    for number, query in enumerate(queries, 1):
        lines += _query(number, query)
    return "".join(f"{line}\n" for line in lines).encode()


def shown(value: object) -> str:
    """Text fit for a page."""
    return html.escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def utc(seconds: int) -> str:
    """Unix seconds as a UTC time; a dash for none."""
    if not 0 < seconds < 253_402_300_800:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _top(items: Mapping[str, Any]) -> Iterator[str]:
    about, anchors = items["about"], anchors_of(items["anchors"])
    yield _table(
        ["made by", "at", "for", "federation"],
        [[about["partner"], utc(about["made_at"]), about["made_for"], about["federation"]]],
    )
    yield "<h2>What this rests on</h2>"
    yield f"<p>Fingerprint of the trust anchors: <code>{anchors.fingerprint()}</code></p>"
    rows = [["operator", key.hex()] for key in anchors.operators]
    rows += [[f"root of {partner}", pin.hex()] for partner, pin in sorted(anchors.roots.items())]
    yield _table(["anchor", "Ed25519 key, or SHA-256 of the root key"], rows)
    if not about["opened"]:
        yield (
            "<p><strong>Terms and answers are not opened in this file:</strong> whoever had it "
            "made may read who asked, when and why, and no content.</p>"
        )
    yield (
        "<p>That these are all queries of the case which the asker's node keeps is that node's "
        "word; everything else below is proved by others' signatures, unless it says "
        "otherwise.</p>"
    )


def _case(case: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>Case {shown(case['case_id'])}</h2>"
    yield (
        "<p>As the asker's node keeps it. That each query is of this case, for its purpose, on its "
        "legal basis and under its instrument is signed with the query.</p>"
    )
    rows = [
        ["purpose", case["purpose"]],
        ["legal basis", case["legal_basis"]],
        ["opened", f"{utc(case['opened_at'])} by {case['opened_by']}"],
        ["ends", utc(case["expires_at"])],
        ["closed", utc(case["closed_at"])],
        ["handling of its questions", _marks(case)],
    ]
    instrument = case["instrument"]
    if instrument:
        told = f"{instrument['kind']} of {instrument['authority']}, {instrument['reference']}"
        rows.append(["legal instrument", f"{told}, until {utc(instrument['valid_until'])}"])
    yield _table(["", ""], rows)


def _query(number: int, query: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>Query {number}</h2>"
    signed = any(chunk["query"] is not None for chunk in query["chunks"])
    yield f"<p>{_OWN_RECORD if signed else _NO_RECORD}</p>"
    rows = [["id at the asker's node", query["query_id"]],
            ["asked", f"{utc(query['asked_at'])} by {query['user']}"],
            ["state at the asker's node", query["state"]]]  # fmt: skip
    scope = query["scope"]
    if scope and any(chunk["terms"] is not None for chunk in query["chunks"]):
        rows.append(["period", f"{utc(scope['since'])} to {utc(scope['until'])}"])
        rows.append(["events", ", ".join(scope["events"]) or "any"])
        rows.append(["handling of the question", _marks(scope)])
    rows += [["note of the asker's node", note] for note in query["notes"]]
    yield _table(["", ""], rows)
    for chunk in query["chunks"]:
        yield from _chunk(number, chunk)


def _chunk(number: int, chunk: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h3>Query {number}, chunk {chunk['number'] + 1}</h3>"
    if chunk["query"] is None:
        yield f"<p>{_NO_RECORD}</p>"
        yield _table(["partner", "status", "reason"], chunk["lines"])
        return
    signed = read_message("SignedQuery", unpacked(chunk["query"]))
    intent = read_message("Receipt", unpacked(chunk["intent"]))
    yield _signed_rows(signed, read_message("AuditLeaf", intent["leaf"]))
    if chunk["terms"] is not None:
        yield "<p>Terms asked:</p>"
        rows = [[i + 1, scheme, value] for i, (scheme, value) in enumerate(chunk["terms"])]
        yield _table(["", "scheme", "term"], rows)
    outcome = read_message("Outcome", unpacked(chunk["outcome"]))
    closed, serial = utc(outcome["closed_at"]), outcome["policy_serial"]
    yield f"<p>Closed by the gateway {closed}, policy {serial}:</p>"
    rows = [[p["partner_id"], _STATUSES.get(p["status"], "?"), p["reason"]]
            for p in outcome["partners"]]  # fmt: skip
    rows += [[partner, "not asked (the asker's node says so)", reason]
             for partner, reason in sorted(chunk["not_asked"].items())]  # fmt: skip
    yield _table(["partner", "status", "reason"], rows)
    for answer in chunk["answers"]:
        yield from _answer(answer, chunk)


def _signed_rows(signed: Content, intent: Content) -> str:
    mandate = read_message("Mandate", signed["mandate"])
    header = read_message("QueryHeader", signed["header"])
    statement = read_message("NodeStatement", signed["statement"])
    approvals = [read_message("Approval", item["approval"]) for item in signed["approvals"]]
    rows = [
        ["query id", header["query_id"].hex()],
        ["sent", utc(header["issued_at"])],
        ["by", intent["user"]],
        ["their certificate (SHA-256)", mandate["user_certificate_digest"].hex()],
        ["purpose, legal basis", f"{mandate['purpose']}, {mandate['legal_basis']}"],
        ["mode", _MODES.get(mandate["mode"], "?")],
        ["schemes", ", ".join(mandate["schemes"])],
        ["terms", f"{header['term_count']} of {mandate['term_count']}"],
        ["policy at the asker", statement["policy_serial"]],
        ["policy at the gateway", intent["policy_serial"]],
        ["logged by the gateway", utc(intent["time_ms"] // 1000)],
        ["second persons", f"{len(approvals)} approved, {mandate['required_approvals']} needed"],
    ]  # fmt: skip
    for approval, who in zip(approvals, intent["approvers"], strict=True):
        urgent = ", urgent" if approval["urgent"] else ""
        digest = approval["approver_certificate_digest"].hex()
        told = f"{utc(approval['issued_at'])}{urgent} by {who}, certificate {digest}"
        rows.append(["approved", told])
    return _table(["", ""], rows)


def _answer(answer: Mapping[str, Any], chunk: Mapping[str, Any]) -> Iterator[str]:
    terms = chunk["terms"]
    octets = unpacked(answer["header"])
    header = read_message("AnswerHeader", octets)
    yield f"<h3>Answer of {shown(answer['partner'])}</h3>"
    rows = [["signed header (SHA-256)", sha256(octets).hex()],
            ["status", f"{_STATUSES.get(header['status'], '?')} {header['reason']}"],
            ["policy", header["policy_serial"]],
            ["age of the index", f"{header['index_age_s']} s"]]  # fmt: skip
    if answer["note"]:
        rows.append(["note of the asker's node", answer["note"]])
    found = _content(answer)
    if found is not None:
        rows.append(["may be passed on", found["onward"] or "to nobody"])
    yield _table(["", ""], rows)
    if found is None or terms is None:
        return
    hits = {item["index"] for item in found["answers"] if item["hit"]}
    words = _unproved(chunk, answer, hits)
    for item in found["answers"]:
        place = item["index"]
        yield from _term(item, terms[place] if place < len(terms) else ("", "?"), place in words)


def _unproved(chunk: Mapping[str, Any], answer: Mapping[str, Any], hits: set[int]) -> set[int]:
    """The terms of a blind answer of which the file does not hold what proves them: the pages of
    every key of a term that is not there, under the root that its owner's manifest states."""
    if answer["found"] is None:
        return set()
    by_scheme = {str(item["scheme"]): item for item in answer["looked"] or ()}
    nth: dict[str, int] = {}
    found = set()
    for place, (scheme, _) in enumerate(chunk["terms"]):
        first = nth.get(scheme, 0)
        nth[scheme] = first + len(chunk["keys"][place])
        item = by_scheme.get(scheme)
        if item is None or not _states_root(item):
            found.add(place)
        elif place not in hits:
            looked = {int(number) for number, _ in item["lookups"]}
            if not looked.issuperset(range(first, nth[scheme])):
                found.add(place)
    return found


def _states_root(item: Mapping[str, Any]) -> bool:
    signed = read_message("SignedBlindManifest", unpacked(item["manifest"]))
    return bool(read_message("BlindManifest", signed["manifest"])["pages_root"])


def _content(answer: Mapping[str, Any]) -> Content | None:
    """What an answer says: its plaintext; of a blind one what was found with it."""
    if answer["plaintext"] is None:
        return None
    body = read_message("AnswerBody", unpacked(answer["plaintext"]))
    if answer["found"] is not None:
        body["answers"] = read_message("AnswerBody", unpacked(answer["found"]))["answers"]
    return body


def _term(item: Content, term: Sequence[str], nodes_word: bool) -> Iterator[str]:
    told = "HIT" if item["hit"] else NO_HIT
    told += f" ({NODES_WORD})" if nodes_word else ""
    more = [item["count_band"], item["grade"], item["contact_desk"]]
    more += ["more records than are shown"] if item["more"] else []
    more += ["newest record outside the period or events asked"] if item["outside"] else []
    yield f"<p>{shown(term[0])} <strong>{shown(term[1])}</strong>: {shown(told)}</p>"
    if any(more):
        yield f"<p>{shown('; '.join(filter(None, more)))}</p>"
    rows = []
    for record in item["records"]:
        fields = "; ".join(f"{field['name']}: {field['value']}" for field in record["fields"])
        rows.append([record["record_type"], record["event"], utc(record["occurred_at"]), fields,
                     ", ".join(record["withheld"]), _marks(record["handling"] or {}),
                     record["ref"].hex()])  # fmt: skip
    if rows:
        yield _table(["record", "event", "time", "fields", "withheld", "handling", "ref"], rows)


def _marks(marks: Mapping[str, Any]) -> str:
    tlp, pap = int(marks.get("tlp", 0)), int(marks.get("pap", 0))
    words = [f"TLP:{_TLP[tlp] if 0 <= tlp < len(_TLP) else '?'}",
             f"PAP:{_PAP[pap] if 0 <= pap < len(_PAP) else '?'}"]  # fmt: skip
    words += [str(marks[key]) for key in ("europol", "source_grade", "information_grade")
              if marks.get(key)]  # fmt: skip
    return " ".join(words)


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{shown(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{shown(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    first = f"<tr>{top}</tr>" if any(heads) else ""
    return f"<table>{first}{body}</table>"
