"""National identification numbers: alone between other characters, possible by their check digits, and nobody's example.

Rules whose numbers could be anything demand a word for them in front (in their pattern); numbers with a structure of
their own (a date, letters and a check character, fixed separators) are found without.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pii.boundaries import closes_here, opens_here
from pii.national_checks import CHECKS
from pii.negatives import counts_up

Span = tuple[int, int]

_SEPARATORS = re.compile(r"[ ./()\u00a0-]")
_FRONTS = (b".", b"-", b"_", b"+", b"/", b"#", b"*", b"$")
_GOES_ON = re.compile(rb"[.,][0-9]|[-_/+][0-9A-Za-z]")

# Numbers that authorities and standard texts print as examples.
_PUBLISHED = frozenset(
    b"""
    078051120 219099999 457555462 123456789 987654321 987654320 111223333 123121234 AB123456C QQ123456C AA123456A
    9434765919 9876543210 4010232137 130692544 046454286 86095742719 47036892816 65929970489 36574261809 15070649C103
    65170839J003 1237010180 7569217076985 7561234567897 269054958815780 295117823456784 253076102506188 12345678Z
    X1234567L 00000000T 99999999R 54362315K RSSMRA85T10A562S MRTMTT25D09F205Z RSSMRA80A01H501U 111222333 123456782
    85073003328 93051822361 44051401359 44051401458 02070803628 8112189876 6709199530 1212121212 15108695088 01010750160
    0707614285 131052-308T 010101-123N 1234567T 1234567FA 6433435F 6433435OA 1630615123457 1800101221144 7523169263
    7552010005 8032056031 7103192745 991231123 33392005961 94577403194 37605030299 36805280109 33309240064 01013099997
    10000000146 17291716060 000000018 8001015009087 11144477735 39053344705 52998224725 12345678909 123456785 306869574
    125319092 20123456786 20267565393 HEGG560427MVZRRL04 BOXW310820HNERXN09 BADD110313HCMLNS09 234123412346
    999999990019 ABCPE1234F AAAPL1234C ABCPL1234C 11010519491231002X 440524188001010014 34052419800101001X
    110105199001011234 9710139019902 123456789018 S1234567D S0000001I T0000001E F1234567N G1234567X 876543210
    2123456701 2950156481 49091850 35901981 136410132 A123456789 A100000001 A1234563 C1234569 AB9876543 G123456A
    1234567890121 3100600445635
    """.split()
)


def _verifier(name: str) -> Callable[[bytes, int, int], Span | None]:
    check = CHECKS[name]
    keeps_separators = name == "fi_hetu"

    def verify(body: bytes, start: int, end: int) -> Span | None:
        if not opens_here(body, start) or (start and body[start - 1 : start] in _FRONTS):
            return None
        if (body[end - 1 : end] != b")" and not closes_here(body, end)) or _GOES_ON.match(body, end):
            return None
        text = body[start:end].decode("latin-1").replace("\u00c2", "").upper()
        value = text if keeps_separators else _SEPARATORS.sub("", text)
        raw = value.encode("latin-1")
        if raw in _PUBLISHED or len(set(raw)) <= 2 or counts_up(raw):
            return None
        return (start, end) if check(value) else None

    return verify


#: Verifier of each check, under the name that rules write: `id_` and the name of the check.
NATIONAL_IDS = {f"id_{name}": _verifier(name) for name in CHECKS}

# ICAO Doc 9303 part 3, 4.9: digits count as themselves, A to Z as 10 to 35, < as 0; weights 7, 3, 1.
# UTO (Utopia) is the state of specimens.
_FILLER = str.maketrans("<", "0")


def _check_digit(field: str) -> int:
    return sum(int(c, 36) * (7, 3, 1)[i % 3] for i, c in enumerate(field.translate(_FILLER))) % 10


def _holds(field: str, digit: str) -> bool:
    return digit.isdigit() and _check_digit(field) == int(digit)


_LINE = re.compile(rb"[A-Z0-9<]{1,45}")
_LINE_BEFORE = re.compile(rb"[A-Z0-9<]{1,45}\Z")
_BREAK = re.compile(rb"\r?\n|\\n")


def machine_readable_zone(body: bytes, start: int, end: int) -> Span | None:
    """The lines of a passport (TD3) or an identity card (TD1) around a break between them, if their check digits hold."""
    first = _LINE_BEFORE.search(body[max(0, start - 44) : start + 1])
    if first is None:
        return None
    begin = start + 1 - len(first.group())
    if not opens_here(body, begin):
        return None
    lines, at = [first.group().decode("ascii")], start + 1
    stop = at
    while len(lines) < 3 and (gap := _BREAK.match(body, at)) and (line := _LINE.match(body, gap.end())):
        lines.append(line.group().decode("ascii"))
        at = stop = line.end()
        if len(lines) == 2 and len(lines[0]) == 44:
            break
    if not closes_here(body, stop):
        return None
    sizes = [len(line) for line in lines]
    if sizes == [44, 44]:
        holds, state = _is_passport(*lines), lines[0][2:5]
    elif sizes == [30, 30, 30]:
        holds, state = _is_card(*lines), lines[0][2:5]
    else:
        return None
    return (begin, stop) if holds and state != "UTO" else None


def _is_passport(_names: str, line: str) -> bool:
    return (
        _holds(line[:9], line[9])
        and _holds(line[13:19], line[19])
        and _holds(line[21:27], line[27])
        and _holds(line[:10] + line[13:20] + line[21:43], line[43])
    )


def _is_card(first: str, second: str, _names: str) -> bool:
    return (
        _holds(first[5:14], first[14])
        and _holds(second[:6], second[6])
        and _holds(second[8:14], second[14])
        and _holds(first[5:30] + second[:7] + second[8:15] + second[18:29], second[29])
    )
