"""Personal data for the planted set: addresses, cards, accounts, phones, names in author tags.

Part of what is frozen by digest; imports nothing of `pii`. Sources: RFC 5321/5322 (mailboxes), IANA's special-purpose
registries (addresses), the card networks' published ranges with Luhn (ISO/IEC 7812), the IBAN registry (ISO 13616:
lengths and structure; national check digits inside the account number are not computed), numbering plans of the
national regulators. Nobody's data: everything is drawn.
"""

# ruff: noqa: E501 (tables of forms: one kind a line)

from __future__ import annotations

import ipaddress

from secrets_draw import BASE36, DIGITS, LOWER, UPPER, Draw, Snippet, mark

PLACES = ("lines", "lines", "comment", "first", "last", "long")


# ---------------------------------------------------------------------------------------------- names, e-mail


def given(draw: Draw) -> str:
    """Draw a given name."""
    return draw.pick(
        [
            "Anna",
            "Peter",
            "Maria",
            "John",
            "Wei",
            "Fatima",
            "José",
            "Olga",
            "Raj",
            "Yuki",
            "Lars",
            "Zoë",
            "Ahmed",
            "Ingrid",
            "Paul",
            draw.word().title(),
            draw.word().title(),
        ]
    )


def person(draw: Draw) -> str:
    """Draw a name of a person that is not known to exist: the family name is made of syllables."""
    family = draw.word(2, 3).title()
    family = draw.pick(
        [
            family,
            family,
            family,
            f"{family}-{draw.word().title()}",
            f"van {family}",
            f"de {family}",
            f"Mc{family}",
            f"O'{family}",
            family + "ová",
        ]
    )
    middle = draw.pick(["", "", "", f" {draw.pick(UPPER)}.", f" {draw.word().title()}"])
    return f"{given(draw)}{middle} {family}"


def mailbox(draw: Draw) -> str:
    """Draw an e-mail address: dot-atoms of several forms, sub-addresses, long and punycode domains."""
    a, b = draw.word(), draw.word(2, 3)
    local = draw.pick(
        [
            a,
            f"{a}.{b}",
            f"{a}.{b}",
            f"{a}_{b}",
            f"{a}{draw.digits(2, 4)}",
            f"{a}.{b}+{draw.word()}",
            f"{a[0]}{b}",
            f"{a}-{b}",
            f"{a.title()}.{b.title()}",
            f"{draw.digits(6)}",
            f"{a[0]}.{b}",
        ]
    )
    domain = draw.pick(
        [
            draw.host(),
            draw.host(),
            draw.host(),
            "g" + "mail.com",
            "out" + "look.com",
            "yahoo" + ".co.jp",
            "qq" + ".com",
            f"cs.{draw.word(2, 4)}.edu",
            f"{draw.word(2, 3)}.ac.uk",
            f"xn--{draw.word()}-{draw.text(LOWER + DIGITS, 3)}.de",
            f"{draw.word(3, 4)}.museum",
            f"mail.dept.{draw.word(3, 4)}.gov",
        ]
    )
    return f"{local}@{domain}"


def email(draw: Draw) -> Snippet:
    """An e-mail address in code, comments, tags and lists."""
    value = mark("email", "email", mailbox(draw))
    name = person(draw)
    text = draw.pick([
        f"Author: {name} <{value}>", f"# {name} <{value}>", f"Signed-off-by: {name} <{value}>", f"@author {name} <a href=\"mailto:{value}\">{name}</a>",
        f'author_email="{value}",', f'"email": "{value}",', f"email: {value}", f"EMAIL = '{value}'", f"contact us at {value}.", f"({value})", f"mailto:{value}?subject=bug",
        f"<{value}>", f"{value}", f"{value}, {draw.word()}", f"to={value}&cc=", f"user,{value},42", f"git config user.email {value}", f"MAINTAINER {name} <{value}>",
        f"\\email{{{value}}}", f"const to = '{value}';", f"[{name}](mailto:{value})", f'<email>{value}</email>', f"ADMINS = [('{name}', '{value}')]", f"* {name} ({value})",
        f"Copyright (c) 2019 {name} <{value}>", f"if user == \"{value}\":", f"INSERT INTO users VALUES (1, '{value}');", f"Report bugs to: {value};", f"\t\"{name} <{value}>\",",
    ])  # fmt: skip
    return Snippet(text, "e-mail", PLACES)


