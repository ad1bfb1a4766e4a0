"""What an owner does at the register: the acts behind ``reports``, ``enquiries``, ``outcomes``.

An id is given by whoever enters something, so that typing it again changes nothing, and typing
something else under it is refused unless it is called a correction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairlead.cubes.registry import Registry
from fairlead.errors import Conflict, InvalidInput, NotFound, Stale
from fairlead.names import check_code
from node.register.book import ABOVE, PLACE, Key, Register, Row, placed
from node.register.checking import check, first_code
from node.register.entry import Entry, Noun, before_it, check_id, day, kilograms
from node.register.facts import KIND, OUTCOME
from node.register.listing import listed

ANONYMOUS = "anonymous"
MAX_REPORTER = 200
Json = dict[str, Any]
Known = Mapping[Key, Row]


@dataclass(slots=True, kw_only=True)
class RegisterDesk:
    """Takes entries; each call is one act of one person, on the record.

    :param registry: the cubes in force now; parsing them may take a moment.
    """

    register: Register
    registry: Callable[[], Registry]
    clock: Callable[[], float]

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Json]]]:
        """Command of the control socket → act."""
        return {
            "report-add": self.add_report,
            "report-feedback": self.give_feedback,
            "report-reporter": self.reporter,
            "enquiry-open": self.open_enquiry,
            "enquiry-close": self.close_enquiry,
            "outcome-add": self.add_outcome,
            "register-withdraw": self.withdraw,
            "register-list": self.listed,
        }

    # ── Reports ──────────────────────────────────────────────────────────────────────────────

    async def add_report(
        self,
        *,
        entry: str,
        by: str,
        on: str,
        kind: str = ANONYMOUS,
        happened: str = "",
        no_feedback: bool = False,
        reporter: str = "",
        correct: bool = False,
        **codes: str,
    ) -> Json:
        """Enter a report.

        :param codes: ``place``, ``event`` and so on, by dimension.
        :raises InvalidInput: misspelt, not the registry's, or not enough to be counted.
        :raises Conflict: REGISTER_TAKEN.
        """
        if len(reporter) > MAX_REPORTER or (reporter and kind == ANONYMOUS):
            raise InvalidInput(
                "a report from nobody who is known has no reporter",
                reasons=("REGISTER_REPORTER",),
                remedy="leave the reporter out, or say how the report was made: --kind named",
            )
        now = self.clock()
        made = Entry(
            noun=Noun.REPORT,
            id=check_id(entry),
            on=day(on, now=now),
            happened=day(happened, now=now) if happened else None,
            due=not no_feedback,
            codes=_codes({**codes, KIND: kind}),
        )
        put = await self._put(made, by=by, correct=correct)
        if reporter:
            if not await self.register.remember(made.id, reporter, by=by, correct=correct):
                raise _taken(made)
        elif kind == ANONYMOUS and put["changed"] and self.register.has_reporter(made.id):
            await self.register.forget(made.id, by=by)
        return put

    async def give_feedback(self, *, entry: str, by: str, on: str, correct: bool = False) -> Json:
        """Say on which day whoever made a report heard back.

        :raises NotFound: REGISTER_UNKNOWN. :raises Conflict: REGISTER_TAKEN.
        """
        return await self._done(Noun.REPORT, entry, by=by, on=on, correct=correct)

    async def reporter(self, *, entry: str, by: str, forget: bool = False) -> Json:
        """Who made a report, on the record; or forget it.

        :raises NotFound: REGISTER_UNKNOWN.
        """
        check_code(by)
        known = await asyncio.to_thread(self.register.as_of)
        if forget and (Noun.REPORT, check_id(entry)) in known:  # also of one that was withdrawn
            await self.register.forget(entry, by=by)
            return {"id": entry, "reporter": None}
        _found(known, Noun.REPORT, check_id(entry))
        return {"id": entry, "reporter": await self.register.reporter(entry, by=by) or None}

    # ── Enquiries ────────────────────────────────────────────────────────────────────────────

    async def open_enquiry(
        self,
        *,
        entry: str,
        by: str,
        on: str,
        report: str = "",
        place: str = "",
        correct: bool = False,
    ) -> Json:
        """Enter an enquiry; its place is the report's unless it is stated.

        :raises NotFound: REGISTER_UNKNOWN: the report. Else as :meth:`add_report`.
        """
        known = await asyncio.to_thread(self.register.as_of)
        if report:
            _found(known, Noun.REPORT, check_id(report))
        made = Entry(
            noun=Noun.ENQUIRY,
            id=check_id(entry),
            on=day(on, now=self.clock()),
            of=report,
            codes=_codes({PLACE: place}),
        )
        return await self._put(made, by=by, correct=correct)

    async def close_enquiry(self, *, entry: str, by: str, on: str, correct: bool = False) -> Json:
        """Say on which day an enquiry ended; what came of it has to stand there first.

        :raises NotFound: REGISTER_UNKNOWN. :raises Stale: REGISTER_NO_OUTCOME.
        """
        return await self._done(Noun.ENQUIRY, entry, by=by, on=on, correct=correct)

    # ── Outcomes ─────────────────────────────────────────────────────────────────────────────

    async def add_outcome(
        self,
        *,
        entry: str,
        by: str,
        on: str,
        enquiry: str,
        kg: int | None = None,
        correct: bool = False,
        **codes: str,
    ) -> Json:
        """Enter what came of an enquiry; its place is the enquiry's unless it is stated.

        :raises NotFound: REGISTER_UNKNOWN: the enquiry. Else as :meth:`add_report`.
        """
        known = await asyncio.to_thread(self.register.as_of)
        above = _found(known, Noun.ENQUIRY, check_id(enquiry))
        registry = await asyncio.to_thread(self.registry)
        if codes.get(OUTCOME) == first_code(registry, OUTCOME):
            raise InvalidInput(
                "an enquiry of which nothing came yet has no outcome",
                reasons=("REGISTER_CODE",),
                remedy="leave it open: fairlead-node enquiries list",
            )
        made = Entry(
            noun=Noun.OUTCOME,
            id=check_id(entry),
            on=day(on, now=self.clock(), after=above.on),
            of=enquiry,
            kg=None if kg is None else kilograms(kg),
            codes=_codes(codes),
        )
        return await self._put(made, by=by, correct=correct)

    # ── All of them ──────────────────────────────────────────────────────────────────────────

    async def take(self, entries: Sequence[Entry], *, by: str) -> int:
        """Enter many at once, in one act, all of them or none: of a system that keeps them. Those
        that the register has already are left out.

        :returns: how many were added. :raises Conflict: REGISTER_TAKEN. Else as the single acts.
        """
        check_code(by)
        registry = await asyncio.to_thread(self.registry)

        def decide(known: Known) -> Sequence[Entry]:
            seen, fresh = dict(known), []
            for made in entries:
                key = made.noun, check_id(made.id)
                if key in seen:
                    if seen[key].entry != made:
                        raise _taken(made)
                    continue
                if made.of:
                    _found(seen, ABOVE[made.noun], made.of)
                seen[key] = Row(number=0, revision=0, recorded_ms=0, entry=made)
                check(placed(made, seen), registry)
                fresh.append(made)
            return fresh

        return len(await self.register.record(decide, subject="register-recorded", by=by))

    async def withdraw(self, *, noun: str, entry: str, by: str) -> Json:
        """Say that something was entered by mistake; it stays in the register and counts nowhere.

        :raises NotFound: REGISTER_UNKNOWN. :raises Conflict: REGISTER_FOLLOWED.
        """
        check_code(by)
        kind = _noun(noun)

        def decide(known: Known) -> Sequence[Entry]:
            row = known.get((kind, check_id(entry)))
            if row is not None and row.entry.withdrawn:
                return ()
            found = _found(known, kind, entry)
            below = next((one for one, above in ABOVE.items() if above is kind), None)
            if below is not None and _following(known, below, entry):
                raise _followed(below)
            if kind is Noun.OUTCOME and _rests_on(known, found):
                raise _followed(Noun.ENQUIRY)
            return (replace(found, withdrawn=True),)

        rows = await self.register.record(decide, subject="register-withdrawn", by=by)
        return {"id": entry, "changed": bool(rows)}

    async def listed(self, *, noun: str, revisions: bool = False) -> Json:
        """The entries of one noun as they are now, or every row of them; no reporter."""
        rows = await asyncio.to_thread(self.register.rows)
        return {"entries": listed(rows, _noun(noun), revisions=revisions)}

    async def _put(self, made: Entry, *, by: str, correct: bool) -> Json:
        """Enter or correct. What was said of an id once may be said again, and changes nothing.

        :raises Conflict: REGISTER_TAKEN: something else stands under it.
        """
        check_code(by)
        registry = await asyncio.to_thread(self.registry)
        rows = await asyncio.to_thread(self.register.rows)
        known = {(row.entry.noun, row.entry.id): row for row in rows}
        check(placed(made, known), registry)
        before = [
            row.entry.began
            for row in rows
            if (row.entry.noun, row.entry.id) == (made.noun, made.id)
        ]

        def decide(known: Known) -> Sequence[Entry]:
            row = known.get((made.noun, made.id))
            if row is None:
                _check_above(known, made)
                return (made,)
            now = row.entry
            if not now.withdrawn and (now.began == made or (made in before and not correct)):
                return ()
            if not correct:
                raise _taken(made)
            if now.done is not None and now.done < made.on:
                raise before_it()
            _check_above(known, made)
            if made.of != now.of and made.noun is Noun.OUTCOME and _rests_on(known, now):
                raise _followed(Noun.ENQUIRY)
            return (replace(made, done=now.done),)

        subject = "register-corrected" if correct else "register-recorded"
        put = await self.register.record(decide, subject=subject, by=by)
        return {"id": made.id, "changed": bool(put)}

    async def _done(self, noun: Noun, entry: str, *, by: str, on: str, correct: bool) -> Json:
        check_code(by)
        check_id(entry)

        def decide(known: Known) -> Sequence[Entry]:
            if noun is Noun.ENQUIRY and not _following(known, Noun.OUTCOME, entry):
                raise _nothing_came()
            found = _found(known, noun, entry)
            date = day(on, now=self.clock(), after=found.on)
            if found.done == date:
                return ()
            if found.done is not None and not correct:
                raise _taken(found)
            return (replace(found, done=date),)

        subject = "register-corrected" if correct else "register-recorded"
        rows = await self.register.record(decide, subject=subject, by=by)
        return {"id": entry, "changed": bool(rows)}


def _noun(text: str) -> Noun:
    if text not in set(Noun):
        raise InvalidInput("the register has no such entries", reasons=("REGISTER_NOUN",))
    return Noun(text)


def _codes(stated: Mapping[str, str]) -> dict[str, str]:
    return {name: code for name, code in stated.items() if code}


def _found(known: Known, noun: Noun, entry: str) -> Entry:
    row = known.get((noun, entry))
    if row is None or row.entry.withdrawn:
        raise NotFound(
            "the register has nothing of this id, or it was withdrawn",
            reasons=("REGISTER_UNKNOWN",),
            remedy=f"fairlead-node {noun.plural} list",
        )
    return row.entry


def _check_above(known: Known, made: Entry) -> None:
    """What an entry follows may have been withdrawn while it was typed."""
    if made.of:
        _found(known, ABOVE[made.noun], made.of)


def _following(known: Known, noun: Noun, entry: str) -> list[Entry]:
    """What follows from an entry and is not withdrawn."""
    return [
        row.entry
        for row in known.values()
        if row.entry.noun is noun and row.entry.of == entry and not row.entry.withdrawn
    ]


def _rests_on(known: Known, outcome: Entry) -> bool:
    """Whether an enquiry was closed with this outcome alone."""
    enquiry = known.get((Noun.ENQUIRY, outcome.of))
    alone = len(_following(known, Noun.OUTCOME, outcome.of)) == 1
    return alone and enquiry is not None and enquiry.entry.done is not None


def _nothing_came() -> Stale:
    return Stale(
        "an enquiry is closed once it says what came of it",
        reasons=("REGISTER_NO_OUTCOME",),
        remedy="fairlead-node outcomes add ID --enquiry ID --outcome CODE --on DAY --by USER",
    )


def _followed(by: Noun) -> Conflict:
    return Conflict(
        "something that is not withdrawn follows from this",
        reasons=("REGISTER_FOLLOWED",),
        remedy=f"correct or withdraw that first: fairlead-node {by.plural} list",
    )


def _taken(made: Entry) -> Conflict:
    return Conflict(
        "the register says something else under this id, or it was withdrawn",
        reasons=("REGISTER_TAKEN",),
        remedy=f"choose another id, or add --correct: fairlead-node {made.noun.plural} list",
    )
