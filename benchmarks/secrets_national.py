"""Personal numbers of 23 countries for the planted set, with the check digits that each country publishes.

Part of what is frozen by digest; imports nothing of `pii`. Sources: each issuer's public rule (tax offices, population
registers, social insurance), as cited at the numbers below where it is not obvious. Nobody's number: all are drawn.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

from collections.abc import Callable

from secrets_draw import BASE36, DIGITS, UPPER, Draw, Snippet, mark
from secrets_people import PLACES, luhn


def _weighted(digits: str, weights: str | list[int]) -> int:
    return sum(int(d) * int(w) for d, w in zip(digits, weights, strict=False))


def _cpf(d: Draw) -> str:
    body = d.text(DIGITS, 9)
    for size in (10, 11):
        rest = _weighted(body, list(range(size, 1, -1))) * 10 % 11
        body += str(rest % 10)
    return d.pick([body, f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"])


def _mod11_10(digits: str) -> str:
    product = 10
    for c in digits:
        total = (int(c) + product) % 10 or 10
        product = total * 2 % 11
    return str((11 - product) % 10)


def _german_tax(d: Draw) -> str:
    twice = d.pick(DIGITS)
    others = d.shuffled(c for c in DIGITS if c != twice)[:8]
    body = "".join(d.shuffled([*others, twice, twice]))
    while body[0] == "0" or body[0] == body[1] == body[2]:
        body = body[1:] + body[0]
    return body + _mod11_10(body)


def _bsn(d: Draw) -> str:
    while True:
        body = d.digits(8)
        check = _weighted(body, "98765432") % 11
        if check < 10:
            return body + str(check)


def _date(d: Draw) -> str:
    return f"{d.between(50, 99)}{d.between(1, 12):02d}{d.between(1, 28):02d}"


def _pesel(d: Draw) -> str:
    body = _date(d) + d.text(DIGITS, 4)
    return body + str(-_weighted(body, "1379137913") % 10)


def _personnummer(d: Draw) -> str:
    body = _date(d) + d.text(DIGITS, 3)
    return d.pick([f"{body[:6]}-{body[6:]}{luhn(body)}", f"19{body[:6]}-{body[6:]}{luhn(body)}"])


def _hetu(d: Draw) -> str:
    day, serial = (
        f"{d.between(1, 28):02d}{d.between(1, 12):02d}{d.between(50, 99)}",
        f"{d.between(2, 899):03d}",
    )
    return f"{day}-{serial}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[int(day + serial) % 31]}"


def _fodselsnummer(d: Draw) -> str:
    while True:
        body = f"{d.between(1, 28):02d}{d.between(1, 12):02d}{d.between(50, 99)}{d.between(0, 499):03d}"
        first = -_weighted(body, "376189452") % 11
        second = -_weighted(body + str(first), "5432765432") % 11
        if first < 10 and second < 10:
            return f"{body}{first}{second}"


def _belgian(d: Draw) -> str:
    body = _date(d) + f"{d.between(1, 998):03d}"
    return f"{body[:2]}.{body[2:4]}.{body[4:6]}-{body[6:]}.{97 - int(body) % 97:02d}"


def _sin(d: Draw) -> str:
    body = d.pick("12345679") + d.text(DIGITS, 7)
    body += luhn(body)
    return d.pick([body, f"{body[:3]} {body[3:6]} {body[6:]}", f"{body[:3]}-{body[3:6]}-{body[6:]}"])


def _tfn(d: Draw) -> str:
    while True:
        body = d.digits(9)
        if _weighted(body, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0:
            return d.pick([body, f"{body[:3]} {body[3:6]} {body[6:]}"])


def _aadhaar(d: Draw) -> str:
    """Verhoeff's check digit, from the multiplication of the dihedral group D5 and its permutation."""

    def times(a: int, b: int) -> int:
        if a < 5:
            return (a + b) % 5 + (5 if b >= 5 else 0)
        return (a - b) % 5 + (5 if b < 5 else 0)

    def permuted(i: int, digit: int) -> int:
        for _ in range(i % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        return digit

    body = d.pick("23456789") + d.text(DIGITS, 10)
    check = 0
    for i, c in enumerate(reversed(body), 1):
        check = times(check, permuted(i, int(c)))
    body += next(str(x) for x in range(10) if times(check, x) == 0)
    return d.pick([body, f"{body[:4]} {body[4:8]} {body[8:]}"])


def _chinese(d: Draw) -> str:
    body = f"{d.pick(['110101', '310104', '440305', '510104', '330106'])}19{_date(d)}{d.between(1, 999):03d}"
    return body + "10X98765432"[_weighted(body, [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11]


def _korean(d: Draw) -> str:
    body = _date(d) + d.pick("12") + f"{d.between(0, 95):02d}" + d.text(DIGITS, 3)
    return f"{body[:6]}-{body[6:]}{(11 - _weighted(body, '234567892345') % 11) % 10}"


def _dni(d: Draw) -> str:
    number = d.digits(8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _nir(d: Draw) -> str:
    body = f"{d.pick('12')}{d.between(50, 99)}{d.between(1, 12):02d}{d.between(10, 19)}{d.between(1, 400):03d}{d.between(1, 900):03d}"
    check = f"{97 - int(body) % 97:02d}"
    return d.pick(
        [body + check, f"{body[0]} {body[1:3]} {body[3:5]} {body[5:7]} {body[7:10]} {body[10:]} {check}"]
    )


def _rut(d: Draw) -> str:
    number = str(d.between(5_000_000, 24_000_000))
    check = -_weighted(number[::-1], "23456723") % 11
    return f"{int(number):,}".replace(",", ".") + "-" + ("K" if check == 10 else str(check))


def _kimlik(d: Draw) -> str:
    body = d.digits(9)
    tenth = (sum(map(int, body[0::2])) * 7 - sum(map(int, body[1::2]))) % 10
    return f"{body}{tenth}{(sum(map(int, body)) + tenth) % 10}"


def _ssn(d: Draw) -> str:
    while True:
        area, group, serial = d.between(1, 899), d.between(1, 99), d.between(1, 9999)
        if area != 666 and (area, group, serial) != (123, 45, 6789) and not (area == 78 and group == 5):
            return f"{area:03d}-{group:02d}-{serial:04d}"


def _nino(d: Draw) -> str:
    head = d.pick("ABCEGHJKLMNPRSTWXYZ") + d.pick("ABCEGHJKLMNPRSTWXYZ")
    head = "AB" if head in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"} else head
    digits, suffix = d.text(DIGITS, 6), d.pick("ABCD")
    return d.pick([f"{head}{digits}{suffix}", f"{head} {digits[:2]} {digits[2:4]} {digits[4:]} {suffix}"])


def _oib(d: Draw) -> str:
    body = d.digits(10)
    return body + _mod11_10(body)


def _ahv(d: Draw) -> str:
    body = "756" + d.text(DIGITS, 9)
    check = -_weighted(body, "131313131313") % 10
    return f"756.{body[3:7]}.{body[7:11]}.{body[11:]}{check}"


def _nif(d: Draw) -> str:
    body = d.pick("12") + d.text(DIGITS, 7)
    check = 11 - _weighted(body, "98765432") % 11
    return body + str(0 if check > 9 else check)


def _codice(d: Draw) -> str:
    consonants = "BCDFGLMNPRSTVZ"
    body = (
        d.text(consonants, 6)
        + f"{d.between(50, 99)}{d.pick('ABCDEHLMPRST')}{d.between(1, 28):02d}"
        + d.pick("ABCDEFGHIL")
        + f"{d.between(100, 999)}"
    )
    odd = dict(
        zip(
            BASE36.upper(),
            [
                1,
                0,
                5,
                7,
                9,
                13,
                15,
                17,
                19,
                21,
                1,
                0,
                5,
                7,
                9,
                13,
                15,
                17,
                19,
                21,
                2,
                4,
                18,
                20,
                11,
                3,
                6,
                8,
                12,
                14,
                16,
                10,
                22,
                25,
                24,
                23,
            ],
            strict=True,
        )
    )
    total = sum(
        odd[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(body)
    )
    return body + UPPER[total % 26]


NATIONAL: dict[str, tuple[tuple[str, ...], Callable[[Draw], str]]] = {
    "US SSN": (("SSN", "social security number"), _ssn),
    "GB NINO": (("NINO", "National Insurance number"), _nino),
    "BR CPF": (("CPF",), _cpf),
    "DE tax id": (("Steuer-ID", "Steueridentifikationsnummer", "IdNr"), _german_tax),
    "NL BSN": (("BSN", "burgerservicenummer"), _bsn),
    "PL PESEL": (("PESEL",), _pesel),
    "SE personnummer": (("personnummer",), _personnummer),
    "FI hetu": (("henkilötunnus", "hetu"), _hetu),
    "NO fødselsnummer": (("fødselsnummer", "fodselsnummer"), _fodselsnummer),
    "BE national number": (("rijksregisternummer", "numéro national"), _belgian),
    "CA SIN": (("SIN", "social insurance number"), _sin),
    "AU TFN": (("TFN", "tax file number"), _tfn),
    "IN Aadhaar": (("Aadhaar", "aadhaar number"), _aadhaar),
    "CN resident id": (("身份证", "resident identity card"), _chinese),
    "KR RRN": (("주민등록번호", "resident registration number"), _korean),
    "ES DNI": (("DNI", "NIF"), _dni),
    "FR NIR": (("NIR", "numéro de sécurité sociale"), _nir),
    "CL RUT": (("RUT", "RUN"), _rut),
    "TR kimlik": (("TC Kimlik No", "kimlik no"), _kimlik),
    "HR OIB": (("OIB",), _oib),
    "CH AHV": (("AHV", "AVS"), _ahv),
    "PT NIF": (("NIF", "contribuinte"), _nif),
    "IT codice fiscale": (("codice fiscale",), _codice),
}


def national_id(draw: Draw) -> Snippet:
    """A personal number of some country, with its name."""
    type_ = draw.pick(sorted(NATIONAL))
    names, make = NATIONAL[type_]
    name, value = draw.pick(names), mark("national_id", type_, make(draw))
    key = name.lower().replace(" ", "_").replace("-", "_")
    return Snippet(
        draw.pick(
            [
                f"{name}: {value}",
                f'{key} = "{value}"',
                f'"{key}": "{value}",',
                f"{name} {value}",
                f"# {name}: {value}",
                f"<{key}>{value}</{key}>",
                f"{key}: {value}",
                f"{name} = '{value}'",
            ]
        ),
        "id in context",
        PLACES,
    )
