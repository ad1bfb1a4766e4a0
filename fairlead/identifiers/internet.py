"""The internet: addresses, mail, domains, and accounts in a system.

Look-alike letters are *not* folded in a domain: a name in another script is another domain, and
that is what an analyst looks for; it is written as its A-labels (RFC 3490). Defanged spellings
(``hxxps://example[.]org``) are read.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from fairlead.identifiers.credential import organisation
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, issued, plain

_DOT = re.compile(r"\s*[\[({]\s*(?:\.|dot)\s*[\])}]\s*")
_AT = re.compile(r"\s*[\[({]\s*(?:@|at)\s*[\])}]\s*")
_PROTOCOL = re.compile(r"\A(?:h(?:tt|xx)ps?|ftp)://")
_PORT = re.compile(r":[0-9]{1,5}\Z")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\Z")
_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._@+\\-]{0,63}\Z")
_V4_PORT = re.compile(r"\A([0-9.]+):[0-9]{1,5}\Z")
_STOPS = str.maketrans("。．｡", "...")


def _clean(raw: str) -> str:
    """Compatible lower-case characters without control and format characters."""
    text = unicodedata.normalize("NFKC", raw.translate(_STOPS)).lower()
    text = "".join(c for c in text if unicodedata.category(c) not in {"Cc", "Cf"})
    return _DOT.sub(".", text.strip())


def domain_name(text: str) -> str | None:
    """The A-label form of a cleaned domain name of two or more labels, else None."""
    try:
        name = text.removesuffix(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    labels = name.split(".")
    fits = len(labels) > 1 and len(name) <= 253 and not labels[-1].isdigit()
    return name if fits and all(_LABEL.match(label) for label in labels) else None


def _domain(raw: str) -> Reading | None:
    text = _PROTOCOL.sub("", _clean(raw))
    host = re.split(r"[/?#]", text, maxsplit=1)[0]
    name = domain_name(_PORT.sub("", host))
    return (name, Validity.FORMAT_OK) if name else None


def _email(raw: str) -> Reading | None:
    text = _AT.sub("@", _clean(raw))
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1]
    local, _, host = text.removeprefix("mailto:").rpartition("@")
    name = domain_name(host)
    if name is None or not _LOCAL.match(local) or len(local) > 64:
        return None
    return f"{local}@{name}", Validity.FORMAT_OK


def _ip(raw: str) -> Reading | None:
    text = _clean(raw)
    if match := _V4_PORT.match(text):
        text = match[1]
    text = text.removeprefix("[").partition("]")[0].partition("%")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.compressed, Validity.FORMAT_OK


def _account(raw: str, _: str) -> Reading | None:
    text = _clean(raw)
    return (text, Validity.FORMAT_OK) if _ACCOUNT.match(text) else None


SCHEMES = (
    plain(
        "email",
        "Mail address",
        "form",
        "Someone <a.person@example.org>",
        "a.person[at]example[.]org",
        read=_email,
        exact=True,
        recognised=True,
        personal=True,
    ),
    plain(
        "ip-address",
        "IP address, version 4 or 6",
        "form; leading zeros are refused, because they may be octal",
        "192.0.2.17",
        "2001:db8::17",
        read=_ip,
        exact=True,
        recognised=True,
    ),
    plain(
        "domain",
        "Domain name",
        "form; written as A-labels",
        "hxxps://port-example[.]org/login",
        read=_domain,
        exact=True,
    ),
    issued(
        "account",
        "Account in a system",
        "form: up to 64 letters, digits and . _ @ + - behind the system",
        "PORTSYS:j.doe",
        read=_account,
        issuer="the system it belongs to",
        issuer_of=organisation,
        exact=True,
        personal=True,
    ),
)
