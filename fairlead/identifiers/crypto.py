"""Addresses on public chains, canonical ``CHAIN:address``.

Bitcoin (``BTC``): base58check, bech32 and, for taproot, bech32m (BIP 173, BIP 350). ``EVM`` is
every chain whose addresses are Ethereum's, because one key has the same address on all of them;
a mixture of cases is a check sum (EIP-55). Tron (``TRX``): base58check. The address tells these
chains; any other chain has to be stated, and its addresses are kept as they stand.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.keccak import keccak_256
from fairlead.identifiers.scheme import Scheme, reason
from fairlead.identifiers.spelling import fold

SCHEME = "crypto-address"
_EVM_CHAINS = frozenset({
    "EVM", "ETH", "ETHEREUM", "BSC", "BNB", "POLYGON", "MATIC", "ARBITRUM", "OPTIMISM", "AVAX",
    "BASE", "ERC20", "BEP20",
})  # fmt: skip
_CHAINS = {
    "BITCOIN": "BTC", "XBT": "BTC", "TRON": "TRX", "TRC20": "TRX", "LITECOIN": "LTC",
    "MONERO": "XMR", "DOGECOIN": "DOGE", "SOLANA": "SOL", "RIPPLE": "XRP", "CARDANO": "ADA",
}  # fmt: skip
_CHAIN = re.compile(r"[A-Z][A-Z0-9]{1,9}\Z")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58 = re.compile(rf"[{_ALPHABET}]{{25,36}}\Z")
_BECH32_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32 = re.compile(rf"bc1[{_BECH32_ALPHABET}]{{11,87}}\Z")
_EVM = re.compile(r"0[xX]([0-9a-fA-F]{40})\Z")
_OTHER = re.compile(r"[A-Za-z0-9]{20,110}\Z")
_BECH32M = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def chain_of(text: str) -> str | None:
    """The canonical name of a chain; None for what is no chain's name."""
    folded = fold(text)
    if folded in _EVM_CHAINS:
        return "EVM"
    folded = _CHAINS.get(folded, folded)
    return folded if _CHAIN.match(folded) else None


def _normalise(raw: str, issuer: str = "") -> Identifier:
    stated, _, rest = raw.partition(":")
    chain = chain_of(stated) if rest else None
    if chain is None:
        chain, rest = (chain_of(issuer) if issuer else None), raw
    text = "".join(
        c
        for c in unicodedata.normalize("NFKC", rest)
        if unicodedata.category(c) not in {"Cc", "Cf", "Zs"}
    )
    read = _read(text)
    if read is None and chain not in {None, "BTC", "EVM", "TRX"} and _OTHER.match(text):
        read = str(chain), text, Validity.FORMAT_OK
    if read is None or chain not in {None, read[0]}:
        if (folded := fold(raw)) != raw:
            return replace(_normalise(folded), raw=raw)
        return Identifier(
            scheme=SCHEME, value=folded, issuer=None, validity=Validity.UNVERIFIABLE, raw=raw
        )
    found, address, validity = read
    return Identifier(
        scheme=SCHEME, value=f"{found}:{address}", issuer=found, validity=validity, raw=raw
    )


def _why(found: Identifier) -> str | None:
    text = found.raw.strip()
    bare = found.issuer is None and _OTHER.match(text) and not _read(text)
    return "ISSUER_REQUIRED" if bare else reason(found)


def _read(text: str) -> tuple[str, str, Validity] | None:
    """Chain, canonical address and validity of an address that tells its chain."""
    if match := _EVM.match(text):
        return "EVM", "0x" + match[1].lower(), _eip_55(match[1])
    lower = text.lower()
    if text in {lower, text.upper()} and _BECH32.match(lower):
        return "BTC", lower, _verdict(right=_segwit(lower))
    if _BASE58.match(text) and text[0] in "13T":
        chain, versions = ("TRX", {0x41}) if text[0] == "T" else ("BTC", {0x00, 0x05})
        return chain, text, _verdict(right=_base58_version(text) in versions)
    return None


def _verdict(*, right: bool) -> Validity:
    return Validity.CHECKSUM_OK if right else Validity.CHECKSUM_FAILED


def _eip_55(digits: str) -> Validity:
    if digits in {digits.lower(), digits.upper()}:
        return Validity.FORMAT_OK
    digest = keccak_256(digits.lower().encode()).hex()
    written = "".join(
        c.upper() if int(d, 16) > 7 else c for c, d in zip(digits.lower(), digest, strict=False)
    )
    return _verdict(right=written == digits)


def _base58_version(text: str) -> int | None:
    """The version octet of 25 octets whose check sum is right, else None."""
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if len(data) != 25:
        return None
    checksum = hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4]
    return data[0] if checksum == data[-4:] else None


def _segwit(text: str) -> bool:
    """Version 0 by bech32 with 20 or 32 octets, later ones by bech32m with 2 to 40."""
    values = [_BECH32_ALPHABET.index(character) for character in text[3:]]
    expected = 1 if values[0] == 0 else _BECH32M
    if values[0] > 16 or _polymod([3, 3, 0, 2, 3, *values]) != expected:
        return False
    bits = 5 * (len(values) - 7)
    octets, padding = divmod(bits, 8)
    tail = values[-7] & ((1 << padding) - 1)
    length_fits = octets in {20, 32} if values[0] == 0 else 2 <= octets <= 40
    return length_fits and padding < 5 and tail == 0 and len(text) <= 90


def _polymod(values: list[int]) -> int:
    total = 1
    for value in values:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            total ^= generator if top >> place & 1 else 0
    return total


SCHEMES = (
    Scheme(
        name=SCHEME,
        title="Address on a public chain",
        checks="base58check, bech32, bech32m (Bitcoin, Tron); EIP-55 when cases are mixed",
        examples=(
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "BTC:1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        ),
        normalise=_normalise,
        reason=_why,
        issuer="the chain, unless the address tells it (Bitcoin, Ethereum and its kin, Tron)",
        recognised=True,
    ),
)
