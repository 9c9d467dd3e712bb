"""Private keys are covered from BEGIN to END in every layout that files give them, and nothing else is."""

import base64
import random
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, pem, rand

from pii import pem as module
from pii import scan_one
from pii.settings import Settings

LOW = Settings(sensitivity="low")
DASH = "-" * 5


#: The first characters of real key files: (label, base64 with which it begins, lines of 64).
FORMS = [
    ("RSA PRIVATE KEY", "MIIEpAIBAAKCAQEA", 25),
    ("PRIVATE KEY", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ", 26),
    ("ENCRYPTED PRIVATE KEY", "MIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkqhkiG9w0BBQwwHAQI", 28),
    ("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB", 30),
    ("EC PRIVATE KEY", "MHcCAQEEI", 2),
    ("PRIVATE KEY", "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg", 2),
    ("PRIVATE KEY", "MC4CAQAwBQYDK2VwBCIEI", 0),
    ("DSA PRIVATE KEY", "MIIBvAIBAAKBgQ", 10),
]
B64 = ALNUM + "+/"
SEEDS = range(3)


@cache
def keys():
    """Keys in the formats that tools write, as text without a last line break: real beginnings, random bodies."""
    return [key for seed in SEEDS for key in _keys(seed)]


def _keys(seed):
    texts = []
    for label, first, lines in FORMS:
        tail = rand(B64, 41, seed) + "s=" if lines else ""
        body = first + rand(B64, 64 * lines + 64 - len(first), seed)
        wrapped = [body[i : i + 64] for i in range(0, len(body), 64)] + ([tail] if tail else [])
        texts.append("\n".join([f"{DASH}BEGIN {label}{DASH}", *wrapped, f"{DASH}END {label}{DASH}"]))
    lines = texts[0].split("\n")
    header = f"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,{rand(HEX, 32).upper()}\n"
    texts.append("\n".join([lines[0], header, *lines[1:]]))
    armor = pem("PGP PRIVATE KEY BLOCK", 20, seed=seed)
    texts.append(armor.replace("BLOCK-----\n", "BLOCK-----\nVersion: X 2.1\nComment: a b\n\n", 1))
    ssh2 = (
        pem("SSH2 ENCRYPTED PRIVATE KEY", 9, seed=seed)
        .replace(f"{DASH}B", "---- B")
        .replace(f"{DASH}E", "---- E")
    )
    texts.append(
        ssh2.replace("KEY-----", "KEY ----").replace(
            "KEY ----\n", 'KEY ----\nComment: "1024-bit rsa, ann"\n', 1
        )
    )
    return texts


def lines_with(before, behind=""):
    return lambda lines: "\n".join(before + line + behind for line in lines)


#: What a layout makes of the lines of a key.
LAYOUTS = {
    "plain": "\n".join,
    "crlf": "\r\n".join,
    "cr": "\r".join,
    "indented": lines_with(" " * 4),
    "deep": lines_with(" " * 40),
    "tabs": lines_with("\t\t"),
    "trailing-spaces": lines_with("", "  "),
    "escaped": "\\n".join,
    "escaped-crlf": "\\r\\n".join,
    "escaped-twice": "\\\\n".join,
    "escaped-thrice": "\\\\\\\\n".join,
    "escaped-end": lambda lines: "".join(x + "\\n" for x in lines),
    "unicode-escape": "\\u000a".join,
    "percent": lambda lines: "%0A".join(lines).replace(" ", "%20").replace("+", "%2B").replace("/", "%2F"),
    "form": lambda lines: "%0A".join(x.replace("+", "%2B").replace(" ", "+") for x in lines),
    "slashes-escaped": lambda lines: "\\n".join(lines).replace("/", "\\/"),
    "entity": "&#10;".join,
    "html-break": "<br>\n".join,
    "spaces": " ".join,
    "hash-comment": lines_with("# "),
    "slash-comment": lines_with("// "),
    "star-comment": lines_with(" * "),
    "dash-comment": lines_with("-- "),
    "semicolon-comment": lines_with("; "),
    "quoted-mail": lines_with("> "),
    "diff": lines_with("+"),
    "c-strings": lines_with('    "', '\\n"'),
    "python-strings": lines_with("    b'", "\\n'"),
    "java-concatenation": lambda lines: " +\n        ".join(f'"{x}\\n"' for x in lines),
    "js-array": lambda lines: ",\n  ".join(f"'{x}'" for x in lines),
    "php-dots": lambda lines: " .\n".join(f'"{x}\\n"' for x in lines),
    "basic-ampersand": lambda lines: " & _\n  ".join(f'"{x}"' for x in lines),
    "ruby-shift": lambda lines: " <<\n".join(f'"{x}\\n"' for x in lines),
    "plus-assign": lambda lines: "\n".join(f'key += "{x}\\n";' for x in lines),
    "builder": lambda lines: "\n".join(f'  sb.append("{x}\\n");' for x in lines),
    "echo": lambda lines: "\n".join(f"echo '{x}' >> k" for x in lines),
    "yaml-list": lambda lines: "\n".join(f'  - "{x}"' for x in lines),
    "continuation": lambda lines: "\\n\\\n".join(lines),
    "json-in-yaml": lambda lines: '\'{"private_key": "' + "\\\\n".join(lines) + '\\\\n", "x": 1}\'',
}
SURROUNDINGS = [
    ("", ""),
    ("key: |\n", "\n\nnext: value\n"),
    ('k = """', '"""\nx = 1\n'),
    ("<key>", "</key>\n"),
    ("é漢 ", " é"),
]


def reflowed(key, width):
    """The base64 of a key in lines of another width; what has fields keeps its lines."""
    lines = key.split("\n")
    if any(":" in x for x in lines):
        return lines
    body = "".join(lines[1:-1])
    return [lines[0], *(body[i : i + width] for i in range(0, len(body), width)), lines[-1]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_block_is_one_finding_from_begin_to_end(layout):
    for key in keys():
        for before, behind in SURROUNDINGS:
            text = (before + LAYOUTS[layout](key.split("\n")) + behind).encode()
            (found,) = scan_one(text, LOW)
            assert found[:3] == (text.index(b"----"), text.rindex(b"----") + 4, "private_key")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(sorted(LAYOUTS)), st.sampled_from([60, 64, 70, 76])),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["\n", "\n\n", "\ntext between the keys\n"]),
)
def test_blocks_in_a_row_are_covered_each(chosen, between):
    parts = [LAYOUTS[layout](reflowed(keys()[number], width)) for number, layout, width in chosen]
    text = between.join(parts).encode()
    found = scan_one(text, LOW)
    assert len(found) == len(parts)
    for f, part in zip(found, parts, strict=True):
        held = text[f[0] : f[1]]
        inner = part.encode()[part.index("----") : part.rindex("----") + 4]
        assert inner in held or held == inner


