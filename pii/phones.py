"""Telephone numbers: valid by the numbering plan (libphonenumber's metadata), with a word for telephones or in `+` form.

Numbers that regulators set aside for films and books, the examples of the library, and counting digits are left.  Work
per candidate is bounded: at most 26 bytes of number, at most 27 numbering plans.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from pii.boundaries import closes_here, line_before, opens_here

Span = tuple[int, int]


def _word(text: str) -> str:
    """A short word on its own: `tel`, `Tel`, `TEL`, `homeTel`, `tel_no`, and not inside `hotel`."""
    head = text.capitalize()
    return rf"(?<![A-Za-z]){text}(?![a-z])|{head}(?![a-z])|(?<![A-Za-z]){text.upper()}(?![A-Za-z])"


# Words that say telephone, with the plans under which a number without a country code is looked up.
_GENERAL = tuple(
    re.findall("[A-Z]{2}", "US GB DE FR IN CN BR IT ES AU NL JP CH SE PL ZA IE NZ KR RU MX AT BE DK NO FI PT")
)
_WORDS: tuple[tuple[re.Pattern[bytes], tuple[str, ...]], ...] = tuple(
    (re.compile(words.encode("utf-8")), regions)
    for words, regions in (
        (
            r"(?i:telefonnummer|telefonnr|telefon|rufnummer|handynummer|mobilnummer|festnetz)|"
            + _word("handy"),
            ("DE", "AT", "CH", "PL", "SE", "NO", "DK", "TR", "CZ", "HU", "RO", "FI", "HR"),
        ),
        ("(?i:t\u00e9l\u00e9phone|t\u00e9l\\b|portable|num\u00e9ro)", ("FR", "BE", "CH", "CA", "LU")),
        ("(?i:tel\u00e9fono|m\u00f3vil|celular|telefono)", ("ES", "MX", "AR", "CO", "CL", "PE", "IT", "BR")),
        ("(?i:telefone|telem\u00f3vel|celular)", ("BR", "PT")),
        (r"(?i:cellulare)", ("IT", "CH")),
        (r"(?i:telefoon|mobiel)", ("NL", "BE")),
        (
            "(?:\u0422|\u0442)\u0435\u043b(?:\u0435\u0444\u043e\u043d|\\.|:)|(?:\u041c|\u043c)\u043e\u0431",
            ("RU", "UA", "BY", "KZ", "BG"),
        ),
        ("\u7535\u8bdd|\u624b\u673a|\u96fb\u8a71|\u643a\u5e2f|\u624b\u6a5f", ("CN", "JP", "TW", "HK")),
        ("\uc804\ud654|\ud734\ub300", ("KR",)),
        (
            r"(?i:(?<!micro)(?<!head)(?<!ear)(?<!mega)(?<!saxo)(?<!xylo)phone|mobile|whats[ _-]?app|msisdn|hotline|wa\.me/)|"
            + "|".join(map(_word, ("tel", "fax", "cell", "sms", "mob", "gsm", "telno", "phn"))),
            _GENERAL,
        ),
    )
)
# Words that may mean something else: only written-out numbers count behind them.
_WEAK = re.compile("|".join(map(_word, ("call", "dial", "contact"))).encode())
_WEAK_REGIONS = ("US", "GB", "AU", "DE", "FR")
# Services that write the country code without a plus.
_PLUSLESS = re.compile(rb"wa\.me/\Z|whats[ _-]?app|msisdn", re.IGNORECASE)

_CONTEXT, _NEXT_LINE = 64, 24
# Bytes in front of which digits go on, or are something else.
_FRONTS = (b".", b"-", b"_", b"#", b"/", b"+", b"*", b"$", b"&")
_DIGITS = re.compile(rb"[^0-9]+")
# Dates, addresses and versions, decimal numbers, ranges.
_DATE = re.compile(
    rb"(?:19|20)[0-9]{2}([-/. ])(?:0?[1-9]|1[0-2])\1(?:[0-2]?[0-9]|3[01])(?![0-9])|"
    rb"[0-3]?[0-9]([-/.])[0-3]?[0-9]\2(?:19|20)[0-9]{2}(?![0-9])"
)
_IN_ACCOUNT = re.compile(rb"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}(?: [A-Z0-9]{4}){0,7} \Z")  # the groups of an IBAN
_COMPACT_DATE = re.compile(rb"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:[0-2][0-9]|3[01])(?:[0-9]{4}|[0-9]{6})?")
_OTHER = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9]+\.[0-9]+|[0-9]{1,4}-[0-9]{1,4}|0[xX]")
_GOES_ON = re.compile(rb"[.,][0-9]|[-_/:][0-9A-Za-z]|%|[ \t]?(?:px|ms|em|bytes|KB|MB|GB|Hz)\b")

# Set aside for drama, or published as examples: NANPA (555), Ofcom (numbers for drama use), ACMA (fictitious numbers),
# Bundesnetzagentur (Drama Numbers), ARCEP (numbers for audiovisual works), PTS (numbers for books and films).
_FICTITIOUS = re.compile(
    r"\+(?:1[2-9][0-9]{2}555[0-9]{4}"
    r"|44(?:2079460|1(?:1[3-8]|[2-6]1)4960|1914980|2896496|2920180|1632960|7700900|8081570|9098790|3069990)[0-9]{3}"
    r"|61(?:[2378](?:5550|7010)[0-9]{4}|49157[0-2][0-9]{3}|1(?:800|300)975[0-9]{3}|1800160401)"
    r"|49(?:(?:3023125|6990009|4066969|2214710|8999998)[0-9]{3}|17139200[0-9]{2}|176040690[0-9]{2}|15228817386|15228895456)"
    r"|33(?:19900|26191|35301|46571|53649|63998)[0-9]{4}"
    r"|46(?:3139006|4062804|8465004|7017406)[0-9]{2}|46980319[0-9]{3})\Z"
)
_CODES_WITH_FICTITIOUS = (1, 33, 44, 46, 49, 61)
_SAME = re.compile(r"([0-9])\1{5}")
_COUNTING = re.compile(r"12345|23456|34567|45678|56789|98765|87654|76543|65432")


def phone_span(body: bytes, start: int, end: int) -> Span | None:
    """A number behind a word for telephones."""
    span = _trimmed(body, start, end)
    if span is None:
        return None
    start, end = span
    value = body[start:end]
    before = line_before(body, start, _CONTEXT)
    regions, at = _regions(before)
    if not regions and len(before) <= _NEXT_LINE and before != body[:start]:
        before = _line_above(body, start - len(before)) + before
        regions, at = _regions(before)
    if not regions or _IN_ACCOUNT.search(before):
        return None
    digits = _DIGITS.sub(b"", value)
    plain = len(digits) == len(value)
    if plain and len(digits) >= 10 and value[:1] != b"0" and _PLUSLESS.search(before):
        return (
            span
            if _valid("+" + digits.decode("ascii"), ()) or _valid(digits.decode("ascii"), regions)
            else None
        )
    if plain and (regions == _WEAK_REGIONS or _COMPACT_DATE.fullmatch(value) or not _assigned(before[at:])):
        return None
    return span if _valid(value.decode("latin-1"), regions) else None


def _line_above(body: bytes, first: int) -> bytes:
    """The last bytes of the line in front of the one that begins at `first`, with a blank for its end."""
    end = max(body.rfind(b"\n", 0, first), 0)
    return line_before(body, end, _CONTEXT).rstrip(b"\r") + b" "


def phone_international_span(body: bytes, start: int, end: int) -> Span | None:
    """A number in `+` form that is written in groups, or stands alone between quotes or brackets."""
    span = _trimmed(body, start, end)
    if span is None:
        return None
    start, end = span
    value = body[start:end]
    if len(_DIGITS.sub(b"", value)) == len(value) - 1:
        alone = body[start - 1 : start] in (b'"', b"'", b">", b"(", b":", b"`") and body[end : end + 1] in (
            b'"',
            b"'",
            b"<",
            b")",
            b"`",
        )
        if not alone or not start:
            return None
    return span if _valid(value.decode("latin-1"), ()) else None


def _trimmed(body: bytes, start: int, end: int) -> Span | None:
    """The span without punctuation at its end, if a number may begin and end there and is no date or version."""
    while end > start and body[end - 1] in b" ().-/\xc2\xa0":
        end -= 1
    front = body[start - 1 : start] if start else b""
    link = body[max(0, start - 6) : start].endswith((b"wa.me/", b"://"))
    if not link and (not opens_here(body, start) or front in _FRONTS):
        return None
    value = body[start:end]
    if not closes_here(body, end) or _GOES_ON.match(body, end):
        return None
    if _DATE.match(value) or _OTHER.fullmatch(value) or value.count(b"(") != value.count(b")"):
        return None
    return start, end


def _regions(before: bytes) -> tuple[tuple[str, ...], int]:
    """The numbering plans of the nearest word in front, and where it ends; none without a word."""
    best: tuple[str, ...] = ()
    at = -1
    for words, regions in _WORDS:
        for found in words.finditer(before):
            if found.end() > at:
                best, at = regions, found.end()
    if at < 0:
        for found in _WEAK.finditer(before):
            best, at = _WEAK_REGIONS, found.end()
    return best, at


# `phone_no = "`, `phone: `, `<phone>`, `"phone", "`; also `PHONE value: "` and `<key>phone</key> <string>` over two lines.
_ASSIGNMENT = re.compile(
    rb"[^0-9\n]{0,12}(?:value|default|string|content)[^0-9A-Za-z\n]{1,10}\Z|"
    rb"[A-Za-z0-9_.-]{0,20}[\"'\])]{0,2}[ \t]{0,8}(?:=>|:=|==|[:=>(,/|])?[ \t]{0,8}[A-Za-z]{0,3}[\"'`\[({<]{0,3}\Z"
)


def _assigned(between: bytes) -> bool:
    """Whether plain digits are what the word names: `phone_no = "`, `tel: `, `<phone>`, `phone `."""
    return _ASSIGNMENT.fullmatch(between) is not None


@lru_cache(maxsize=4096)
def _valid(text: str, regions: tuple[str, ...]) -> bool:
    """Whether a number is valid in one of the plans (with `+` or `00`: in its own), and somebody's."""
    if text.startswith("00"):
        text = "+" + text[2:]
    digits = re.sub("[^0-9]", "", text)
    if not 7 <= len(digits) <= 15 or _SAME.search(digits) or _COUNTING.search(digits):
        return False
    if text.startswith("+"):
        return _number(text, None) == _SOMEBODYS
    trunk = digits[0] == "0"
    if any(_FICTITIOUS.match(f"+{code}{digits.removeprefix('0')}") for code in _CODES_WITH_FICTITIOUS):
        return False
    for region in regions:
        if trunk != (region in _TRUNK_ZERO) and not (
            region in _EITHER and not trunk and len(digits) != len(text)
        ):
            continue
        kind = _number(text, region)
        if kind:
            return kind == _SOMEBODYS
    return False


# Plans in which numbers are dialled with a 0 in front; in `_EITHER` they are often written without.
_TRUNK_ZERO = frozenset(
    re.findall(
        "[A-Z]{2}", "GB DE FR AU NL JP CH SE ZA IE NZ AT BE TR HU RO FI HR LU UA BG AR IN TW KR CN BR IT"
    )
)
_EITHER = frozenset(["IN", "CN", "BR", "IT", "KR", "FI", "CH", "TR", "AU"])


@lru_cache(maxsize=256)
def _lengths(region: str) -> frozenset[int]:
    """Possible lengths of a plan's numbers."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    described = metadata.general_desc if metadata else None
    return frozenset(described.possible_length) if described else frozenset()


_NO_NUMBER, _SET_ASIDE, _SOMEBODYS = range(3)


def _number(text: str, region: str | None) -> int:
    """What a text is under a plan."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return _NO_NUMBER
    if _FICTITIOUS.match(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)):
        return _SET_ASIDE
    return _SOMEBODYS if phonenumbers.is_valid_number(number) else _NO_NUMBER