def name_tag(draw: Draw) -> Snippet:
    """A name in an author tag, a trailer or a comment."""
    value = mark("name", "name", person(draw))
    text = draw.pick([
        f"@author {value}", f" * @author {value}", f"# Author: {value}", f"// Author: {value}", f"__author__ = '{value}'", f'__author__ = "{value}"', f"Signed-off-by: {value} <noreply@example.com>",
        f"Co-authored-by: {value} <noreply@example.com>", f"Reviewed-by: {value} <x@example.org>", f"//  Created by {value} on 3/12/19.", f"\\author{{{value}}}", f'"author": "{value}",', f'author = "{value}"', f":Author: {value}", f"-- Author: {value}",
        f"% Author: {value}", f"Written by {value}", f"/* Author: {value} */", f"<!-- author: {value} -->", f"Maintainer: {value}", f"'Author: {value}",
    ])  # fmt: skip
    return Snippet(text, "author tag", ("lines", "first"))


# ---------------------------------------------------------------------------------------------- addresses


def ipv4(draw: Draw) -> str:
    """Draw a globally routable IPv4 address."""
    while True:
        value = ipaddress.IPv4Address(draw.bytes(4))
        if (
            value.is_global
            and not value.is_multicast
            and int(value) >> 24 > 4
            and b"\0" not in value.packed
            and b"\xff" not in value.packed
        ):
            return str(value)


def ipv6(draw: Draw) -> str:
    """Draw a global unicast IPv6 address of space that registries have handed out (2001:400::/23 on, 2400:: to 2c00::)."""
    while True:
        head = draw.pick(
            [0x2001_0600, 0x2001_0400, 0x2400_0000, 0x2600_0000, 0x2800_0000, 0x2A00_0000, 0x2A02_0000]
        ) + draw.below(0x200)
        tail = draw.pick(
            [draw.bytes(12), draw.bytes(4) + b"\0" * 7 + b"\1", draw.bytes(4) + b"\0" * 6 + draw.bytes(2)]
        )
        value = ipaddress.IPv6Address(head.to_bytes(4, "big") + tail)
        if value.is_global:
            return draw.pick([str(value), str(value), value.exploded, str(value).upper()])


def address(draw: Draw) -> Snippet:
    """A public address in code, configuration, logs and lists."""
    if six := draw.chance(0.3):
        value = mark("ip_address", "ipv6", ipv6(draw))
        texts = [
            f"http://[{value}]:8080/",
            f'HOST = "{value}"',
            f"inet6 {value}/64 scope global",
            f"listen = [{value}]:443",
            f"nameserver {value}",
            f"{value}",
            f"allow {value};",
            f'"ip": "{value}",',
            f"ping6 {value}",
            f"ip: {value}",
        ]
    else:
        value = mark("ip_address", "ipv4", ipv4(draw))
        texts = [
            f"http://{value}:{draw.between(80, 9000)}/", f"http://{value}/index.html", f'HOST = "{value}"', f"host: {value}", f"ssh {_name(draw)}@{value}", f"allow {value};", f"deny from {value}/32", f'("{value}", 8080)', f"{value}", f"{value} {draw.host()}",
            f'"ip": "{value}",', f"server = '{value}'", f"{value} - - [12/Mar/2019:10:00:00 +0000] \"GET / HTTP/1.1\" 200 512", f"Connected to {value}.", f"ping {value}", f"connect({value}, 22)", f"SERVER_IP={value}", f"-h {value} -p 22", f"{value},{draw.digits(2)},ok", f"<ip>{value}</ip>", f"A   {value}", f"remote {value} 1194",
        ]  # fmt: skip
    return Snippet(draw.pick(texts), "IPv6" if six else "IPv4", PLACES)


def _name(draw: Draw) -> str:
    return draw.pick(["root", "ubuntu", "deploy", draw.word()])


# ---------------------------------------------------------------------------------------------- cards, accounts


