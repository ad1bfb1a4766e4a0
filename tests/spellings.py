"""Texts as people and machines write identifiers: Hypothesis strategies, for tests and fuzzing."""

from __future__ import annotations

from hypothesis import strategies as st

from fairlead import identifiers

_AWKWARD = st.sampled_from(
    "МСОКАВЕНТРХУІЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧ０１２９ＡＺ：／［］٠٣۹①Ⓜⅷßŉǰΐﬁſıİ"
    "\x00\ud800\udfff\ufeff\u200b\u0308\u00a0\u2011\U0001d7d8"
    "MSCUJZ0123456789:/|-[]() NLBDIMO"
    "abcdefxé@.+?*#%<>_,;'’´ー한ع\u0903"
)
_EXAMPLES = tuple(text for scheme in identifiers.CATALOGUE.values() for text in scheme.examples)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """A right example with pieces cut out, put in, doubled, or in another case."""
    text = draw(st.sampled_from(_EXAMPLES))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 3))
        text = text[:at] + draw(st.text(_AWKWARD, max_size=3)) + text[at + cut :]
    return draw(st.sampled_from([text, text.lower(), text.upper(), text.swapcase(), text + text]))


ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=80),
    st.text(_AWKWARD, max_size=24),
    st.text(st.characters(categories=["Cs", "Lu", "Lo", "Nd", "Mn", "So"]), max_size=20),
    _damaged(),
)
"""Any string at all, with a leaning towards what nearly is an identifier."""

ANY_SCHEME = st.one_of(st.sampled_from(identifiers.SCHEMES), st.text(max_size=8))

ANY_ISSUER = st.one_of(
    st.just(""),
    st.sampled_from(["BE", "el", "XI", "GB", "MAEU", "9074729", "BEANR", "PORTSYS", "ETH", "BTC",
                     "LTC", "1980-02-01", "03/04/1980", "?"]),
    ANY_TEXT,
)  # fmt: skip
"""What may stand beside an identifier."""
