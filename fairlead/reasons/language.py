"""Which language a person reads: their own choice, else their system's, else English."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fairlead.reasons.catalogue import ENGLISH, catalogue

OWN = "FAIRLEAD_LANG"
"""The variable that decides, whatever the system says."""
_SYSTEM = ("LC_ALL", "LC_MESSAGES", "LANG")
_NAME = re.compile(r"[a-z]{2}(?![a-z])")


def chosen(environ: Mapping[str, str]) -> str:
    """The language for an environment, one of the catalogue's languages.

    ``nl``, ``nl_BE.UTF-8`` and ``NL-nl`` are Dutch; ``C``, ``POSIX`` and what there is no file of
    are English.
    """
    named = next((environ[name] for name in (OWN, *_SYSTEM) if environ.get(name)), "")
    found = _NAME.match(named.lower())
    return found[0] if found and found[0] in catalogue().languages else ENGLISH
