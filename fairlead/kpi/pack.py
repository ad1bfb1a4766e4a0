"""The pack: its page, its bundle, its signature."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.escaping import marked_up
from fairlead.kpi import figures, method
from fairlead.kpi.bundle import bundle
from fairlead.kpi.contents import Contents
from fairlead.kpi.page import heading, page, paragraph
from fairlead.kpi.signature import bundle_name, page_name, sign_pack, signature_name

_PAGES = (
    ("glance", "The year at a glance"),
    ("displacement", "From sea ports to inland ports"),
    ("modus", "Modi operandi"),
    ("priorities", "Priorities"),
    ("pending", "Not yet collected"),
    ("figures", "Every figure, with its definition"),
    ("method", "Method and rules"),
    ("signs", "How to read this"),
)


def pack_files(contents: Contents) -> dict[str, bytes]:
    """The two files that are signed, by their names: the page and the bundle.

    The same contents give the same octets, whenever and wherever it is run.
    """
    year = contents.year
    return {page_name(year): kpi_page(contents).encode(), bundle_name(year): bundle(contents)}


def make_pack(contents: Contents, *, signer: str, key: Ed25519PrivateKey) -> dict[str, bytes]:
    """The three files by their names, for whoever holds the key: the signature over both too.

    :param signer: the partner whose key it is.
    """
    files, year = pack_files(contents), contents.year
    signature = sign_pack(files, year=year, signer=signer, key=key)
    return {**files, signature_name(year): signature}


def kpi_page(contents: Contents) -> str:
    """The page that a person opens."""
    return page(f"{contents.federation}: KPI pack {contents.year}", _body(contents))


def _body(contents: Contents) -> Iterator[str]:
    yield heading(1, f"KPI pack {contents.year}")
    yield paragraph(f"{contents.federation}. Figures as of {contents.day.isoformat()}.", "soft")
    yield from method.summary(contents)
    links = "".join(f'<li><a href="#{name}">{marked_up(title)}</a></li>' for name, title in _PAGES)
    yield f"<nav><ul>{links}</ul></nav>"
    yield from figures.glance(contents)
    yield from figures.displacement(contents)
    yield from figures.modus(contents)
    yield from method.priorities(contents)
    yield from method.not_collected(contents)
    yield from figures.cubes(contents)
    yield from method.method(contents)
    yield from method.signs()
