"""True and false examples of every rule, assembled from parts: no credential-like text is in the tree."""

from __future__ import annotations

import base64
import json
import random
import string
import zlib

ALNUM = string.ascii_letters + string.digits
URL64 = ALNUM + "-_"
HEX = "0123456789abcdef"
BASE32 = string.ascii_uppercase + "234567"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def rand(alphabet: str, n: int, seed: int = 1) -> str:
    """A random-looking string, the same for the same seed, with a digit if the alphabet has some."""
    g = random.Random(f"{alphabet}{n}{seed}")
    while True:
        s = "".join(g.choices(alphabet, k=n))
        if (n < 8 or not set(alphabet) & set(string.digits) or any(c.isdigit() for c in s)) and (
            s[-1].isalnum() and s[0].isalnum()
        ):
            return s


UUID = "-".join(rand(HEX, n) for n in (8, 4, 4, 4, 12))


def crc_token(prefix: str, seed: int = 1) -> str:
    body = rand(ALNUM, 30, seed)
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, d = divmod(value, 62)
        digits = BASE62[d] + digits
    return prefix + "_" + body + digits


def jwt(header: dict[str, str], seed: int = 1) -> str:
    def part(x: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(x).encode()).decode().rstrip("=")

    return ".".join([part(header), part({"sub": rand(HEX, 12, seed)}), rand(URL64, 43, seed)])


def pem(
    label: str = "RSA PRIVATE KEY", lines: int = 5, sep: str = "\n", seed: int = 1, foot: bool = True
) -> str:
    body = [rand(ALNUM + "+/", 64, seed + i) for i in range(lines)] + [rand(ALNUM, 20, seed) + "=="]
    dash = "-" * 5
    return sep.join([f"{dash}BEGIN {label}{dash}", *body] + ([f"{dash}END {label}{dash}"] if foot else []))


def ppk() -> str:
    return "\n".join(
        [
            "PuTTY-User-" + "Key-File-3: ssh-ed25519",
            "Encryption: none",
            "Private-Lines: 1",
            rand(ALNUM, 48),
            "Private-" + "MAC: " + rand(HEX, 64),
        ]
    )


