"""The attacker's judgement: four classifiers, fitted and chosen on one half of the trials.

Every number is cut into at most sixteen bins at the quantiles of the fitting half. Of the numbers,
one alone, the best thirty-two as a naive Bayes, and the same as a logistic regression may guess;
of the octets, the field whose repetitions tell most. Which of the four guesses is decided within
the training half; the other half of the trials is seen once.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress

BINS, PER_BIN = 16, 12
"""Bins of a number, at most, and trials of the training half that a bin takes at least."""
BEST = 32
FEW, FOLDS = 200, 5
ROUNDS, STEP, DECAY = 60, 0.5, 0.002
ABSENT = -1e9

Guess = Callable[[int], float]
"""Trial → how much speaks for label 1; negative for label 0."""


@dataclass(slots=True)
class Table:
    """Trials in rows, what was seen in columns; whatever a trial lacks is :data:`ABSENT`."""

    size: int = 0
    numbers: dict[str, array[float]] = field(default_factory=dict)
    prints: dict[str, array[int]] = field(default_factory=dict)

    def add(self, numbers: Mapping[str, float], prints: Mapping[str, int]) -> None:
        """Add one trial."""
        _append(self.numbers, numbers, self.size, "f", ABSENT)
        _append(self.prints, prints, self.size, "q", 0)
        self.size += 1


def _append(
    columns: dict[str, array], row: Mapping[str, float], size: int, kind: str, absent: float
) -> None:
    for name, value in row.items():
        column = columns.get(name)
        if column is None:
            column = columns[name] = array(kind, [absent]) * size  # type: ignore[call-overload]
        column.append(value)
    for column in columns.values():
        if len(column) == size:
            column.append(absent)


@dataclass(slots=True)
class Binned:
    """A table whose numbers are small: one octet a trial and column."""

    size: int
    train: Sequence[int]
    columns: dict[str, bytes]
    prints: dict[str, array[int]]


def binned(table: Table, train: Sequence[int]) -> Binned:
    """Cut every column that is not constant at the quantiles of the training half."""
    columns, most = {}, max(2, min(BINS, len(train) // PER_BIN))
    for name, values in table.numbers.items():
        seen = sorted(values[i] for i in train)
        if seen[0] == seen[-1]:
            continue
        distinct = sorted(set(seen))
        if len(distinct) > most:
            distinct = sorted({seen[len(seen) * n // most] for n in range(1, most)})
        else:
            distinct = distinct[1:]
        columns[name] = bytes([bisect_right(distinct, value) for value in values])
    repeated = {
        name: prints
        for name, prints in table.prints.items()
        if len({prints[i] for i in train}) not in {1, len(train)}
    }
    return Binned(size=table.size, train=train, columns=columns, prints=repeated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a guesser did on the half it had not seen, and what it went by."""

    right: int
    of: int
    by: str


@dataclass(frozen=True, slots=True)
class Fit:
    """Trials with labels to learn from, and the columns that tell most about these labels."""

    seen: Binned
    labels: Sequence[int]
    trials: Sequence[int]
    ranked: Sequence[tuple[bytes, list[float], str]]

    @classmethod
    def of(cls, seen: Binned, labels: Sequence[int], trials: Sequence[int]) -> Fit:
        """Rank every column."""
        told = [(*_leanings(column, labels, trials), name) for name, column in seen.columns.items()]
        best = sorted(told, reverse=True)[:BEST]
        ranked = [(seen.columns[name], leanings, name) for _, leanings, name in best]
        return cls(seen, labels, trials, ranked)


def judge(seen: Binned, labels: Sequence[int]) -> Verdict:
    """Choose a kind within the training half, fit it on all of that, score the other half."""
    train = list(seen.train)
    best = _chosen(seen, labels, train)
    guess, by = KINDS[best](Fit.of(seen, labels, train))
    known = set(train)
    scored = [i for i in range(seen.size) if i not in known]
    return Verdict(right=_right(guess, labels, scored), of=len(scored), by=f"{best}: {by}")


