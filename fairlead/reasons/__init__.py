"""What the product's stable codes say to a person, in that person's language.

Decisions, leaves and messages carry codes; :func:`reason` looks the words up when they are shown.
"""

from fairlead.reasons.catalogue import (
    AUDITOR,
    ENGLISH,
    PLACEHOLDERS,
    Catalogue,
    Entry,
    Explanation,
    Group,
    audience_of,
    catalogue,
    entries,
    groups,
    reason,
)
from fairlead.reasons.language import chosen

__all__ = [
    "AUDITOR",
    "ENGLISH",
    "PLACEHOLDERS",
    "Catalogue",
    "Entry",
    "Explanation",
    "Group",
    "audience_of",
    "catalogue",
    "chosen",
    "entries",
    "groups",
    "reason",
]