@pytest.mark.parametrize(
    "layout", sorted(set(LAYOUTS) - {"percent", "form", "slashes-escaped", "echo", "diff"})
)
def test_a_block_without_footer_ends_with_its_last_line(layout):
    for key in keys():
        lines = key.split("\n")[:-1]
        laid = LAYOUTS[layout](lines)
        if layout == "json-in-yaml":
            laid = laid.replace('\\\\n", "x": 1}\'', "\"}'")
        text = laid + "\n\nclientEmailAddress = someFunctionOfTheProgram(value)\n"
        (found,) = scan_one(text.encode(), LOW)
        held = text.encode()[found[0] : found[1]].decode()
        assert lines[-1] in held and lines[0] in held
        assert "clientEmail" not in held
        assert len(laid) - len(held) <= 60


@pytest.mark.parametrize("wrap", [0, 64, 76])
def test_a_key_file_in_base64_is_covered(wrap):
    for key in keys():
        encoded = base64.b64encode((key + "\n").encode()).decode()
        lines = [encoded[i : i + wrap] for i in range(0, len(encoded), wrap)] if wrap else [encoded]
        for glue in ("\n", "\n    ", "\\n"):
            text = "  tls.key: " + glue.join(lines) + "\n  user: ann\n"
            if not wrap:
                text = text.replace("\\n", "")
            (found,) = scan_one(text.encode(), LOW)
            held = text.encode()[found[0] : found[1]].decode()
            assert held == (glue.join(lines) if wrap else encoded)