def luhn(digits: str) -> str:
    """Give the check digit of ISO/IEC 7812."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = int(c) * (2 if i % 2 == 0 else 1)
        total += d - 9 if d > 9 else d
    return str(-total % 10)


def card_number(draw: Draw) -> tuple[str, str]:
    """Draw network and number."""
    network, prefix, length = draw.pick([
        ("visa", "4", 16), ("visa", "4", 16), ("visa", "4", 13), ("mastercard", str(draw.between(51, 55)), 16), ("mastercard", str(draw.between(2221, 2720)), 16), ("amex", draw.pick(["34", "37"]), 15),
        ("discover", draw.pick(["6011", "65", str(draw.between(644, 649))]), 16), ("diners", draw.pick(["36", "38", str(draw.between(300, 305))]), 14), ("jcb", str(draw.between(3528, 3589)), 16), ("unionpay", "62", 16), ("maestro", draw.pick(["5018", "5020", "6304", "6759"]), 16),
    ])  # fmt: skip
    body = prefix + draw.text(DIGITS, length - len(prefix) - 1)
    return network, body + luhn(body)


def card(draw: Draw) -> Snippet:
    """A payment card number, with words that tell what it is or without."""
    network, number = card_number(draw)
    if draw.chance(0.5):
        cuts = (4, 10) if len(number) in {14, 15} else (4, 8, 12)
        sep = draw.pick([" ", "-"])
        parts = [number[a:b] for a, b in zip((0, *cuts), (*cuts, len(number)), strict=True)]
        number = sep.join(p for p in parts if p)
    value = mark("credit_card", network, number)
    if draw.chance(0.3):
        return Snippet(
            draw.pick([f'"{value}"', f"{value}", f"x = '{value}'", f"- {value}", f"{value},{draw.word()}"]),
            "card alone",
            PLACES,
        )
    text = draw.pick(
        [
            f'card_number = "{value}"',
            f"cardNumber: '{value}',",
            f"credit card: {value}",
            f'"ccnum": "{value}",',
            f"Card No. {value} exp 04/27",
            f"<CardNumber>{value}</CardNumber>",
            f"pan={value}&cvv=123",
            f"# {network} card {value}",
            f"charge(card='{value}', cvc='123')",
            f"CREDIT_CARD={value}",
            f"payment with {network.title()} {value}",
        ]
    )
    return Snippet(text, "card in context", PLACES)


# ISO 13616: country, then the structure of the account part (n digits, a upper-case letters, c both), with its lengths.
_IBAN = {
    "DE": "18n", "FR": "10n11c2n", "GB": "4a14n", "ES": "20n", "IT": "1a10n12c", "NL": "4a10n", "BE": "12n", "CH": "5n12c", "AT": "16n", "PL": "24n", "PT": "21n", "SE": "20n", "NO": "11n", "DK": "14n", "FI": "14n",
    "IE": "4a14n", "CZ": "20n", "HU": "24n", "RO": "4a16c", "GR": "7n16c", "LU": "3n13c", "TR": "6n16c", "SA": "2n18c", "AE": "19n", "IL": "19n", "BR": "23n1a1c", "UA": "6n19c", "HR": "17n", "EE": "16n", "MT": "4a5n18c",
}  # fmt: skip


def iban_number(draw: Draw) -> str:
    """Draw an account number with the right check digits (mod 97)."""
    country = draw.pick(sorted(_IBAN))
    structure, account, count = _IBAN[country], "", ""
    for c in structure:
        if c.isdigit():
            count += c
            continue
        account += draw.text({"n": DIGITS, "a": UPPER, "c": BASE36.upper()}[c], int(count))
        count = ""
    number = int("".join(str(int(c, 36)) for c in account + country + "00"))
    return f"{country}{98 - number % 97:02d}{account}"


def iban(draw: Draw) -> Snippet:
    """An international bank account number."""
    number = iban_number(draw)
    if draw.chance(0.5):
        number = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
    value = mark("iban", "iban", number)
    return Snippet(
        draw.pick(
            [
                f"IBAN: {value}",
                f'iban = "{value}"',
                f'"iban": "{value}",',
                f"<IBAN>{value}</IBAN>",
                f"IBAN {value}",
                f"bank account {value}",
                f"transfer_to('{value}')  # iban",
                f"iban={value.replace(' ', '') if ' ' not in number else value}",
            ]
        ),
        "IBAN in context",
        PLACES,
    )


# ---------------------------------------------------------------------------------------------- phones


def phone_number(draw: Draw) -> tuple[str, str]:
    """Draw country and a number of its plan, in a form that people there write; not of a range kept for fiction."""

    def n(count: int, first: str = DIGITS) -> str:
        return draw.text(first, 1) + draw.text(DIGITS, count - 1)

    area = draw.pick(["212", "415", "312", "617", "206", "305", "512", "702", "303", "404"])
    exchange = draw.pick("23456789") + draw.pick("023456789") + draw.pick("23456789")
    exchange = "234" if exchange == "555" else exchange
    return draw.pick([
        lambda: ("US", draw.pick([f"+1 {area} {exchange} {n(4)}", f"+1-{area}-{exchange}-{n(4)}", f"({area}) {exchange}-{n(4)}", f"{area}-{exchange}-{n(4)}", f"+1{area}{exchange}{n(4)}", f"{area}.{exchange}.{n(4)}", f"1-{area}-{exchange}-{n(4)}"])),
        lambda: ("GB", draw.pick([f"+44 20 7{n(3)} {n(4)}", f"+44 7{draw.pick('45789')}{n(2)} {n(6, '123')}", f"020 7{n(3)} {n(4)}"])),
        lambda: ("DE", draw.pick([f"+49 30 {n(8, '23456789')}", f"+49 151 {n(8, '12345')}", f"+49 (0)89 {n(7, '23456789')}"])),
        lambda: ("FR", draw.pick([f"+33 1 4{n(1)} {n(2)} {n(2)} {n(2)}", f"+33 6 {n(2, '12345678')} {n(2)} {n(2)} {n(2)}", f"01 4{n(1)} {n(2)} {n(2)} {n(2)}"])),
        lambda: ("IN", f"+91 9{n(4)} {n(5)}"),
        lambda: ("BR", f"+55 11 9{n(4, '6789')}-{n(4)}"),
        lambda: ("JP", draw.pick([f"+81 90-{n(4, '123456789')}-{n(4)}", f"+81 3-{n(4, '3456')}-{n(4)}"])),
        lambda: ("AU", f"+61 4{n(2, '0123')} {n(3)} {n(3)}"),
        lambda: ("ES", f"+34 6{n(2)} {n(3)} {n(3)}"),
        lambda: ("IT", f"+39 34{n(1)} {n(3)} {n(4)}"),
        lambda: ("NL", f"+31 6 {n(8, '12345')}"),
        lambda: ("CN", f"+86 13{n(1)} {n(4)} {n(4)}"),
        lambda: ("CH", f"+41 79 {n(3, '23456789')} {n(2)} {n(2)}"),
        lambda: ("SE", f"+46 70 {n(3, '23456789')} {n(2)} {n(2)}"),
        lambda: ("PL", f"+48 60{n(1)} {n(3)} {n(3)}"),
        lambda: ("RU", f"+7 916 {n(3)}-{n(2)}-{n(2)}"),
        lambda: ("KR", f"+82 10-{n(4, '23456789')}-{n(4)}"),
    ])()  # fmt: skip


def phone(draw: Draw) -> Snippet:
    """A phone number, with words that tell what it is or, if it is international, without."""
    country, number = phone_number(draw)
    value = mark("phone", country, number)
    if number.startswith("+") and draw.chance(0.3):
        return Snippet(
            draw.pick([f"{value}", f'"{value}"', f"- {value}", f"('{value}')"]), "phone alone", PLACES
        )
    return Snippet(
        draw.pick(
            [
                f"Phone: {value}",
                f"phone = '{value}'",
                f'"phone": "{value}",',
                f"Tel.: {value}",
                f"tel: {value}",
                f"mobile: {value}",
                f"Fax: {value}",
                f"call {value} for support",
                f'<a href="tel:{value}">call</a>' if " " not in number else f"telephone {value}",
                f'phone_number: "{value}"',
                f"# contact phone {value}",
                f"<phone>{value}</phone>",
                f"cell: {value}",
                f"whatsapp: {value}",
            ]
        ),
        "phone in context",
        PLACES,
    )
