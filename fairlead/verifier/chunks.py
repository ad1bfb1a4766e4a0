"""One query of a case, chunk by chunk: steps 4 to 8 of the procedure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead.verifier.anchors import SKEW, Listing, unpacked
from fairlead.verifier.answered import ANSWERED, Closed, SignedAnswerOf, closed_of
from fairlead.verifier.asked import (
    Front,
    front_of,
    require_case,
    require_terms,
    require_wanted,
)
from fairlead.verifier.finding import MISSHAPEN, Findings, naming, require
from fairlead.verifier.lookup import BlindChunkAsked, blind_found
from fairlead.verifier.sealed import can_open, open_answer_body, reply_pair
from fairlead.verifier.wire import Content, read_message, write_message

STATES = ("sent", "pending", "approved", "denied", "expired")
"""How a query may stand at the asker's node."""
SCOPE_KEYS = frozenset({"since", "until", "events", "tlp", "pap"})
QUERY_KEYS = frozenset(
    {"query_id", "user", "asked_at", "state", "scope", "nonce_seed", "salts", "notes", "chunks"}
)
CHUNK_KEYS = frozenset(
    {"number", "query_id", "query", "intent", "outcome", "outcome_signature", "closing",
     "reply_key", "terms", "keys", "plan", "answers", "lines", "not_asked"}
)  # fmt: skip
ANSWER_KEYS = frozenset(
    {"partner", "header", "signature", "body", "plaintext", "found", "looked", "note"}
)
"""What an item says, and nothing more: the page shows nothing that no rule looks at."""