def test_bare_base64_of_a_key_is_covered():
    for number in (0, 1, 4, 5, 6):
        body = "".join(keys()[number].split("\n")[1:-1])
        for text in (
            f'key = "{body}"',
            f"KEY={body}\n",
            "\n".join([*(body[i : i + 64] for i in range(0, len(body), 64)), "", "end of it"]),
        ):
            (found,) = scan_one(text.encode(), LOW)
            assert text.encode()[found[0] : found[1]].decode().replace("\n", "") == body


def test_public_parts_are_left():
    big = rsa.generate_private_key(65537, 2048).public_key()
    der = base64.b64encode(big.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    texts = [
        big.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        big.public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode(),
        big.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
        der,
        pem("CERTIFICATE", 20),
        pem("PGP PUBLIC KEY BLOCK", 20),
        pem("PGP SIGNATURE", 6),
        base64.b64encode(pem("CERTIFICATE", 20).encode()).decode(),
        base64.b64encode(pem("PUBLIC KEY", 5).encode()).decode(),
    ]
    for number, text in enumerate(texts):
        assert scan_one(text.encode(), LOW) == [], number
        assert scan_one(f'x = "{text}"\n'.encode(), LOW) == [], number


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            f'BEGIN = "{DASH}BEGIN PRIVATE KEY{DASH}"\nEND = "{DASH}END PRIVATE KEY{DASH}"\n', id="constants"
        ),
        pytest.param(
            f'BEGIN = "{DASH}BEGIN RSA PRIVATE KEY{DASH}"\n'
            + "\n".join(
                f"def private_key_to_pkcs8_converter{i}(encodedKeyMaterialBytes): pass" for i in range(30)
            )
            + f'\nEND = "{DASH}END RSA PRIVATE KEY{DASH}"\n',
            id="code-between",
        ),
        pytest.param(
            f"{DASH}BEGIN PRIVATE KEY{DASH}\n{'x' * 64}\n{'x' * 64}\n{DASH}END PRIVATE KEY{DASH}", id="dummy"
        ),
        pytest.param(
            f"{DASH}BEGIN PRIVATE KEY{DASH}\n<your key here>\n{DASH}END PRIVATE KEY{DASH}", id="stub"
        ),
        pytest.param(f"grep -q '{DASH}BEGIN OPENSSH PRIVATE KEY{DASH}' ~/.ssh/id_rsa || exit 1", id="shell"),
        pytest.param(
            f"{DASH}BEGIN PRIVATE KEY{DASH}\n//////////////////////////////////////////////////\n// x",
            id="rule",
        ),
    ],
)
def test_headers_without_a_key_are_left(text):
    assert scan_one(text.encode(), LOW) == []


def test_work_is_bounded_by_the_text(monkeypatch):
    """A header costs `MAX_BLOCK` bytes at most, and the headers of a text share them."""
    read = 0
    real = module._payload

    def counting(block):
        nonlocal read
        read += len(block)
        return real(block)

    monkeypatch.setattr(module, "_payload", counting)
    text = ((pem(lines=1) + "\n") * 300 + f"{DASH}BEGIN PRIVATE KEY{DASH} " * 3000).encode()
    scan_one(text, LOW)
    assert read <= 3 * len(text)


def test_random_bytes_behind_headers_never_fail():
    g = random.Random(7)
    alphabet = b"-\\nrt \n\r\"'+/=%0A&#;<>br.,*" + ALNUM.encode()[:20]
    for _ in range(300):
        noise = bytes(g.choices(alphabet, k=g.randrange(400)))
        body = f"{DASH}BEGIN PRIVATE KEY{DASH}".encode() + noise
        for verify in (
            module.pem_block,
            module.putty_block,
            module.openvpn_block,
            module.encoded_pem,
            module.encoded_key,
        ):
            span = verify(body, 0, 27)
            assert span is None or (0 <= span[0] < span[1] <= len(body))
