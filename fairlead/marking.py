"""Security markings: what is classified may not be held here, and is refused at ingest. Pure.

EU classified information (Council Decision 2013/488/EU): ``TRÈS SECRET UE/EU TOP SECRET``,
``SECRET UE/EU SECRET``, ``CONFIDENTIEL UE/EU CONFIDENTIAL``, ``RESTREINT UE/EU RESTRICTED``, their
abbreviations, and the markings of the member states that Appendix B calls equivalent. In a cell
of handling a bare word is enough; in a cell of free marking a level of business confidentiality
(``COMPANY CONFIDENTIAL``) is none of these, so ``CONFIDENTIAL`` there needs its classifier.
"""

from __future__ import annotations

import re
import unicodedata

from fairlead.errors import InvalidInput

CODE = "EU_CLASSIFIED"

_EU = (
    r"\bE\.? ?U\.? ?(?:TOP SECRET|SECRET|CONFIDENTIAL|RESTRICTED)\b",
    r"\b(?:TRES SECRET|SECRET|CONFIDENTIEL|RESTREINT) ?U\.? ?E\b",
    r"\b(?:TS|S|C|R) ?UE\b",
    r"\bEU (?:TS|S|C|R)\b",
    r"\b(?:NATO|ATOMAL|COSMIC) ?(?:TOP SECRET|SECRET|CONFIDENTIAL|RESTRICTED)\b",
    r"\bTOP SECRET\b|\bRESTRICTED\b|\bRESTREINT\b|\bCONFIDENTIEL\b|(?<!TRADE )\bSECRET\b",
)
_NATIONAL = (
    r"VS NFD|VS NUR FUR DEN DIENSTGEBRAUCH|VS VERTRAULICH|\b(?:STRENG )?GEHEIM\b|EINGESCHRANKT",
    r"\b(?:ZEER GEHEIM|VERTROUWELIJK|BEPERKTE VERSPREIDING|STG (?:CONFIDENTIEEL|GEHEIM))\b",
    r"DIFFUSION RESTREINTE|SECRET DEFENSE|CONFIDENTIEL DEFENSE",
    r"DIFUSION LIMITADA|\bRESERVADO\b|\bCONFIDENCIAL\b|\b(?:MUITO )?SECRETO\b",
    r"\bRISERVATO\b|\bRISERVATISSIMO\b|\bSEGRET(?:O|ISSIMO)\b",
    r"\bZASTRZEZONE\b|\bPOUFNE\b|\b(?:SCISLE )?TAJNE\b|\bVYHRAZENE\b|\bVYHRADENE\b|\bDUVERNE\b",
    r"\bDOVERNE\b|\bTAJNO\b|\bOGRANICENO\b|\bPOVJERLJIVO\b|\bZAUPNO\b",
    r"BEGRANSAT HEMLIG|\b(?:KVALIFICERAT )?HEMLIG\b|\bKONFIDENTIELL\b|TIL TJENESTEBRUG",
    r"\bFORTROLIGT\b|\b(?:YDERST )?HEMMELIGT\b|KAYTTO RAJOITETTU|LUOTTAMUKSELLINEN|SALAINEN",
    r"KORLATOZOTT TERJESZTESU|\bBIZALMAS\b|\b(?:SZIGORUAN )?TITKOS\b|SECRET DE SERVICIU",
    r"\bPIIRATUD\b|KONFIDENTSIAALNE|SALAJANE|RIBOTO NAUDOJIMO|KONFIDENCIALIAI|SLAPTAI",
    r"DIENESTA VAJADZIBAM|KONFIDENCIALI|SLEPENI|RISTRETT|KUNFIDENZJALI|SIGRIET",
    r"ΠΕΡΙΟΡΙΣΜΕΝΗΣ ΧΡΗΣΗΣ|ΕΜΠΙΣΤΕΥΤΙΚΟ|ΑΠΟΡΡΗΤΟ|ЗА СЛУЖЕБНО ПОЛЗВАНЕ|ПОВЕРИТЕЛНО|СЕКРЕТНО",
)
_CLASSIFIED = re.compile("|".join((*_EU, *_NATIONAL)))
_BARE = re.compile(r"\bCONFIDENTIAL\b")
_SPECIAL = str.maketrans({"ß": "SS", "Ł": "L", "Ø": "O", "Đ": "D", "ł": "L", "ø": "O", "đ": "D"})


def check_marking(text: str, *, bare: bool = False) -> None:
    """Refuse a text that marks classified information, in any of its spellings.

    :param bare: ``CONFIDENTIAL`` alone is enough.
    :raises InvalidInput: ``EU_CLASSIFIED``.
    """
    plain = _plain(text)
    if _CLASSIFIED.search(plain) or (bare and _BARE.search(plain)):
        raise InvalidInput(
            "classified information is refused",
            reasons=(CODE,),
            remedy="remove EU RESTRICTED and higher from the source; this network may not hold it",
        )


def _plain(text: str) -> str:
    """Capitals without marks; letters and digits in words with one blank between."""
    folded = unicodedata.normalize("NFKD", text.translate(_SPECIAL).upper())
    kept = (c for c in folded if unicodedata.category(c) not in {"Mn", "Cf"})
    return " ".join("".join(c if c.isalnum() else " " for c in kept).split())
