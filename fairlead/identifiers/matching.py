"""Match keys: what a blind query looks a term up by (PROTOCOL §3).

Most schemes have one, the canonical value itself. A scheme with several has families of keys, each
with the grade of a hit by it. An asker blinds :func:`asked_keys`, whose number depends on the
scheme alone, so that the number of elements tells nothing about a term; an owner publishes
:func:`held_keys`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchKey:
    """One OPRF input of a term, and how well whoever is found by it matches: ``strong``,
    ``medium`` or ``weak``, or empty where the scheme knows equality alone."""

    value: str
    grade: str = ""


def keys_per_term(scheme: str) -> int:  # noqa: ARG001  (every scheme has one so far)
    """How many keys an asker blinds for each term of a scheme; it depends on nothing else."""
    return 1


def asked_keys(scheme: str, value: str) -> tuple[MatchKey, ...]:  # noqa: ARG001
    """The keys of a term to ask by, exactly :func:`keys_per_term` of them, best grade first."""
    return (MatchKey(value=value),)


def held_keys(scheme: str, value: str) -> tuple[MatchKey, ...]:  # noqa: ARG001
    """The keys under which an owner publishes a term, best grade first, each once."""
    return (MatchKey(value=value),)
