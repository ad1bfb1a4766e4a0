"""Blind answers: the elements follow from the terms, the owner's evaluations are proved, and what
was found, or was not there, stands under the root of the owner's signed snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.verifier.anchors import SKEW, Listing, in_domain, require_signed, sha256, unpacked
from fairlead.verifier.asked import Front
from fairlead.verifier.finding import EvidenceFailed, naming, require
from fairlead.verifier.note import proven
from fairlead.verifier.oblivious import (
    ELEMENT,
    ENTRIES_PER_PAGE,
    ENTRY,
    TAG,
    blinded_element,
    blinds_of,
    entry_key,
    open_entry,
    oprf_input,
    oprf_output,
    require_evaluated,
)
from fairlead.verifier.tree import leaf_of, require_included
from fairlead.verifier.wire import Content, read_message, write_message

_PUBLICATION_LEAF = 22
_ENTRY_LAYOUT = "has an index entry that says nothing known"
PERSON_SCHEME, PERSON_KEYS_ASKED = "person", 4

_TLP_WORDS = ("CLEAR", "GREEN", "AMBER", "AMBER_STRICT", "RED")
_RECORD_WORDS = (
    "movement", "release", "seal", "reefer", "inspection", "sighting", "access", "intelligence",
    "seizure", "consignment", "credential", "incident", "transaction", "alert",
)  # fmt: skip
_EVENT_WORDS = (
    "gate-in", "gate-out", "discharge", "load", "yard-move", "reefer-intervention",
    "crane-intervention", "scan", "seal-broken", "seal-mismatch", "release-issued",
    "release-transferred", "release-used", "release-looked-up", "release-failed", "seizure",
    "intrusion", "drone-sighting", "hull-finding", "concerning-behaviour", "bribe-approach",
    "threat", "unusual-system-access", "malware", "suspicious-transaction",
    "precursor-diversion", "lost-or-stolen", "alert",
)  # fmt: skip
_EUROPOL_WORDS, _SOURCE_WORDS = ("H0", "H1", "H2", "H3"), ("A", "B", "C", "X")
_INFORMATION_WORDS = ("1", "2", "3", "4")


@dataclass(frozen=True)
class BlindChunkAsked:
    """What a blind chunk was made from: its terms, their match keys, its plan and its scope."""

    front: Front
    terms: Sequence[Sequence[str]]
    keys: Sequence[Sequence[Sequence[str]]]
    plan: Mapping[str, Any]
    scope: Mapping[str, Any]

    def require_keys(self) -> bool:
        """Every term's match keys are its own; whether all of them could be compared, which those
        of a person cannot.

        :raises EvidenceFailed: they are another term's.
        """
        compared = True
        require(len(self.keys) == len(self.terms), "has keys of other terms")
        for (scheme, value), keys in zip(self.terms, self.keys, strict=True):
            if scheme == PERSON_SCHEME:
                compared = False
                require(len(keys) == PERSON_KEYS_ASKED, "has keys of another term")
            else:
                require([list(key) for key in keys] == [[value, ""]], "has keys of another term")
        count = sum(map(len, self.keys))
        require(count == self.front.header["element_count"], "has another number of elements")
        return compared

    def places(self, owner: str) -> list[tuple[str, bytes, int]]:
        """Scheme, audience class and epoch of each of an owner's exchanges."""
        found = [(str(s), bytes.fromhex(a), int(e)) for s, a, e in self.plan["places"][owner]]
        schemes = sorted({scheme for scheme, _ in self.terms})
        require([scheme for scheme, _, _ in found] == schemes, "has a plan for other terms")
        return found

    def of_scheme(self, scheme: str) -> list[tuple[int, Sequence[Sequence[str]]]]:
        """Place and match keys of each term of a scheme."""
        return [(i, self.keys[i]) for i, (of, _) in enumerate(self.terms) if of == scheme]


@dataclass(frozen=True)
class BlindFound:
    """What one owner's evaluations prove: each term's answer; the terms that were not found and
    whose absence is not proved (``absent``), those of which nothing is (``open_places``), and
    why."""

    answers: Sequence[Content]
    absent: Sequence[int]
    open_places: Sequence[int]
    unproved: tuple[str, ...]


