"""Payment cards: issuers' ranges and lengths, the Luhn sum, a word for cards nearby, no published test number."""

from __future__ import annotations

import re

from pii.boundaries import closes_here, line_before, opens_here

Span = tuple[int, int]

# Words for cards, in the languages that code and its comments are written in most.
_CARD_WORD = re.compile(
    rb"card|visa\b|visa[_-]|amex|american.?express|master.?card|maestro|discover\b|diners|jcb\b|union.?pay|credit|debit|"
    rb"\bcc\b|\bcc[_-]|[_-]cc\b|(?:\b|[gs]et)cc(?:num|number|no)|[gs]etpan\b|\bpan\b|\bpan[_-]|[_-]pan\b|cvv|cvc|payment|billing|"
    rb"karte|carte|tarjeta|cart[a\xc3]|cart\xc3\xa3o|kaart|kort\b|kart|\xd0\xba\xd0\xb0\xd1\x80\xd1\x82|"
    rb"\xe5\x8d\xa1|\xe3\x82\xab\xe3\x83\xbc\xe3\x83\x89|\xec\xb9\xb4\xeb\x93\x9c",
    re.IGNORECASE,
)

# Issuers' ranges (first digits, inclusive) and lengths: ISO/IEC 7812 identification numbers as the networks publish
# them in their manuals for merchants and processors.
_RANGES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),  # Mastercard, second series
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14,)),  # Diners Club
    ("3095", "3095", (14,)),
    ("36", "36", (14, 15, 16)),
    ("38", "39", (14, 16)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "649", (16, 19)),
    ("65", "65", (16, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "81", (16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("5018", "5018", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("5020", "5020", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("5038", "5038", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("5893", "5893", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("6304", "6304", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("6759", "6759", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("6761", "6763", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("60", "60", (16,)),  # RuPay
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
)

# Numbers that payment processors publish for testing (Stripe, Adyen, PayPal, Braintree, Worldpay, Square: testing pages).
_TEST_CARDS = frozenset(
    b"""
    4111111111111111 4242424242424242 4012888888881881 4000056655665556 4222222222222 4005519200000004 4009348888881881
    4012000033330026 4012000077777777 4217651111111119 4500600000000061 4988438843884305 4646464646464644
    4977949494949497 4166676667666746 4035501000000008 4360000001000005 4444333322221111 4917610000000000
    4462030000000000 4484070000000000 4911830000000 4917300800000000 4532015112830366
    5555555555554444 5105105105105100 5200828282828210 5454545454545454 5136333333333335 5585558555855583
    5555341244441115 5577000055770004 5500000000000004 5424000000000015 5431111111111111 5204740009900014
    2223003122003222 2223000048400011 2222400010000008 2222400030000004 2222400070000005 2222420000001113
    378282246310005 371449635398431 378734493671000 370000000000002 343434343434343 341111111111111 340000000000009
    6011111111111117 6011000990139424 6011000400000000 6011981111111113 6011601160116611 6445644564456445
    30569309025904 38520000023237 3056930009020004 36227206271667 36006666333344 36259600000004 36700102000000
    3530111333300000 3566002020360505 3566111111111113 3569990010095841 3528000700000000
    6200000000000005 6200000000000047 6205500000000000004 6243030000000001 6304000000000000 6331101999990016
    5610591081018250 5019717010103742 6759649826438453 6799990100000000019 6771798021000008
    5018000000000009 5020620000000000 6555900000604105
    """.split()
)
# A line that only gives the value of what the line above names: Kubernetes, Compose, property lists, Terraform.
_VALUE_LINE = re.compile(
    rb"[ \t]*(?:-[ \t]*)?(?:<string>|<value>|(?:\"?(?:value|default)\"?[ \t]*[:=][ \t]*)?[\"']?)"
)
_ZEROS = re.compile(rb"0{7}")
_NUMBERS_BEHIND = re.compile(rb"[.,][0-9]|[-_/:][0-9A-Za-z]")
_SEPARATOR = re.compile(rb"[ ._-]")


def credit_card(body: bytes, start: int, end: int) -> Span | None:
    """A payment card number with a word for cards nearby.

    Grouped digits (separators of one kind, groups of three and more) may have the word in the two lines above, on the
    line, or right behind; plain digits on their line only.
    """
    length = _card_length(body[start:end])
    if length is None:
        return None
    end = start + length
    if not opens_here(body, start) or not closes_here(body, end) or _NUMBERS_BEHIND.match(body, end):
        return None
    if body[start - 1 : start] in (b".", b"-", b"_", b"/", b"+", b"#") and start:
        return None
    plain = body[start:end].isdigit()
    if _CARD_WORD.search(line_before(body, start, 80)):
        return start, end
    if (
        plain
        and _VALUE_LINE.fullmatch(line_before(body, start, 40))
        and _CARD_WORD.search(_lines_above(body, start))
    ):
        return start, end
    behind = body[end : end + 40].split(b"\n", 1)[0]
    if _CARD_WORD.search(behind) or (not plain and _CARD_WORD.search(_lines_above(body, start))):
        return start, end
    return None


def _card_length(run: bytes) -> int | None:
    """Length of the longest beginning of a run of digits and separators that is a card number; None without one.

    Other numbers may follow: a security code, an amount.
    """
    ends = [m.start() for m in _SEPARATOR.finditer(run)] + [len(run)]
    for end in reversed(ends):
        value = run[:end]
        if _grouped(value) and _is_card(_SEPARATOR.sub(b"", value)):
            return end
    return None


def _is_card(digits: bytes) -> bool:
    if digits in _TEST_CARDS or len(set(digits)) <= 3 or _ZEROS.search(digits) or not luhn(digits):
        return False
    text = digits.decode("ascii")
    return any(low <= text[: len(low)] <= high and len(text) in lengths for low, high, lengths in _RANGES)


def _grouped(value: bytes) -> bool:
    """Whether the separators are of one kind and leave groups that cards are written in."""
    separators = set(_SEPARATOR.findall(value))
    if not separators:
        return True
    return len(separators) == 1 and all(3 <= len(group) <= 8 for group in _SEPARATOR.split(value))


def _lines_above(body: bytes, start: int) -> bytes:
    """The two lines in front of the one at `start`, their last 160 bytes."""
    low = max(0, start - 240)
    above = body[low:start].rsplit(b"\n", 3)[:-1]
    return b"\n".join(above[-2:])[-160:]


def luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1 annex B: every second digit from the right doubled; a multiple of ten."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = (c - 48) * (1 + i % 2)
        total += d - 9 if d > 9 else d
    return total % 10 == 0
