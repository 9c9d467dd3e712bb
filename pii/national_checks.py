"""Check digits and structures of national identification numbers, as the authorities publish them.

Every function gets the number without separators, in capitals, of the right length and alphabet (the rule's pattern says
so), and tells whether it can have been issued.  Sources stand in `pii/rules/data/personal_ids.yaml`.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Sequence


def _weighted(digits: str, weights: Sequence[int]) -> int:
    return sum(int(c) * w for c, w in zip(digits, weights, strict=True))


def _is_day(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def _is_short_day(month: str, day: str) -> bool:
    """A day of a month, the year unknown."""
    return _is_day(2000, int(month), int(day))


def _luhn(digits: str) -> bool:
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = int(c) * (1 + i % 2)
        total += d - 9 if d > 9 else d
    return total % 10 == 0


def _mod_11_10(digits: str) -> bool:
    """ISO 7064 MOD 11,10."""
    check = 10
    for c in digits[:-1]:
        check = (check + int(c)) % 10 or 10
        check = check * 2 % 11
    return (11 - check) % 10 == int(digits[-1])


# Dihedral group of order ten: multiplication, and the permutation of positions (Verhoeff 1969).
_D = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
]
_FIRST = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def _verhoeff(digits: str) -> bool:
    check = 0
    for i, c in enumerate(reversed(digits)):
        d = int(c)
        for _ in range(i % 8):
            d = _FIRST[d]
        check = _D[check][d]
    return check == 0


def _us_ssn(v: str) -> bool:
    area, group, serial = int(v[:3]), int(v[3:5]), int(v[5:])
    if area >= 900:  # individual taxpayer identification numbers
        return (
            group in range(50, 66)
            or group in range(70, 89)
            or group in range(90, 93)
            or group in range(94, 100)
        )
    return area not in (0, 666) and group != 0 and serial != 0


def _uk_nino(v: str) -> bool:
    return v[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _uk_nhs(v: str) -> bool:
    return (11 - _weighted(v[:9], range(10, 1, -1)) % 11) % 11 == int(v[9])


def _ca_sin(v: str) -> bool:
    return v[0] not in "08" and _luhn(v)


def _de_tax_id(v: str) -> bool:
    counts = sorted(v[:10].count(d) for d in set(v[:10]))
    # One digit occurs twice or three times among the first ten, the others once.
    return v[0] != "0" and counts[-1] in (2, 3) and sum(c > 1 for c in counts) == 1 and _mod_11_10(v)


def _de_pension(v: str) -> bool:
    digits = f"{v[:8]}{ord(v[8]) - 64:02d}{v[9:11]}"
    total = sum(
        sum(divmod(int(c) * w, 10)) for c, w in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True)
    )
    return 1 <= int(v[4:6]) <= 12 and int(v[2:4]) % 50 <= 31 and total % 10 == int(v[11])


def _at_svnr(v: str) -> bool:
    check = _weighted(v[:3] + v[4:], (3, 7, 9, 5, 8, 4, 2, 1, 6)) % 11
    return v[0] != "0" and check == int(v[3]) and 1 <= int(v[6:8]) <= 15


def _ch_ahv(v: str) -> bool:
    return v[:3] == "756" and _weighted(v, (1, 3) * 6 + (1,)) % 10 == 0


def _fr_nir(v: str) -> bool:
    number = v[:13].replace("2A", "19").replace("2B", "18") if "A" in v or "B" in v else v[:13]
    month = int(v[3:5])
    return number.isdigit() and (1 <= month <= 12 or month >= 20) and 97 - int(number) % 97 == int(v[13:])


def _es_dni(v: str) -> bool:
    number = int(v[:-1].translate(str.maketrans("XYZ", "012")))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23] == v[-1]


_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ODD_DIGITS + _ODD_LETTERS, strict=True))


def _it_codice_fiscale(v: str) -> bool:
    total = sum(
        _ODD[c] if i % 2 == 0 else int(c) if c.isdigit() else ord(c) - 65 for i, c in enumerate(v[:15])
    )
    return v[8] in "ABCDEHLMPRST" and 1 <= int(v[9:11]) % 40 <= 31 and chr(65 + total % 26) == v[15]


def _nl_bsn(v: str) -> bool:
    return _weighted(v, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _be_number(v: str) -> bool:
    month = int(v[2:4]) % 20  # numbers of the bis register add 20 or 40 to the month
    return month <= 12 and int(v[9:]) in (97 - int(v[:9]) % 97, 97 - int("2" + v[:9]) % 97)


def _pl_pesel(v: str) -> bool:
    return (
        _is_short_day(str(int(v[2:4]) % 20), v[4:6])
        and _weighted(v, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0
    )


def _se_personnummer(v: str) -> bool:
    v = v.replace("+", "")[-10:]  # a plus sign: older than 100 years
    return _is_short_day(v[2:4], str((int(v[4:6]) - 1) % 60 + 1)) and _luhn(v)


def _no_fnr(v: str) -> bool:
    day, month = int(v[:2]) % 40, int(v[2:4]) % 40
    return (
        _is_day(2000, month, day)
        and _weighted(v[:10], (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0
        and _weighted(v, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0
    )


def _dk_cpr(v: str) -> bool:
    # The check digit is no longer kept for numbers issued since 2007.
    return _is_short_day(v[2:4], v[:2])


def _fi_hetu(v: str) -> bool:
    number = int(v[:6] + v[7:10])
    return _is_short_day(v[2:4], v[:2]) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31] == v[10]


def _pt_nif(v: str) -> bool:
    check = 11 - _weighted(v[:8], range(9, 1, -1)) % 11
    return v[0] in "1234" and (0 if check >= 10 else check) == int(v[8])


def _ie_pps(v: str) -> bool:
    total = _weighted(v[:7], range(8, 1, -1)) + (9 * (ord(v[8]) - 64) if len(v) == 9 and v[8] != "W" else 0)
    return "WABCDEFGHIJKLMNOPQRSTUV"[total % 23] == v[7]


def _ro_cnp(v: str) -> bool:
    check = _weighted(v[:12], (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return v[0] != "0" and _is_short_day(v[3:5], v[5:7]) and (1 if check == 10 else check) == int(v[12])


def _bg_egn(v: str) -> bool:
    return _is_short_day(str(int(v[2:4]) % 20), v[4:6]) and _weighted(
        v[:9], (2, 4, 8, 5, 10, 9, 7, 3, 6)
    ) % 11 % 10 == int(v[9])


def _cz_birth_number(v: str) -> bool:
    month = int(v[2:4]) % 50
    return _is_short_day(str(month - 20 if month > 20 else month), v[4:6]) and (
        len(v) == 9 or int(v) % 11 == 0
    )


def _hr_oib(v: str) -> bool:
    return _mod_11_10(v)


def _baltic_code(v: str) -> bool:
    if not _is_short_day(v[3:5], v[5:7]) or v[0] not in "12345678":
        return False
    check = _weighted(v[:10], (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if check == 10:
        check = _weighted(v[:10], (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return check == int(v[10])


def _gr_amka(v: str) -> bool:
    return _is_short_day(v[2:4], v[:2]) and _luhn(v)


def _tr_tckn(v: str) -> bool:
    digits = [int(c) for c in v]
    tenth = (sum(digits[0:9:2]) * 7 - sum(digits[1:8:2])) % 10
    return digits[0] != 0 and tenth == digits[9] and sum(digits[:10]) % 10 == digits[10]


def _il_id(v: str) -> bool:
    return _luhn(v)


def _za_id(v: str) -> bool:
    return _is_short_day(v[2:4], v[4:6]) and v[10] in "012" and _luhn(v)


def _br_cpf(v: str) -> bool:
    def check(part: str) -> int:
        return _weighted(part, range(len(part) + 1, 1, -1)) * 10 % 11 % 10

    return check(v[:9]) == int(v[9]) and check(v[:10]) == int(v[10])


def _cl_rut(v: str) -> bool:
    total = sum(int(c) * (2 + i % 6) for i, c in enumerate(reversed(v[:-1])))
    return "0123456789K0"[11 - total % 11] == v[-1] if total % 11 else v[-1] == "0"


def _ar_cuil(v: str) -> bool:
    check = 11 - _weighted(v[:10], (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return v[:2] in ("20", "23", "24", "25", "26", "27") and {11: 0, 10: 9}.get(check, check) == int(v[10])


_CURP = {c: i for i, c in enumerate("0123456789ABCDEFGHIJKLMN\u00d1OPQRSTUVWXYZ")}


def _mx_curp(v: str) -> bool:
    total = sum(_CURP[c] * (18 - i) for i, c in enumerate(v[:17]))
    return _is_short_day(v[6:8], v[8:10]) and -total % 10 == int(v[17])


def _in_aadhaar(v: str) -> bool:
    return v[0] not in "01" and _verhoeff(v)


def _cn_id(v: str) -> bool:
    total = _weighted(v[:17], [2 ** (17 - i) % 11 for i in range(17)])
    return (
        v[:2] in _PROVINCES
        and _is_day(int(v[6:10]), int(v[10:12]), int(v[12:14]))
        and "10X98765432"[total % 11] == v[17]
    )


# GB/T 2260: codes of provinces, regions and municipalities.
_PROVINCES = frozenset(
    str(n)
    for codes in ((11, 16), (21, 24), (31, 38), (41, 47), (50, 55), (61, 66), (71, 72), (81, 84))
    for n in range(*codes)
)


def _kr_rrn(v: str) -> bool:
    check = (11 - _weighted(v[:12], (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    # Foreigners' numbers (5 to 8) add two; numbers issued since October 2020 have random digits here.
    wanted = (check + 2) % 10 if v[6] in "5678" else check
    return _is_short_day(v[2:4], v[4:6]) and wanted == int(v[12])


def _jp_my_number(v: str) -> bool:
    rest = _weighted(v[:11], (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if rest <= 1 else 11 - rest) == int(v[11])


def _sg_nric(v: str) -> bool:
    total = _weighted(v[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if v[0] in "TG" else 0)
    return ("JZIHGFEDCBA" if v[0] in "ST" else "XWUTRQPNMLK")[total % 11] == v[8]


def _au_tfn(v: str) -> bool:
    return _weighted(v, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _au_medicare(v: str) -> bool:
    return v[0] in "23456" and _weighted(v[:8], (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(v[8])


def _nz_ird(v: str) -> bool:
    v = v.zfill(9)
    if not 10_000_000 <= int(v) < 150_000_000:
        return False
    for weights in ((3, 2, 7, 6, 5, 4, 3, 2), (7, 4, 3, 2, 5, 2, 7, 6)):
        check = -_weighted(v[:8], weights) % 11
        if check < 10:
            return check == int(v[8])
    return False


def _tw_id(v: str) -> bool:
    number = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(v[0]) + 10
    return _weighted(str(number) + v[1:], (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1)) % 10 == 0


def _hk_id(v: str) -> bool:
    letters = v[:-7].rjust(2)
    values = [36 if c == " " else ord(c) - 55 for c in letters] + [int(c) for c in v[-7:-1]]
    total = sum(x * w for x, w in zip(values, range(9, 1, -1), strict=True)) + int(v[-1], 11)
    return total % 11 == 0


def _th_id(v: str) -> bool:
    return v[0] != "0" and (11 - _weighted(v[:12], range(13, 1, -1)) % 11) % 10 == int(v[12])


def _my_kad(v: str) -> bool:
    return _is_short_day(v[2:4], v[4:6])


def _always(_: str) -> bool:
    return True


#: Name of the check -> whether a number can have been issued.
CHECKS: dict[str, Callable[[str], bool]] = {
    "us_ssn": _us_ssn,
    "uk_nino": _uk_nino,
    "uk_nhs": _uk_nhs,
    "ca_sin": _ca_sin,
    "de_tax_id": _de_tax_id,
    "de_pension": _de_pension,
    "at_svnr": _at_svnr,
    "ch_ahv": _ch_ahv,
    "fr_nir": _fr_nir,
    "es_dni": _es_dni,
    "it_codice_fiscale": _it_codice_fiscale,
    "nl_bsn": _nl_bsn,
    "be_number": _be_number,
    "pl_pesel": _pl_pesel,
    "se_personnummer": _se_personnummer,
    "no_fnr": _no_fnr,
    "dk_cpr": _dk_cpr,
    "fi_hetu": _fi_hetu,
    "pt_nif": _pt_nif,
    "ie_pps": _ie_pps,
    "ro_cnp": _ro_cnp,
    "bg_egn": _bg_egn,
    "cz_birth_number": _cz_birth_number,
    "hr_oib": _hr_oib,
    "baltic_code": _baltic_code,
    "gr_amka": _gr_amka,
    "tr_tckn": _tr_tckn,
    "il_id": _il_id,
    "za_id": _za_id,
    "br_cpf": _br_cpf,
    "cl_rut": _cl_rut,
    "ar_cuil": _ar_cuil,
    "mx_curp": _mx_curp,
    "in_aadhaar": _in_aadhaar,
    "in_pan": _always,
    "cn_id": _cn_id,
    "kr_rrn": _kr_rrn,
    "jp_my_number": _jp_my_number,
    "sg_nric": _sg_nric,
    "au_tfn": _au_tfn,
    "au_medicare": _au_medicare,
    "nz_ird": _nz_ird,
    "tw_id": _tw_id,
    "hk_id": _hk_id,
    "th_id": _th_id,
    "my_kad": _my_kad,
}