def _chosen(seen: Binned, labels: Sequence[int], train: Sequence[int]) -> str:
    """The kind that guesses best what it was not fitted on: a third of the training half, or, of
    few trials, each fifth in turn."""
    folds, turns = (FOLDS, FOLDS) if len(train) < FEW else (3, 1)
    right = dict.fromkeys(KINDS, 0)
    for turn in range(turns):
        apart = train[turn::folds]
        rest = sorted(set(train) - set(apart))
        fit = Fit.of(seen, labels, rest)
        for kind, made in KINDS.items():
            right[kind] += _right(made(fit)[0], labels, apart)
    return max(right, key=right.__getitem__)


def _right(guess: Guess, labels: Sequence[int], trials: Sequence[int]) -> int:
    return sum((guess(i) > 0) == labels[i] for i in trials)


# ── Numbers ──────────────────────────────────────────────────────────────────────────────────


def _leanings(
    column: bytes, labels: Sequence[int], trials: Sequence[int]
) -> tuple[float, list[float]]:
    """How much a column tells (nats a trial, less what chance tells in as many bins), and what
    each of its bins says for label 1."""
    values = bytes(map(column.__getitem__, trials))
    ones = bytes(compress(values, map(labels.__getitem__, trials)))
    size, of_one = len(values), len(ones)
    of_zero, told, leanings = size - of_one, 0.0, []
    for n in range(BINS + 1):
        both, one = values.count(n), ones.count(n)
        leaning = math.log((one + 0.5) / (of_one + 8) * (of_zero + 8) / (both - one + 0.5))
        leanings.append(leaning)
        told += (2 * one - both) / size * leaning - (both > 0) / size
    return told, leanings


def one_number(fit: Fit) -> tuple[Guess, str]:
    """The column that tells most, bin by bin."""
    if not fit.ranked:
        return _silent
    column, leanings, name = fit.ranked[0]
    return (lambda i: leanings[column[i]]), name


def many_numbers(fit: Fit) -> tuple[Guess, str]:
    """Naive Bayes over the columns that tell most."""
    chosen = fit.ranked
    return (lambda i: sum(said[column[i]] for column, said, _ in chosen)), _named(fit)


def weighted_numbers(fit: Fit) -> tuple[Guess, str]:
    """Logistic regression over what those columns' bins say."""
    chosen = fit.ranked
    if not chosen:
        return _silent

    def row(i: int) -> list[float]:
        return [said[column[i]] for column, said, _ in chosen]

    rows = [row(i) for i in fit.trials]
    wanted = [fit.labels[i] for i in fit.trials]
    weights = [1 / len(chosen)] * len(chosen)
    for _ in range(ROUNDS):
        slope = [0.0] * len(weights)
        for values, label in zip(rows, wanted, strict=True):
            score = sum(map(float.__mul__, weights, values))
            error = label - 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))
            slope = [s + error * v for s, v in zip(slope, values, strict=True)]
        weights = [
            w * (1 - DECAY) + STEP * s / len(rows) for w, s in zip(weights, slope, strict=True)
        ]
    return (lambda i: sum(map(float.__mul__, weights, row(i)))), _named(fit)


def _named(fit: Fit) -> str:
    return f"{len(fit.ranked)} columns, first of them {fit.ranked[0][2] if fit.ranked else 'none'}"


# ── Octets ───────────────────────────────────────────────────────────────────────────────────


def remembered(fit: Fit) -> tuple[Guess, str]:
    """The field whose octets, seen before with a label, told most about the next one."""
    best: tuple[int, str, Counter[int]] | None = None
    for name, prints in fit.seen.prints.items():
        votes, right = Counter[int](), 0
        for i in fit.trials:
            lean = votes[prints[i]]
            right += 0 if lean == 0 else 1 if (lean > 0) == fit.labels[i] else -1
            votes[prints[i]] += 1 if fit.labels[i] else -1
        if best is None or right > best[0]:
            best = right, name, votes
    if best is None:
        return _silent
    _, name, tally = best
    prints = fit.seen.prints[name]
    return (lambda i: tally[prints[i]]), name


_silent: tuple[Guess, str] = (lambda _: 0.0), "nothing"

KINDS: dict[str, Callable[[Fit], tuple[Guess, str]]] = {
    "one number": one_number,
    "naive Bayes": many_numbers,
    "logistic regression": weighted_numbers,
    "repeated octets": remembered,
}
