"""Personal data: recall in the forms that code has, what is nobody's, check digits against the authorities' specimens."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pii import Settings, redact_one, scan_one
from pii.banks import _PUBLISHED as IBAN_EXAMPLES
from pii.banks import _STRUCTURES
from pii.cards import _TEST_CARDS, luhn
from pii.national_checks import CHECKS
from pii.rules import rule_table
from pii.rules.examples import PARTS, expand

AT = "@"  # no address stands whole in the tree
NAMES_TOO = {s: Settings(sensitivity=s, kinds=(("name", s),)) for s in ("medium", "high")}
PERSONAL = ("credit_card", "bank_account", "national_id", "email", "ip_address", "phone", "name")
RULES = [r for r in rule_table() if r.kind in PERSONAL]


def found(text, sensitivity="medium"):
    return scan_one(text.encode(), NAMES_TOO[sensitivity])


# What is found: every value in every context.  `%` is the value.
CONTEXTS = [
    "{name} = '%'\n",
    'const {name} = "%";\n',
    '  "{name}": "%",\n',
    '{{"{name}":"%"}}',
    "{name}: %\n",
    "<{name}>%</{name}>\n",
    "export {NAME}=%\n",
    "# {name}: %\n",
    "// {name} %\n",
    "/* {name}: % */",
    "<!-- {name} % -->",
    'log.info("{name}=%, ok")\n',
    "INSERT INTO t ({name}) VALUES ('%');\n",
    "'{name}' => '%',\n",
    "\u00e9 {name}\t%\r\n",
    "| {name} | % |\n",
]


def hits(values, names, more):
    """(values in contexts, of which found over the whole span)."""
    tried = whole = 0
    for value in values:
        for i, context in enumerate([*CONTEXTS, *more]):
            name = names[i % len(names)]
            text = context.replace("{{", "{").replace("}}", "}")
            text = text.replace("{name}", name).replace("{NAME}", name.upper()).replace("%", value)
            start = len(text[: text.index(value)].encode())
            spans = [f[:2] for f in scan_one(text.encode(), Settings(sensitivity="medium"))]
            tried += 1
            whole += (start, start + len(value.encode())) in spans
    return tried, whole


def make(part, argument="", n=12):
    g = random.Random(f"{part}{argument}")
    return [PARTS[part](g, argument, "") for _ in range(n)]


def mails():
    g = random.Random(5)
    words = ["anna", "bela.k", "carl_x", "d-e", "emil99", "F.Gus", "j\u00f6rg", "o'neil", "x+tag"]
    hosts = [
        "uni" + "-x.de",
        "mail.nord" + "wind.co.uk",
        "163" + ".com",
        "b" + "laub\u00e4r.se",
        "tele" + "2x.io",
        "acme" + "-x.berlin",
    ]
    return [g.choice(words) + AT + g.choice(hosts) for _ in range(40)]


def test_recall_of_addresses():
    tried, whole = hits(
        mails(),
        ["email", "author", "to", "contact_mail"],
        ["mailto:%?a=b", "<%>", "(%)", "1,%,2", "%", "%.", "git -c user.email=% x"],
    )
    assert whole == tried
    more = [
        "http://%:80/x",
        "%",
        "1,%,2",
        "% - - [1/Jan/2020]",
        "ssh root@%",
        "allow %;",
        'if (ip == "%")',
        "%/32",
        "%:443",
    ]
    tried, whole = hits(make("public4", n=40), ["ip", "host", "remote_addr"], more)
    assert whole >= 0.99 * tried
    tried, whole = hits(
        make("public6", n=40),
        ["ip", "host"],
        ["http://[%]/", "%", "% - -", "AAAA %", "%/128", "inet6 %/64 scope global"],
    )
    assert whole >= 0.99 * tried


@pytest.mark.parametrize(
    "issuer", ["visa", "mastercard", "mastercard2", "amex", "discover", "jcb", "diners", "unionpay"]
)
def test_recall_of_cards(issuer):
    values = [v for separator in ("", " ", "-") for v in make("card", f"{issuer}|{separator}", 4)]
    tried, whole = hits(
        values,
        ["card_number", "credit_card", "pan"],
        ["% (visa)", "card %"],
    )
    assert whole >= 0.95 * tried


def test_recall_of_accounts():
    for country in ("DE", "GB", "FR", "NO", "MT", "NL"):
        values = make("iban", country, 4) + make("iban", f"{country}| ", 4)
        tried, whole = hits(values, ["iban", "x"], ["%", "pay % now", "1,%,2"])
        assert whole == tried


def test_recall_of_phones():
    g = random.Random(3)

    def digits(n):
        return "".join(g.choice("2468013579") for _ in range(n))

    values = [
        f(digits)
        for _ in range(4)
        for f in (
            lambda d: f"+49 171 7{d(3)} 7{d(2)}",
            lambda d: f"+1-212-7{d(2)}-{d(4)}",
            lambda d: f"(212) 7{d(2)}-{d(4)}",
            lambda d: f"2127{d(6)}",
            lambda d: f"+33 6 71 8{d(1)} 9{d(1)} 0{d(1)}",
            lambda d: f"030 90{d(1)}8 7{d(3)}",
            lambda d: f"020 72{d(2)} {d(4)}",
            lambda d: f"01 42 6{d(1)} 9{d(1)} 1{d(1)}",
            lambda d: f"+91 98{d(3)} {d(5)}",
        )
    ]
    tried, whole = hits(
        values,
        ["phone", "mobile", "tel", "fax_number", "whatsapp"],
        ["tel:%", "phone %"],
    )
    assert whole >= 0.95 * tried


# What is nobody's, or something else.
NOBODYS = {
    "example domains": [
        f"x{AT}example.com",
        f"x{AT}sub.example.org",
        f"you{AT}yourdomain.com",
        f"a{AT}b.test",
        f"a{AT}corp.internal",
    ],
    "services": [
        f"git{AT}host.org:a/b.git",
        f"noreply{AT}uni-x.org",
        f"postmaster{AT}uni-x.org",
        f"1+u{AT}users.noreply.github.com",
    ],
    "logins": [
        f"ssh jd{AT}uni-x.org",
        f"scp f jd{AT}uni-x.org:",
        f"jd{AT}uni-x.org:/srv",
        f"https://jd{AT}uni-x.org/x",
        f"ssh://jd{AT}uni-x.org/r",
    ],
    "at signs of code": [
        "@media screen.print",
        "@app.route('/x.com')",
        "icon@2x.png",
        "pkg@1.2.3",
        "@s/pkg@1.2.dev",
        "getty@tty1.service",
        "x@y.to(d)",
    ],
    "patterns": [
        r"[a-z]+@[a-z]+\.com",
        r".+@uni-x.com",
        f"%s{AT}uni-x.com",
        f"${{u}}{AT}uni-x.com",
        f"$u{AT}uni-x.com",
        f"{{{{u}}}}{AT}uni-x.com",
    ],
    "sizes": [
        "x" * 65 + f"{AT}uni-x.org",
        f"x{AT}" + "a" * 64 + ".org",
        f"a..b{AT}uni-x.org",
        f"x{AT}-uni.org",
    ],
    "special addresses": [
        "10.1.2.3",
        "192.168.0.9",
        "127.0.0.1",
        "203.0.113.9",
        "198.51.100.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.251",
    ],
    "stand-ins of addresses": [
        "ip = 1.2.3.4",
        "host 11.22.33.44",
        "ip: 8.8.8.8",
        "ip 123.45.67.89",
        "host 7.7.7.7",
    ],
    "versions": [
        "version 52.95.110.1",
        "Chrome/93.0.45.77",
        "pkg==52.95.110.1",
        "v52.95.110.1",
        "52.95.110.1.2",
        "1.3.6.1.4.1",
        "step 2.1.200.3",
        "RFC4880 5.2.3.1",
        ".. 5.1.77.2 Overview",
        "ffmpeg 4.2.7.13",
        "§ 4.3.2.5 Scope",
    ],
    "networks": [
        "52.95.110.0/24",
        "52.95.112.0/20",
        "2a00:1450::/32",
        "2001:db8::1",
        "fe80::1%eth0",
        "::1",
        "::ffff:10.0.0.1",
    ],
    "drawings": ['d="M12.5 3.25 52.95.110.1 7.5"', "c.5.3.2.1-.2.4"],
    "telephones": [
        "phone: 202-555-0143",
        "tel 07700 900123",
        "phone 030 23125 417",
        "Tél 01 99 00 27 81",
        "phone 0491 570 156",
        "tel: 1234567890",
    ],
    "numbers": [
        "call 20231105",
        "cell 2021-03-04 10",
        "tel 1.2.3.4567890",
        "hotel 2127364417",
        "phone 550e8400-e29b-41d4-a716-446655440000",
        "t = 1609459200",
    ],
    "company numbers": ["cnpj 11.222.333/0001-81", "NIP: 526-104-08-28"],
}


@pytest.mark.parametrize("what", NOBODYS)
def test_what_is_nobodys(what):
    for text in NOBODYS[what]:
        assert found(text) == [], text


def test_published_test_numbers_are_left():
    for number in _TEST_CARDS:
        assert luhn(number), number
        assert found(f"card: {number.decode()}") == []
    for account in IBAN_EXAMPLES:
        text = account.decode()
        assert int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1, account
        assert len(text) == 4 + sum(n for n, _ in _STRUCTURES[text[:2]]), account
        assert found(f"iban {text}") == []


# Specimens that the authorities (or the standard texts on their numbers) print: an oracle that is not our arithmetic.
SPECIMENS = {
    "us_ssn": "457555462",
    "uk_nhs": "9434765919 9876543210 4010232137",
    "ca_sin": "130692544",
    "de_tax_id": "86095742719 47036892816 65929970489",
    "de_pension": "15070649C103 65170839J003",
    "at_svnr": "1237010180",
    "ch_ahv": "7569217076985 7561234567897",
    "fr_nir": "269054958815780",
    "es_dni": "12345678Z X1234567L 54362315K",
    "it_codice_fiscale": "RSSMRA85T10A562S MRTMTT25D09F205Z",
    "nl_bsn": "111222333 123456782",
    "be_number": "85073003328 93051822361",
    "pl_pesel": "44051401359 02070803628",
    "se_personnummer": "8112189876 198112189876 6709199530",
    "no_fnr": "15108695088 01010750160",
    "dk_cpr": "0707614285",
    "fi_hetu": "131052-308T",
    "pt_nif": "123456789",
    "ie_pps": "1234567T 6433435F 6433435OA",
    "ro_cnp": "1630615123457 1800101221144",
    "bg_egn": "7523169263 7552010005 8032056031",
    "cz_birth_number": "7103192745 991231123",
    "hr_oib": "33392005961 94577403194",
    "baltic_code": "37605030299 33309240064",
    "gr_amka": "01013099997",
    "tr_tckn": "10000000146",
    "il_id": "000000018",
    "za_id": "8001015009087",
    "br_cpf": "11144477735 52998224725",
    "cl_rut": "123456785 306869574",
    "ar_cuil": "20123456786",
    "mx_curp": "HEGG560427MVZRRL04 BOXW310820HNERXN09",
    "in_aadhaar": "234123412346",
    "cn_id": "11010519491231002X 440524188001010014 34052419800101001X",
    "kr_rrn": "9710139019902",
    "jp_my_number": "123456789018",
    "sg_nric": "S1234567D S0000001I T0000001E F1234567N G1234567X",
    "au_tfn": "123456782",
    "au_medicare": "2123456701 2950156481",
    "nz_ird": "49091850 35901981 136410132",
    "tw_id": "A123456789",
    "hk_id": "A1234563 C1234569 AB9876543",
    "th_id": "1234567890121",
}
#: Checks that see every change of one character; the others have no check digit, or let some pass.
DETECT_ONE = [
    "uk_nhs",
    "ca_sin",
    "de_tax_id",
    "ch_ahv",
    "fr_nir",
    "es_dni",
    "nl_bsn",
    "pl_pesel",
    "no_fnr",
    "hr_oib",
    "tr_tckn",
    "il_id",
    "za_id",
    "gr_amka",
    "br_cpf",
    "in_aadhaar",
    "cn_id",
    "sg_nric",
    "au_tfn",
    "at_svnr",
]


@pytest.mark.parametrize("name", SPECIMENS)
def test_specimens_of_authorities_hold(name):
    for specimen in SPECIMENS[name].split():
        assert CHECKS[name](specimen), specimen


def test_every_check_has_a_specimen_or_no_check_digit():
    assert set(CHECKS) - set(SPECIMENS) == {"uk_nino", "in_pan", "my_kad"}


@pytest.mark.parametrize("name", DETECT_ONE)
def test_one_wrong_digit_is_seen(name):
    for specimen in SPECIMENS[name].split():
        for i, c in enumerate(specimen):
            for other in "0123456789":
                wrong = specimen[:i] + other + specimen[i + 1 :]
                # The check character itself may be a letter; a letter elsewhere is not a digit's place.
                if c.isdigit() and other != c:
                    assert not CHECKS[name](wrong), (i, other)


def test_specimens_are_left():
    words = {
        "us_ssn": "ssn",
        "de_tax_id": "steuer-id",
        "pl_pesel": "pesel",
        "nl_bsn": "bsn",
        "in_aadhaar": "aadhaar",
        "il_id": "zehut",
    }
    for name, word in words.items():
        for specimen in SPECIMENS[name].split():
            assert found(f"{word}: {specimen}") == []


@given(st.text("0123456789", min_size=12, max_size=18))
def test_luhn_sees_wrong_digits_and_swaps(digits):
    value = digits.encode()
    good = next(value + b"%d" % d for d in range(10) if luhn(value + b"%d" % d))
    for i in range(len(good) - 1):
        assert not luhn(good[:i] + b"%d" % ((good[i] - 47) % 10) + good[i + 1 :])
        a, b = good[i], good[i + 1]
        if a != b and {a, b} != {48, 57}:  # 09 and 90 have the same sum
            assert not luhn(good[:i] + bytes([b, a]) + good[i + 2 :])


# Names.
def test_names_are_off_unless_asked_for():
    text = "# Author: Quentin Zander\n"
    assert scan_one(text.encode(), Settings(sensitivity="high")) == []
    assert [f[2] for f in found(text)] == ["name"]


@pytest.mark.parametrize(
    "line",
    [
        "Copyright (c) 2020 Quentin Zander <%>",
        "// SPDX-FileCopyrightText: 2020 Quentin Zander <%>",
        "\u00a9 2020 Quentin Zander, author: Quentin Zander",
        " * This product includes software written by Quentin Zander",
    ],
    ids=["copyright", "spdx", "sign", "advertising clause"],
)
def test_lines_of_attribution_keep_their_names(line):
    assert [f for f in found(line.replace("%", f"q{AT}uni-x.org")) if f[2] == "name"] == []


def test_a_list_of_names_is_one_finding():
    text = "Authors: Ana Xander, Bo Yates and Cy Zeller, and others"
    assert [text.encode()[slice(*f[:2])] for f in found(text)] == [b"Ana Xander, Bo Yates and Cy Zeller"]


# Together: closed, and the same without Hyperscan.
TEXTS = [expand(t, r.id)[0].decode() for r in RULES for t in (*r.found, *r.not_found)]
GLUE = [
    "\n",
    " ",
    "'",
    '"',
    "\\n",
    ", ",
    "<",
    ">",
    "@",
    ".",
    "-",
    "phone ",
    "Author: ",
    "card ",
    "ssn ",
    "IBAN",
    "\u00e9",
    "\u6f22",
    "\x00",
    "\r\n",
]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(TEXTS + GLUE * 8), max_size=8).map("".join), st.sampled_from(["medium", "high"])
)
def test_released_texts_hold_nothing_and_engines_agree(text, sensitivity):
    body = text.encode()
    first = scan_one(body, NAMES_TOO[sensitivity])
    assert scan_one(redact_one(body, first)[0], NAMES_TOO[sensitivity]) == []
    assert scan_one(body, NAMES_TOO[sensitivity], use_hyperscan=False) == first


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([(r, t) for r in RULES for t in r.found]), st.binary(max_size=12), st.binary(max_size=12)
)
def test_bytes_around_a_span_do_not_crash(example, before, behind):
    rule, template = example
    body, _ = expand(template, rule.id)
    for start, end, _, _ in scan_one(before + body + behind, NAMES_TOO["high"]):
        assert 0 <= start < end <= len(before + body + behind)


def test_work_per_telephone_number_is_bounded(monkeypatch):
    from pii import phones

    calls = 0
    real = phones.phonenumbers.parse

    def counting(*args):
        nonlocal calls
        calls += 1
        return real(*args)

    monkeypatch.setattr(phones.phonenumbers, "parse", counting)
    numbers = 200
    scan_one(
        "\n".join(f"tel {i:03d}9 {i:03d} {i:03d} 1" for i in range(numbers)).encode(), NAMES_TOO["medium"]
    )
    assert calls <= numbers * len(phones._GENERAL) * 2  # the closure looks at a finding's line again


@pytest.mark.parametrize(
    "unit",
    [
        "tel 1",
        "+1 2",
        "4539 ",
        "GB29 ABCD",
        "ssn 1-",
        "a at b dot ",
        "@author A",
        "<a@b",
        "::ffff:1.",
        "<\nAAAA",
        "TODO(a",
        "A B C <a@b",
    ],
)
def test_hostile_repetitions(unit):
    body = (unit * (100_000 // len(unit))).encode()
    assert scan_one(body, NAMES_TOO["high"]) is not None