#: rule id -> (texts in which this rule finds what [[ ]] encloses, texts in which it finds nothing)
EXAMPLES: dict[str, tuple[list[str], list[str]]] = {
    "pem-private-key": (
        [
            f"key:\n[[{pem()}]]\n",
            f'  "key": "[[{pem("EC PRIVATE KEY", 2, chr(92) + "n")}]]",\n',
            f"[[{pem('OPENSSH PRIVATE KEY', 3, foot=False)}]]\n\nother text\n",
            f"[[{pem('PGP PRIVATE KEY BLOCK', 4, chr(13) + chr(10))}]]\r\n",
        ],
        [
            'if text.startswith("'
            + "-" * 5
            + "BEGIN RSA PRIVATE KEY"
            + "-" * 5
            + '"):\n    return load(text)\n',
            "-" * 5
            + "BEGIN PRIVATE KEY"
            + "-" * 5
            + "\n...\n"
            + "-" * 5
            + "END PRIVATE KEY"
            + "-" * 5
            + "\n",
            pem("PUBLIC KEY"),
        ],
    ),
    "putty-private-key": (
        [f"[[{ppk()}]]\n", f"a\n[[{ppk()}]]"],
        ["PuTTY-User-" + "Key-File-2: ssh-rsa\n", "PuTTY-User-Key"],
    ),
    "github-token": (
        [f'token = "[[{crc_token("gh" + "p")}]]"', f"[[{crc_token('gh' + 's', 2)}]]\n"],
        ["gh" + "p_" + "x" * 36, 'x = "gh' + "p_" + rand(ALNUM, 35) + '_"'],
    ),
    "github-fine-grained-token": (
        [
            "[[github" + f"_pat_{rand(ALNUM, 22)}_{rand(ALNUM, 59)}]]",
            "a=[[github" + f"_pat_{rand(ALNUM, 22, 2)}_{rand(ALNUM, 59)}]] b",
        ],
        ["github" + "_pat_" + "A" * 22 + "_" + "A" * 59, "github" + "_pat_short"],
    ),
    "gitlab-token": (
        ["[[gl" + f"pat-{rand(URL64, 20)}]]", "x [[gl" + f"dt-{rand(URL64, 20, 3)}]]"],
        ["gl" + "pat-" + "x" * 20, "aglrt-" + rand(ALNUM, 20)],
    ),
    "slack-token": (
        [
            "[[xox" + f"b-{rand('0123456789', 12)}-{rand(ALNUM, 24)}]]",
            "t=[[xox" + f"p-{rand('0123456789', 11)}-{rand(ALNUM, 30)}]]",
        ],
        ["xox" + "b-xxxx-xxxxxxxxxxxx", "xox" + "b-12"],
    ),
    "slack-app-token": (
        [
            "[[xapp" + f"-1-A{rand(BASE32, 10)}-{rand('0123456789', 13)}-{rand(HEX, 64)}]]",
            "'[[xapp" + f"-1-A{rand(BASE32, 9)}-{rand('0123456789', 12)}-{rand(HEX, 64, 2)}]]'",
        ],
        ["xapp-1-A", "xapp-1-" + "X" * 10 + "-" + "1" * 13 + "-" + "0" * 64],
    ),
    "slack-webhook": (
        [
            "https://hooks.sl"
            + f"ack.com/services/[[T{rand(BASE32, 8)}/B{rand(BASE32, 8)}/{rand(ALNUM, 24)}]]",
            "hooks.sl" + f"ack.com/services/[[T{rand(BASE32, 9)}/B{rand(BASE32, 10)}/{rand(ALNUM, 24)}]]\n",
        ],
        [
            "https://hooks.sl" + "ack.com/services/T00000000/B00000000/" + "X" * 24,
            "https://hooks.sl" + "ack.com/services/",
        ],
    ),
    "aws-access-key-id": (
        ["id = [[AK" + f"IA{rand(BASE32, 16)}]]", "[[AS" + f"IA{rand(BASE32, 16, 4)}]]\n"],
        ["AK" + "IA" + "IOSFODNN7" + "EXAMPLE", "XAK" + "IA" + rand(BASE32, 16)],
    ),
    "google-api-key": (
        ["[[AI" + f"za{rand(URL64, 35)}]]", "key=[[AI" + f"za{rand(URL64, 35, 2)}]]&x"],
        ["AI" + "za" + "x" * 35, "AI" + "za" + rand(ALNUM, 20)],
    ),
    "google-oauth-secret": (
        ["[[GOC" + f"SPX-{rand(URL64, 28)}]]", " [[GOC" + f"SPX-{rand(URL64, 28, 2)}]] "],
        ["GOC" + "SPX-" + "x" * 28, "GOC" + "SPX-short"],
    ),
    "google-oauth-token": (
        ["[[ya" + f"29.{rand(URL64, 60)}]]", " [[ya" + f"29.{rand(URL64, 40)}]] "],
        ["ya" + "29.short", "ya" + "29." + "x" * 40],
    ),
    "stripe-key": (
        ["[[sk" + f"_live_{rand(ALNUM, 24)}]]", "[[rk" + f"_live_{rand(ALNUM, 99)}]] "],
        ["sk" + "_live_" + "x" * 24, "sk" + "_live_key"],
    ),
    "stripe-webhook-secret": (
        ["[[whs" + f"ec_{rand(ALNUM, 32)}]]", " [[whs" + f"ec_{rand(ALNUM, 40)}]] "],
        ["whs" + "ec_" + "x" * 32, "whs" + "ec_key"],
    ),
    "npm-token": (
        ["[[np" + f"m_{rand(ALNUM, 36)}]]", "/:_authToken=[[np" + f"m_{rand(ALNUM, 36, 2)}]]\n"],
        ["np" + "m_config_" + "registry", "np" + "m_" + "x" * 36],
    ),
    "pypi-token": (
        [
            "[[py" + f"pi-AgEIcHlwaS5vcmc{rand(URL64, 70)}]]",
            "[[py" + f"pi-AgENdGVzdC5weXBpLm9yZw{rand(URL64, 90)}]] ",
        ],
        ["py" + "pi-AgEIcHlwaS5vcmc", "py" + "pi-AgEIcHlwaS5vcmc" + "x" * 80],
    ),
    "rubygems-key": (
        ["[[rubyg" + f"ems_{rand(HEX, 48)}]]", " [[rubyg" + f"ems_{rand(HEX, 48, 2)}]] "],
        ["rubyg" + "ems_version", "rubyg" + "ems_" + "0" * 48],
    ),
    "crates-token": (
        ["[[ci" + f"o{rand(ALNUM, 32)}]]", " [[ci" + f"o{rand(ALNUM, 32, 2)}]] "],
        ["ci" + "o" + "x" * 32, "asyn" + "cio" + rand(ALNUM, 32)],
    ),
    "openai-key": (
        [
            "[[sk-" + f"{rand(ALNUM, 20)}T3Blb" + f"kFJ{rand(ALNUM, 20)}]]",
            "[[sk-proj-" + f"{rand(ALNUM, 74)}T3Blb" + f"kFJ{rand(ALNUM, 74)}]] ",
        ],
        ["sk-" + "x" * 20 + "T3Blb" + "kFJ" + "x" * 20, "sk-learn"],
    ),
    "anthropic-key": (
        ["[[sk-an" + f"t-api03-{rand(URL64, 95)}]]", " [[sk-an" + f"t-admin01-{rand(URL64, 90)}]] "],
        ["sk-an" + "t-api03-short", "sk-an" + "t-api03-" + "x" * 95],
    ),
    "huggingface-token": (
        [
            "[[h" + f"f_{rand(string.ascii_letters, 34)}]]",
            " [[h" + f"f_{rand(string.ascii_letters, 34, 2)}]] ",
        ],
        ["h" + "f_" + "x" * 34, "h" + "f_hub_download"],
    ),
    "sendgrid-key": (
        [
            "[[S" + f"G.{rand(URL64, 22)}.{rand(URL64, 43)}]]",
            " [[S" + f"G.{rand(URL64, 22, 2)}.{rand(URL64, 43, 2)}]] ",
        ],
        ["S" + "G." + "x" * 22 + "." + "x" * 43, "S" + "G.short.key"],
    ),
    "twilio-key": (
        ["[[S" + f"K{rand(HEX, 32)}]]", " [[S" + f"K{rand(HEX, 32, 2)}]] "],
        ["S" + "K" + "0" * 32, "TA" + "SK" + rand(HEX, 32)],
    ),
    "telegram-bot-token": (
        [
            f"[[{rand('123456789', 9)}:A" + f"A{rand(URL64, 33)}]]",
            f" [[{rand('123456789', 10)}:A" + f"A{rand(URL64, 33, 2)}]] ",
        ],
        ["123456789:A" + "A" + "x" * 33, "12:34:AA"],
    ),
    "digitalocean-token": (
        ["[[do" + f"p_v1_{rand(HEX, 64)}]]", " [[do" + f"o_v1_{rand(HEX, 64, 2)}]] "],
        ["do" + "p_v1_" + "0" * 64, "do" + "p_v1_key"],
    ),
    "shopify-token": (
        ["[[shp" + f"at_{rand(HEX, 32)}]]", " [[shp" + f"ss_{rand(HEX, 32, 2)}]] "],
        ["shp" + "at_" + "0" * 32, "shp" + "at_key"],
    ),
    "square-token": (
        ["[[sq0" + f"atp-{rand(URL64, 22)}]]", " [[sq0" + f"csp-{rand(URL64, 43)}]] "],
        ["sq0" + "atp-" + "x" * 22, "sq0" + "atp-short"],
    ),
    "databricks-token": (
        ["[[da" + f"pi{rand(HEX, 32)}]]", " [[da" + f"pi{rand(HEX, 32, 2)}]] "],
        ["da" + "pi" + "0" * 32, "da" + "pixel"],
    ),
    "docker-hub-token": (
        ["[[dc" + f"kr_pat_{rand(URL64, 27)}]]", " [[dc" + f"kr_oat_{rand(URL64, 32)}]] "],
        ["dc" + "kr_pat_" + "x" * 27, "dc" + "kr_pat_key"],
    ),
    "vault-token": (
        ["[[hv" + f"s.{rand(URL64, 24)}]]", " [[hv" + f"b.{rand(URL64, 90)}]] "],
        ["hv" + "s.short", "hv" + "s." + "x" * 24],
    ),
    "terraform-token": (
        [
            f"[[{rand(ALNUM, 14)}.atl" + f"asv1.{rand(URL64, 67)}]]",
            f" [[{rand(ALNUM, 14, 2)}.atl" + f"asv1.{rand(URL64, 67, 2)}]] ",
        ],
        ["x" * 14 + ".atl" + "asv1." + "x" * 67, "key.atl" + "asv1."],
    ),
    "grafana-token": (
        [
            "[[gl" + f"sa_{rand(ALNUM, 32)}_{rand(HEX, 8)}]]",
            " [[gl" + f"sa_{rand(ALNUM, 32, 2)}_{rand(HEX, 8, 2)}]] ",
        ],
        ["gl" + "sa_" + "x" * 32 + "_00000000", "gl" + "sa_key"],
    ),
    "linear-key": (
        ["[[lin" + f"_api_{rand(ALNUM, 40)}]]", " [[lin" + f"_api_{rand(ALNUM, 40, 2)}]] "],
        ["lin" + "_api_" + "x" * 40, "lin" + "_api_key"],
    ),
    "postman-key": (
        [
            "[[PM" + f"AK-{rand(HEX, 24)}-{rand(HEX, 34)}]]",
            " [[PM" + f"AK-{rand(HEX, 24, 2)}-{rand(HEX, 34, 2)}]] ",
        ],
        ["PM" + "AK-" + "0" * 24 + "-" + "0" * 34, "PM" + "AK-key"],
    ),
    "newrelic-key": (
        ["[[NR" + f"AK-{rand(BASE32, 27)}]]", " [[NR" + f"AK-{rand(BASE32, 27, 2)}]] "],
        ["NR" + "AK-" + "X" * 27, "NR" + "AK-KEY"],
    ),
    "mailchimp-key": (
        [f"[[{rand(HEX, 32)}-u" + "s12]]", f" [[{rand(HEX, 32, 2)}-u" + "s3]] "],
        ["0" * 32 + "-u" + "s1", "en-us1"],
    ),
    "discord-webhook": (
        [
            "https://disc" + f"ord.com/api/webhooks/[[{rand('123456789', 18)}/{rand(URL64, 68)}]]",
            "disc" + f"ordapp.com/api/v10/webhooks/[[{rand('123456789', 19)}/{rand(URL64, 68)}]] ",
        ],
        ["https://disc" + "ord.com/api/webhooks/1/x", "https://disc" + "ord.com/api/webhooks/"],
    ),
    "azure-storage-key": (
        [
            "Account" + f"Key=[[{rand(ALNUM + '+/', 86)}==]];",
            "Account" + f"Key=[[{rand(ALNUM + '+/', 86, 2)}==]]",
        ],
        ["Account" + "Key=" + "x" * 86 + "==", "Account" + "Key=key"],
    ),
    "age-secret-key": (
        [
            "[[AGE-SEC" + f"RET-KEY-1{rand('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58)}]]",
            " [[AGE-SEC" + f"RET-KEY-1{rand('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58, 2)}]] ",
        ],
        ["AGE-SEC" + "RET-KEY-1" + "Q" * 58, "AGE-SEC" + "RET-KEY-1"],
    ),
    "json-web-token": (
        [
            f"Bearer [[{jwt({'alg': 'HS256', 'typ': 'JWT'})}]]",
            f"'[[{jwt({'typ': 'JWT', 'alg': 'RS256'}, 2)}]]'",
        ],
        [jwt({"enc": "nothing to see"}), "ey" + "Jhbgciaaaaaa.ey" + "Jzdwaaaaaaaa." + "A" * 30],
    ),
    "url-credentials": (
        [f"postgres://bob:[[{rand(ALNUM, 12)}]]@db.internal/x", f"https://u:[[{rand(ALNUM, 20)}]]@host.org"],
        ["postgres://user:password@localhost/db", "https://user:${PASSWORD}@host.org", "https://h:8080/@x"],
    ),
    "email": (
        [
            "Author: Jo <[[jo.doe+x@mail.uni" + "-koeln.de]]>",
            "[[a@b" + ".co]].",
            "mailto:[[x_y@sub.dom" + "ain.org]]?s",
        ],
        [
            "jo@example.com",
            "git@github.com:a/b",
            "noreply@x.org",
            "@pytest.mark.x",
            "icon@2x.png",
            "a@b",
            "x = a@b.T",
        ],
    ),
    "ipv4": (
        ["host = '[[52." + "95.110.1]]'", "http://[[93." + "184.216.34]]:80/", "ssh [[203." + "0.114.9]]\n"],
        [
            "10.0.0.1",
            "203.0.113.5",
            "8.8.8.8",
            "version 52.95.110.1",
            "1.2.3.4",
            "52.95.110.1.2",
            "52.95.110.0/24",
            "3.2 52.95.110.1 4",
        ],
    ),
    "ipv6": (
        ["[[2a00:" + "1450:4001:81b::200e]]", "ping6 [[2606:" + "2800:220:1:248:1893:25c8:1946]] "],
        ["2001:db8::1", "fe80::1", "2020:12:31", "2001:4860:4860::8888", "2a00:1450::/32"],
    ),
    "credit-card": (
        ["card: [[4539 1488 " + "0343 6467]]", 'visa = "[[45391488' + '03436467]]"'],
        [
            "4111 1111 1111 1111",
            "card 4539 1488 0343 6468",
            "n = 45391488" + "03436467",
            "4539 1488 " + "0343 6467",
        ],
    ),
    "aws-secret-access-key": (
        [
            "aws_secret_access" + f"_key = [[{rand(ALNUM + '/+', 40)}]]\n",
            f"SecretKey: [[{rand(ALNUM + '/+', 40, 2)}]]\n",
        ],
        ["aws_secret_access_key = " + "x" * 40, "secret_key = get_the_secret_key_from_the_environ_ment"],
    ),
}


def marked(text: str) -> tuple[bytes, tuple[int, int]]:
    """The text without its [[ ]] marks, and the byte span that they held."""
    before, rest = text.split("[[", 1)
    value, after = rest.split("]]", 1)
    start = len(before.encode())
    return (before + value + after).encode(), (start, start + len(value.encode()))
