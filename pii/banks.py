"""Bank accounts: IBANs by their structure and check digits, US routing numbers with the account beside them."""

from __future__ import annotations

import re

from pii.boundaries import closes_here, line_before, opens_here

Span = tuple[int, int]

# The basic account number behind country and check digits, by country: ISO 13616 IBAN Registry (SWIFT), n digits,
# a capitals, c both.
_STRUCTURES = {
    country: tuple((int(n), kind) for n, kind in re.findall(r"([0-9]+)([nac])", structure))
    for country, structure in re.findall(
        r"([A-Z]{2}):([0-9nac]+)",
        """
    AD:8n12c AE:3n16n AL:8n16c AT:5n11n AZ:4a20c BA:3n3n8n2n BE:3n7n2n BG:4a4n2n8c BH:4a14c BI:5n5n11n2n
    BR:8n5n10n1a1c BY:4c4n16c CH:5n12c CR:4n14n CY:3n5n16c CZ:4n6n10n DE:8n10n DJ:5n5n11n2n DK:4n9n1n DO:4c20n
    EE:2n2n11n1n EG:4n4n17n ES:4n4n1n1n10n FI:3n11n FK:2a12n FO:4n9n1n FR:5n5n11c2n GB:4a6n8n GE:2a16n GI:4a15c
    GL:4n9n1n GR:3n4n16c GT:4c20c HN:4a20n HR:7n10n HU:3n4n1n15n1n IE:4a6n8n IL:3n3n13n IQ:4a3n12n IS:4n2n6n10n
    IT:1a5n5n12c JO:4a4n18c KW:4a22c KZ:3n13c LB:4n20c LC:4a24c LI:5n12c LT:5n11n LU:3n13c LV:4a13c LY:3n3n15n
    MC:5n5n11c2n MD:2c18c ME:3n13n2n MK:3n10c2n MN:4n12n MR:5n5n11n2n MT:4a5n18c MU:4a2n2n12n3n3a NI:4a20n
    NL:4a10n NO:4n6n1n OM:3n16c PK:4a16c PL:8n16n PS:4a21c PT:4n4n11n2n QA:4a21c RO:4a16c RS:3n13n2n RU:9n5n15c
    SA:2n18c SC:4a2n2n16n3a SD:2n12n SE:3n16n1n SI:5n8n2n SK:4n6n10n SM:1a5n5n12c SO:4n3n12n ST:4n4n11n2n
    SV:4a20n TL:3n14n2n TN:2n3n13n2n TR:5n1n16c UA:6n19c VA:3n15n VG:4a16n XK:4n10n2n YE:4a4n18c
    """,
    )
}
_SIGNS = frozenset(bytes([c]) for c in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")

# Examples that the registry and payment processors publish.
_PUBLISHED = frozenset(
    b"""
    AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741 AT611904300234573201
    AZ21NABZ00000000137010001944 BA391290079401028494 BE68539007547034 BG80BNBG96611020345678 BH67BMAG00001299123456
    BR9700360305000010009795493P1 BR1800360305000010009795493C1 CH9300762011623852957 CR05015202001026284066
    CY17002001280000001200527600 CZ6508000000192000145399 DE89370400440532013000 DK5000400440116243
    DO28BAGR00000001212453611324 EE382200221020145685 ES9121000418450200051332 ES8023100001180000012345
    FI2112345600000785 FO6264600001631634 FR1420041010050500013M02606 FR7630006000011234567890189
    GB29NWBK60161331926819 GB33BUKB20201555555555 GB82WEST12345698765432 GB94BARC10201530093459
    GE29NB0000000101904917 GI75NWBK000000007099453 GL8964710001000206 GR1601101250000000012300695
    HR1210010051863000160 HU42117730161111101800000000 IE29AIBK93115212345678 IL620108000000099999999
    IS140159260076545510730339 IT60X0542811101000000123456 JO94CBJO0010000000000131000302
    KW81CBKU0000000000001234560101 KZ86125KZT5004100100 LB62099900000001001901229114 LI21088100002324013AA
    LT121000011101001000 LU280019400644750000 LV80BANK0000435195001 MC5811222000010123456789030
    MD24AG000225100013104168 ME25505000012345678951 MK07250120000058984 MR1300020001010000123456753
    MT84MALT011000012345MTLCAST001S MU17BOMM0101101030300200000MUR NL91ABNA0417164300 NO9386011117947
    PK36SCBL0000001123456702 PL61109010140000071219812874 PS92PALS000000000400123456702 PT50000201231234567890154
    QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000 RS35260005601001611379 SA0380000000608010167519
    SE4550000000058398257466 SI56263300012039086 SI56191000000123438 SK3112000000198742637541
    SM86U0322509800000000270100 TN5910006035183598478831 TR330006100519786457841326 UA213223130000026007233566001
    VG96VPVG0000012345678901 XK051212012345678906 DE75512108001245126199 DE27100777770209299700 DE91100000000123456789
    """.split()
)
_ZEROS = re.compile(rb"0{9}")


def iban(body: bytes, start: int, end: int) -> Span | None:
    """An IBAN of its country's structure with valid check digits (ISO 7064 MOD 97-10), compact or in groups of four."""
    if not opens_here(body, start) or _in_base64(body, start):
        return None
    structure = _STRUCTURES.get(body[start : start + 2].decode("ascii"))
    if structure is None:
        return None
    length = 4 + sum(n for n, _ in structure)
    stop = _behind(body, start, length)
    if stop is None or not closes_here(body, stop) or body[stop : stop + 1] in (b"+", b"/", b"="):
        return None
    value = body[start:stop].translate(None, b" -")
    if value in _PUBLISHED or not _has_structure(value[4:], structure) or _ZEROS.search(value):
        return None
    digits = "".join(str(int(c, 36)) for c in (value[4:] + value[:4]).decode("ascii"))
    return (start, stop) if int(digits) % 97 == 1 else None


def _in_base64(body: bytes, start: int) -> bool:
    """Whether the byte in front of `start` continues a longer run: `+`, `/`, `_`, or a second `=`."""
    return start > 0 and (
        body[start - 1 : start] in (b"_", b"/", b"+") or body[max(0, start - 2) : start] == b"=="
    )


def _behind(body: bytes, start: int, length: int) -> int | None:
    """Where `length` letters and digits from `start` on end; their groups, if there are any, must be of four."""
    at = start
    separator = body[start + 4 : start + 5]
    grouped = separator in (b" ", b"-") and separator != b""
    for i in range(length):
        if i and i % 4 == 0 and grouped:
            if body[at : at + 1] != separator:
                return None
            at += 1
        if body[at : at + 1] not in _SIGNS:
            return None
        at += 1
    return at


def _has_structure(account: bytes, structure: tuple[tuple[int, str], ...]) -> bool:
    at = 0
    for n, kind in structure:
        part = account[at : at + n]
        if (kind == "n" and not part.isdigit()) or (kind == "a" and not part.isalpha()):
            return False
        at += n
    return at == len(account)


_ROUTING_WORD = re.compile(rb"routing|\baba\b|\baba[_-]|\brtn\b|transit", re.IGNORECASE)
_ROUTING = re.compile(rb"(?<![0-9A-Za-z.-])[0-9]{9}(?![0-9A-Za-z])")
_NEIGHBOURHOOD = 240
# Those that payment processors and the Federal Reserve give in examples.
_PUBLISHED_ROUTING = frozenset((b"110000000", b"123456780", b"011000015", b"021000021"))


def us_routing_number(body: bytes, start: int, end: int) -> Span | None:
    """A routing transit number with a valid check digit, behind a word for it (the pattern demands the word)."""
    value = body[start:end]
    if not closes_here(body, end) or not opens_here(body, start) or not _is_routing(value):
        return None
    return None if value in _PUBLISHED_ROUTING or len(set(value)) <= 2 else (start, end)


def us_account_number(body: bytes, start: int, end: int) -> Span | None:
    """An account number of which a valid routing number stands within a few lines; without one it may be any account."""
    value = body[start:end]
    if not closes_here(body, end) or not opens_here(body, start) or len(set(value)) <= 2:
        return None
    low, high = max(0, start - _NEIGHBOURHOOD), end + _NEIGHBOURHOOD
    for found in _ROUTING.finditer(body, low, min(len(body), high)):
        other = found.span() != (start, end) and _is_routing(found.group())
        if other and _ROUTING_WORD.search(line_before(body, found.start(), 60)):
            return start, end
    return None


def _is_routing(digits: bytes) -> bool:
    """American Bankers Association: Federal Reserve prefix, weights 3-7-1, a multiple of ten."""
    prefix = int(digits[:2])
    if not (prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80):
        return False
    return sum((c - 48) * w for c, w in zip(digits, (3, 7, 1) * 3, strict=True)) % 10 == 0