@dataclass
class QueryCheck:
    """Verifies one item of the kind ``query N`` and writes down what it proves."""

    name: str
    query: Mapping[str, Any]
    items: Mapping[str, Any]
    listings: Mapping[int, Listing]
    findings: Findings
    _fronts: dict[int, Front] = field(default_factory=dict)

    def run(self) -> None:
        """:raises EvidenceFailed: something of it does not verify."""
        require(self.query["state"] in STATES, "has an unknown state")
        self._require_keys()
        for chunk in self.query["chunks"]:
            with naming(f"chunk {int(chunk['number']) + 1}"):
                self._chunk(chunk)
        if not self._fronts:
            self._unproved("", "what is said of it is the word of the asker's node")
            return
        first = next(iter(self._fronts.values()))
        missing = first.chunks - len(self._fronts)
        if missing:
            self._unproved("", f"what became of {missing} of its chunks")
        self._once(first)

    def _require_keys(self) -> None:
        """Its parts say what such parts say."""
        chunks = self.query["chunks"]
        require(self.query.keys() == QUERY_KEYS, MISSHAPEN)
        require(all(chunk.keys() == CHUNK_KEYS for chunk in chunks), MISSHAPEN)
        answers = [answer for chunk in chunks for answer in chunk["answers"]]
        require(all(answer.keys() == ANSWER_KEYS for answer in answers), MISSHAPEN)
        if self.query["scope"] is not None:
            require(self.query["scope"].keys() == SCOPE_KEYS, MISSHAPEN)

    def _once(self, front: Front) -> None:
        """No mandate stands in a file twice."""
        seen = self.findings.facts.setdefault("mandates", [])
        require(front.mandate["mandate_id"].hex() not in seen, "stands there twice")
        seen.append(front.mandate["mandate_id"].hex())

    def _proved(self, where: str, what: str) -> None:
        self.findings.proved.append(f"{self.name}{where}: {what}")

    def _unproved(self, where: str, what: str) -> None:
        self.findings.unproved.append(f"{self.name}{where}: {what}")

    def _chunk(self, chunk: Mapping[str, Any]) -> None:
        where = f", chunk {chunk['number'] + 1}"
        if chunk["query"] is None:
            self._unproved(where, "no signed record of it was kept")
            return
        # 4
        front = self._front(chunk)
        # 5
        closed = closed_of(front, chunk)
        heads = f"the gateway's log between {closed.heads[0].size} and {closed.heads[1].size}"
        self._proved(where, f"who asked, when, why and under which policy; {heads}")
        self._proved(where, f"what became of it at {len(closed.states)} partners")
        if closed.cosigners:
            self._proved(where, f"cosigned by {', '.join(sorted(closed.cosigners))}")
        # 6
        if chunk["terms"] is None:
            self._unproved(where, "its terms and the content of its answers are not in this file")
            closed_up = all(answer["plaintext"] is None for answer in chunk["answers"])
            require(closed_up and chunk["reply_key"] is None, MISSHAPEN)
            return
        self._require_asked(front, closed, chunk)
        self._proved(where, "which terms, for which period, of which partners")
        # 7
        private = self._reply_key(where, front, chunk)
        for given in chunk["answers"]:
            answer = closed.answers[given["partner"]]
            with naming(f"answer of {answer.partner_id}"):
                self._answer(where, front, chunk, answer, given, private)

    def _front(self, chunk: Mapping[str, Any]) -> Front:
        front = front_of(unpacked(chunk["query"]), self.listings)
        require(front.header["query_id"].hex() == chunk["query_id"], "has another id")
        require(front.header["chunk"] == chunk["number"], "stands at another place")
        require_case(front, self.items["case"])
        about = self.items["about"]
        require(front.mandate["partner_id"] == about["partner"], "is of another partner")
        require(front.user.name == self.query["user"], "is by another user")
        begins, ends = front.mandate["issued_at"] - SKEW, front.mandate["expires_at"]
        require(begins <= self.query["asked_at"] <= ends, "is of another time")
        for other in self._fronts.values():
            same = other.signed["mandate"] == front.signed["mandate"]
            require(same, "is of another query's mandate")
        require(chunk["number"] not in self._fronts, "stands there twice")
        self._fronts[chunk["number"]] = front
        return front

    def _scope(self) -> dict[str, Any]:
        said = self.query["scope"]
        scope = {key: said[key] for key in ("since", "until", "events", "tlp", "pap")}
        numbers = [value for key, value in scope.items() if key != "events"]
        require(all(type(number) is int for number in numbers), MISSHAPEN)
        require(all(isinstance(event, str) for event in scope["events"]), MISSHAPEN)
        return scope

    def _require_asked(self, front: Front, closed: Closed, chunk: Mapping[str, Any]) -> None:
        with naming("terms"):
            seed = unpacked(self.query["nonce_seed"])
            require_terms(front, chunk["terms"], seed, self._scope())
        for partner in closed.states:
            with naming(f"asking {partner}"):
                require(partner in self.query["salts"], "is not named by the user's mandate")
                require_wanted(front, partner, unpacked(self.query["salts"][partner]))

    def _reply_key(self, where: str, front: Front, chunk: Mapping[str, Any]) -> Any:
        """The private key that opens the answers; None where nothing is opened."""
        if chunk["reply_key"] is None:
            closed_up = all(answer["plaintext"] is None for answer in chunk["answers"])
            require(closed_up, "shows what an answer says without the key that opens it")
            return None
        if not can_open():
            self._unproved(
                where,
                "that its answers open to what is shown: the cryptography package of this computer "
                "is too old or without ML-KEM (version 50 has it)",
            )
            return None
        with naming("reply key"):
            private, public = reply_pair(unpacked(chunk["reply_key"]))
            require(public == front.header["reply_key"], "is not the one of this query")
        return private

    def _answer(
        self, where: str, front: Front, chunk: Mapping[str, Any], answer: SignedAnswerOf,
        given: Mapping[str, Any], private: Any,
    ) -> None:  # fmt: skip
        if answer.header["status"] != ANSWERED:
            require(given["plaintext"] is None and given["found"] is None, MISSHAPEN)
            return
        where += f", answer of {answer.partner_id}"
        if given["plaintext"] is None:
            require(given["found"] is None, MISSHAPEN)
            self._unproved(where, "what it says; it is signed by its owner, and not opened here")
            return
        body = self._opened(where, front, answer, unpacked(given["plaintext"]), private)
        # 8
        if front.blind:
            self._blind(where, front, chunk, given, body)
            return
        places = [said["index"] for said in body["answers"]]
        whole = places == list(range(len(chunk["terms"]))) and not body["evaluated"]
        require(whole and given["found"] is None, "does not cover every term")

    def _opened(
        self, where: str, front: Front, answer: SignedAnswerOf, plain: bytes, private: Any
    ) -> Content:
        require(answer.body, "has no sealed body beside what it is to say")
        body = read_message("AnswerBody", plain)
        query_id = front.header["query_id"]
        bound = (body["query_id"], body["partner_id"]) == (query_id, answer.partner_id)
        require(bound, "is of another query")
        if private is None:
            self._unproved(where, "that it says what is shown")
        else:
            opened = open_answer_body(private, answer.body, query_id, answer.partner_id)
            require(opened == plain, "says something else than what is shown")
            self._proved(where, "opened with the query's reply key, it says what is shown")
        return body

    def _blind(
        self, where: str, front: Front, chunk: Mapping[str, Any], given: Mapping[str, Any],
        body: Content,
    ) -> None:  # fmt: skip
        plan, terms = chunk["plan"], chunk["terms"]
        asked = BlindChunkAsked(front, terms, chunk["keys"], plan, self._scope())
        compared = asked.require_keys()
        owner, octets = str(given["partner"]), unpacked(given["found"])
        found = blind_found(asked, owner, body, given["looked"] or (), self.listings)
        told = read_message("AnswerBody", octets)
        places = [said["index"] for said in told["answers"]]
        require(places == list(range(len(terms))), "does not cover every term")
        meant = list(found.answers)
        for place in found.open_places:
            meant[place] = told["answers"][place]
        query_id = front.header["query_id"]
        said = {"query_id": query_id, "partner_id": owner, "answers": meant}
        require(write_message("AnswerBody", said) == octets, "found something else than is shown")
        self._proved(where, "evaluated under its manifest's key, and found as shown")
        self._rest(where, found.unproved)
        if found.open_places:
            self._unproved(where, f"what was found of {len(found.open_places)} terms")
        if found.absent:
            count = len(found.absent)
            self._unproved(where, f"that {count} terms shown as no hit are not in the snapshot")
        if not compared:
            self._unproved(where, "that the match keys asked are those of the persons shown")

    def _rest(self, where: str, reasons: tuple[str, ...]) -> None:
        for reason in reasons:
            self._unproved(where, reason)
