"""How figures are protected: in words for whoever reads them, and as a digest of the rules."""

from __future__ import annotations

import json
from dataclasses import asdict

from fairlead import signing
from fairlead.disclosure.rules import Rules
from fairlead.strategic.terms import FINAL_AFTER_S, SCALE

DOMAIN = "figures-rules"
_DAY_S = 24 * 3600


def digest_of(rules: Rules) -> bytes:
    """SHA-256 of the rules and of what is no rule but fixed, under its domain."""
    said = asdict(rules) | {"scale": SCALE, "final_after_s": FINAL_AFTER_S}
    octets = json.dumps(said, sort_keys=True, separators=(",", ":"), default=str).encode()
    return signing.digest(signing.preimage(DOMAIN, octets))


def note_of(rules: Rules) -> str:
    """The note of every release that is made by these rules."""
    return (
        "Each figure is a sum of what the participating partners counted; nobody saw any partner's "
        f"own. Their shares of noise add up to a discrete Laplace distribution of scale {SCALE} "
        f"(of a sum: {SCALE} of its steps), and figures are rounded to multiples of "
        f"{rules.round_to} (of a sum: steps). A figure is shown where at least "
        f"{rules.contributors + 1} partners contribute to it and {rules.records} or more records "
        f"count; where one partner could make up most of it, at least "
        f"{rules.dominance_contributors + 1} partners and none that does. What would bound a "
        f"withheld figure more closely than {rules.width}, or {float(rules.share):.0%} of it, is "
        "withheld too. A figure all of whose parts are shown is their total; one marked as partial "
        "is the total of those parts that are. Errors hold at 95 per cent: noise and rounding; of "
        "totals the root of the sum of squares, small parts in full. Rates are made of shown "
        "figures, medians of histograms with noise, with an error that reaches to the edges of "
        "bars. First figures are made once a period is over, final ones "
        f"{FINAL_AFTER_S // _DAY_S} days later."
    )