def blind_found(
    asked: BlindChunkAsked,
    owner: str,
    body: Content,
    looked: Sequence[Mapping[str, Any]],
    listings: Mapping[int, Listing],
) -> BlindFound:
    """Verify one owner's blind answer.

    1. Each exchange's manifest is the owner's, for the asker and the purpose, in force, and in the
       gateway's log.
    2. The elements that follow from terms and seed were evaluated under that manifest's key.
    3. What the outputs find, or do not find, stands under its root of pages.

    :raises EvidenceFailed: any of it is wrong.
    """
    front = asked.front
    blinds = blinds_of(
        bytes.fromhex(asked.plan["seed"]), owner, front.header["chunk"],
        front.header["element_count"],
    )  # fmt: skip
    by_scheme = {str(item["scheme"]): item for item in looked}
    answers: list[Content] = [{"index": i, "records": []} for i in range(len(asked.terms))]
    absent: list[int] = []
    open_places: list[int] = []
    unproved: list[str] = []
    at, places = 0, asked.places(owner)
    require(len(places) == len(body["evaluated"]) and not body["answers"], "answers something else")
    for (scheme, audience, epoch), said in zip(places, body["evaluated"], strict=True):
        terms = asked.of_scheme(scheme)
        values = [key[0] for _, keys in terms for key in keys]
        mine, at = blinds[at : at + len(values)], at + len(values)
        item = by_scheme.get(scheme)
        if item is None:
            unproved.append(f"what was found of {scheme}: the manifest was not kept")
            open_places += [place for place, _ in terms]
            continue
        with naming(f"manifest for {scheme}"):
            manifest, digest = _manifest(front, owner, item, (scheme, audience, epoch), listings)
        exchange = _Exchange(manifest, audience, epoch, said)
        outputs = exchange.outputs(values, mine)
        if said["manifest"] != digest:
            unproved.append(f"what its owner had published of {scheme} after the snapshot asked in")
        if not manifest["pages_root"]:
            unproved.append(f"what was found of {scheme}: the manifest states no root of pages")
            open_places += [place for place, _ in terms]
            continue
        with naming(f"lookups of {scheme}"):
            absent += exchange.look(outputs, terms, item["lookups"], answers, asked.scope)
    return BlindFound(answers, absent, open_places, tuple(unproved))


@dataclass(frozen=True)
class _Exchange:
    manifest: Content
    audience: bytes
    epoch: int
    said: Content

    def outputs(self, values: Sequence[str], blinds: Sequence[int]) -> list[bytes]:
        """Steps 2: prove, and only then unblind."""
        norm, scheme = self.manifest["norm_version"], self.manifest["scheme"]
        inputs = [oprf_input(norm, scheme, value) for value in values]
        blinded = [blinded_element(i, blind) for i, blind in zip(inputs, blinds, strict=True)]
        evaluated = _rows(self.said["elements"])
        require_evaluated(self.manifest["public_key"], blinded, evaluated, self.said["proofs"])
        rows = zip(inputs, blinds, evaluated, strict=True)
        return [oprf_output(data, blind, element) for data, blind, element in rows]

    def look(
        self,
        outputs: Sequence[bytes],
        terms: Sequence[tuple[int, Sequence[Sequence[str]]]],
        lookups: Sequence[Sequence[Any]],
        answers: list[Content],
        scope: Mapping[str, Any],
    ) -> list[int]:
        """Step 3: fill in what is found; the terms of which a lookup is not proved."""
        proved = {int(place): pages for place, pages in lookups}
        require(proved.keys() <= set(range(len(outputs))), "has lookups of something else")
        nth, absent = 0, []
        for place, keys in terms:
            whole = True
            for _, grade in keys:
                tag, key = entry_key(self.audience, self.epoch, outputs[nth])
                if nth in proved:
                    entry = self._entry(tag, proved[nth])
                    if entry is not None and not answers[place].get("hit"):
                        payload = _payload(open_entry(entry, key))
                        _tell(answers[place], payload, grade, self.manifest, scope)
                else:
                    whole = False
                nth += 1
            if not whole and not answers[place].get("hit"):
                absent.append(place)
        return absent

    def _entry(self, tag: bytes, pages: Sequence[Sequence[Any]]) -> bytes | None:
        """The entry under a tag, or None when the pages prove that there is none."""
        count = self.manifest["entry_count"] // ENTRIES_PER_PAGE
        rows: list[bytes] = []
        indexes = []
        for index, octets, path in pages:
            page, steps = unpacked(octets), [unpacked(step) for step in path]
            require(len(page) == ENTRY * ENTRIES_PER_PAGE, "has a page of the wrong size")
            root = self.manifest["pages_root"]
            require_included(leaf_of(page), int(index), count, steps, root)
            indexes.append(int(index))
            rows += _rows(page, ENTRY)
        near = indexes in ([indexes[0]], [indexes[0], indexes[0] + 1]) if indexes else False
        require(near, "has pages that are no neighbours")
        for row in rows:
            if row[:TAG] == tag:
                return row
        below = rows[0][:TAG] < tag or indexes[0] == 0
        above = tag < rows[-1][:TAG] or indexes[-1] == count - 1
        require(below and above, "has pages that do not show what is missing")
        return None


def _manifest(
    front: Front,
    owner: str,
    item: Mapping[str, Any],
    place: tuple[str, bytes, int],
    listings: Mapping[int, Listing],
) -> tuple[Content, bytes]:
    """Step 1: the manifest and its digest. It may be signed, and logged, under an earlier directory
    than the query."""
    signed = read_message("SignedBlindManifest", unpacked(item["manifest"]))
    content = read_message("BlindManifest", signed["manifest"])
    octets, signature = signed["manifest"], signed["signature"]
    ordered = [front.listing, *(found for found in listings.values() if found != front.listing)]
    listed = _first(
        ordered,
        lambda one: require_signed(
            one.partner(owner)["signing_key"], "blind-manifest", octets, signature, "its owner"
        ),
    )
    named = f"spiffe://{listed.federation}/{content['node']}"
    nodes = {node["spiffe_id"] for node in listed.partner(owner)["nodes"]}
    require(content["federation"] == listed.federation, "is of another federation")
    require(content["owner"] == owner and named in nodes, "is of another node")
    name = sha256(in_domain("blind-audience", write_message("BlindAudience", content["audience"])))
    require((content["scheme"], name, content["epoch"]) == place, "is of another class or epoch")
    audience, mandate = content["audience"], front.mandate
    require(mandate["partner_id"] in audience["partners"], "is not for the asker")
    require(mandate["purpose"] in audience["purposes"], "is not for the purpose")
    now = front.header["issued_at"]
    require(content["begins_at"] - SKEW <= now < content["answers_until"], "was not in force")
    _require_logged(ordered, item, sha256(octets), owner)
    return content, sha256(octets)


def _require_logged(
    ordered: Sequence[Listing], item: Mapping[str, Any], digest: bytes, owner: str
) -> None:
    receipt = read_message("Receipt", unpacked(item["receipt"]))
    _first(
        ordered,
        lambda one: proven(receipt, one.gateway()["log_origin"], one.gateway()["log_key"]),
    )
    leaf = read_message("AuditLeaf", receipt["leaf"])
    told = (leaf["type"], leaf["subject"], leaf["manifest_digest"], leaf["partner_id"])
    meant = (_PUBLICATION_LEAF, "manifest-accepted", digest, owner)
    require(told == meant, "is not what the gateway logged")


def _first(ordered: Sequence[Listing], check: Callable[[Listing], object]) -> Listing:
    """The first directory under which something verifies.

    :raises EvidenceFailed: as under the first one, where it verifies under none.
    """
    failed: EvidenceFailed | None = None
    for listed in ordered:
        try:
            check(listed)
        except EvidenceFailed as fault:
            failed = failed or fault
            continue
        return listed
    raise failed or EvidenceFailed("is under no directory of this file")


def _rows(octets: bytes, size: int = ELEMENT) -> list[bytes]:
    require(octets and len(octets) % size == 0, "is not a whole number of elements")
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def _payload(octets: bytes) -> dict[str, Any]:
    layout, record, event, *handling = octets[:8]
    require(layout == 1 and not any(octets[28:]), _ENTRY_LAYOUT)
    days, desk = int.from_bytes(octets[8:10], "big"), int.from_bytes(octets[10:12], "big")
    return {
        "record_type": _word(_RECORD_WORDS, record),
        "event": _word(_EVENT_WORDS, event),
        "handling": _handling(handling) if any(handling) else None,
        "day": days * 86_400,
        "desk": desk,
        "ref": octets[12:28],
    }


def _handling(places: Sequence[int]) -> Content:
    require(all(places) and places[0] <= 5 and places[1] <= 4, _ENTRY_LAYOUT)
    return {
        "tlp": places[0],
        "pap": places[1],
        "europol": _word(_EUROPOL_WORDS, places[2]),
        "source_grade": _word(_SOURCE_WORDS, places[3]),
        "information_grade": _word(_INFORMATION_WORDS, places[4]),
    }


def _word(words: Sequence[str], place: int) -> str:
    require(place <= len(words), _ENTRY_LAYOUT)
    return words[place - 1] if place else ""


def _tell(
    answer: Content, payload: Mapping[str, Any], grade: str, manifest: Content,
    scope: Mapping[str, Any],
) -> None:  # fmt: skip
    """What a hit tells; a record older than the period asked is none."""
    day = payload["day"]
    if day and day + 86_400 <= scope["since"]:
        return
    desks, events = manifest["contact_desks"], scope["events"]
    late = bool(day) and bool(scope["until"]) and day >= scope["until"]
    other = bool(events) and bool(payload["event"]) and payload["event"] not in events
    answer.update(
        hit=True,
        grade=grade,
        contact_desk=desks[payload["desk"] - 1] if 0 < payload["desk"] <= len(desks) else "",
        outside=late or other,
        records=[
            {
                "record_type": payload["record_type"],
                "event": payload["event"],
                "occurred_at": day,
                "ref": payload["ref"],
                "handling": payload["handling"],
            }
        ],
    )
