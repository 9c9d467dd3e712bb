"""Scan and redact together: closed, local, independent of batches; then what single texts become."""

import random
import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pii_examples import ALNUM, HEX, URL64, crc_token, every_example, jwt, pem, ppk, rand

from pii import KINDS, SENSITIVITIES, counts_per_kind, redact_batch, redact_one, scan, scan_folder, scan_one
from pii.redact import REDACTION, BadFindings, replace
from pii.replacements import placeholder
from pii.scan import FINDINGS
from pii.settings import Settings

TRUE, FALSE = every_example()
GLUE = [
    "\n",
    "\r\n",
    "\r",
    " ",
    "'",
    '"',
    "`",
    "",
    "\\n",
    ";",
    ", ",
    "password = ",
    "secret: ",
    "aws_key ",
    "é",
    "漢",
    "(",
]
GLUE += [
    "# pragma: allowlist secret",
    "\n# pragma: allowlist nextline secret\n",
    "_id",
    "==",
    "[",
    "]",
    "<EMAIL_1>",
    "@",
]
GLUE += [
    '"' + rand(ALNUM, 30) + '"',
    "'" + rand(HEX, 24) + "'",
    "://u:",
    rand(ALNUM, 12),
    "x" * 600,
    " " * 1000,
]
TEXT = st.lists(st.sampled_from(TRUE + FALSE + GLUE * 3), max_size=14).map("".join)
TIER = st.sampled_from(SENSITIVITIES)


@settings(max_examples=300, deadline=None)
@given(TEXT, TIER)
@example("secret=\"a'b'c\";password='d';\"x1\"", "high")
def test_properties_of_one_text(text, tier):
    body = text.encode()
    found = scan_one(body, Settings(sensitivity=tier))
    # sorted, disjoint, inside
    ends = [0, *(f[1] for f in found)]
    assert all(ends[i] <= f[0] < f[1] <= len(body) and f[2] in KINDS for i, f in enumerate(found))
    released, places = replace(body, found)
    # nothing outside findings is touched
    at = released_at = 0
    for p in places:
        assert body[at : p.start] == released[released_at : p.released_start]
        at, released_at = p.end, p.released_end
    assert body[at:] == released[released_at:]
    # lines stay, and the text stays UTF-8
    assert released.count(b"\n") == body.count(b"\n") and released.count(b"\r") == body.count(b"\r")
    assert len(re.split("\r\n|\r|\n", released.decode())) == len(re.split("\r\n|\r|\n", text))
    # closed: nothing is left to find
    assert scan_one(released, Settings(sensitivity=tier)) == []
    # no value of a finding is in the released text in its place, and the engines agree
    assert scan_one(body, Settings(sensitivity=tier), use_hyperscan=False) == found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), TEXT), max_size=6), TIER, st.data())
def test_findings_do_not_depend_on_batches(texts, tier, data):
    whole = scan(pa.array(texts, pa.large_string()), Settings(sensitivity=tier))
    assert whole.schema == FINDINGS
    cut = data.draw(st.integers(0, len(texts)))
    binary = [None if t is None else t.encode() for t in texts]
    first, second = (
        scan(pa.array(part, pa.large_binary()), Settings(sensitivity=tier))
        for part in (binary[:cut], binary[cut:])
    )
    moved = second.set_column(
        0, FINDINGS.field("doc"), pa.array([d + cut for d in second["doc"].to_pylist()], pa.int64())
    )
    assert pa.concat_tables([first, moved]).to_pydict() == whole.to_pydict()
    sliced = pa.array(["x", *texts], pa.large_string()).slice(1)
    assert scan(sliced, Settings(sensitivity=tier)).to_pydict() == whole.to_pydict()
    assert scan(pa.chunked_array([sliced]), Settings(sensitivity=tier)).to_pydict() == whole.to_pydict()

    released, redactions = redact_batch(sliced, whole)
    assert released.type == pa.large_string() and redactions.type == pa.list_(REDACTION)
    counts = counts_per_kind(whole, len(texts))
    for i, text in enumerate(texts):
        if text is None:
            assert released[i].as_py() is None and redactions[i].as_py() == []
            continue
        expected, marks = redact_one(text.encode(), scan_one(text.encode(), Settings(sensitivity=tier)))
        assert released[i].as_py().encode() == expected
        assert [(m["start"], m["end"], m["kind"], m["rule"]) for m in redactions[i].as_py()] == marks
        assert sum(counts[k][i] for k in KINDS) == len(marks)


@pytest.mark.parametrize("tier", SENSITIVITIES)
def test_placeholders_are_no_findings(tier):
    for kind in KINDS:
        for n in (1, 9, 10, 123456):
            p = placeholder(kind, n).decode()
            for text in (
                p,
                f'"{p}"',
                f"password = '{p}'",
                f'secret: "{p}",',
                f"https://u:{p}@h.org",
                f"<{p}>",
                f"`{p}`;",
            ):
                assert scan_one(text.encode(), Settings(sensitivity=tier)) == [], text


def released(text, tier="high"):
    return redact_one(text.encode(), scan_one(text.encode(), Settings(sensitivity=tier)))[0].decode()


def test_same_value_same_placeholder_and_ordinals_count_values():
    a, b = "ann@uni" + "-x.org", "bob@uni" + "-x.org"
    assert released(f"{b} {a}\n{b}\n") == "EMAIL_1 EMAIL_2\nEMAIL_1\n"


def test_texts_that_differ_in_a_secret_only_become_the_same():
    one, two = (
        f"key = '{crc_token('gh' + 'p', s)}'\nmail: {m}@uni" + "-x.org" for s, m in ((1, "ann"), (2, "bobby"))
    )
    assert one != two and released(one) == released(two)


@pytest.mark.parametrize(
    "sep", ["\n", "\r\n", "\r", "\n    ", "\n# ", '\\n"\n    "', "\\n\\\n", '\\n" +\n        "']
)
def test_key_blocks_keep_their_lines_and_quotes(sep):
    block = pem(sep=sep)
    text = f'key = """{block}"""\nx = 1\n' if '"' not in sep else f'key = (\n    "{block}"\n)\nx = 1\n'
    out = released(text)
    assert out.startswith(text[: text.index("-----")] + "<PRIVATE_KEY_1>") and out.endswith(text[-9:])
    assert out.count("\n") == text.count("\n") and out.count("\r") == text.count("\r")
    if "\r" not in sep or "\n" in sep:
        compile(out, "x", "exec")
    for line in block.split(sep)[1:-1]:
        assert line[:12] not in out


def test_key_block_in_concatenated_assignments():
    lines = pem().split("\n")
    text = (
        f'k = "{lines[0]}\\n"\n' + "".join(f'k += "{x}\\n"\n' for x in lines[1:-1]) + f'k += "{lines[-1]}"\n'
    )
    out = released(text)
    compile(out, "x", "exec")
    assert not any(x[:10] in out for x in lines[1:-1])


def test_other_blocks():
    assert released(f"a\n{ppk()}\nb\n") == "a\nPRIVATE_KEY_1\n\n\n\n\nb\n"
    two = pem(seed=1) + "\n\n" + pem(seed=9)
    assert released(two).split() == ["PRIVATE_KEY_1", "PRIVATE_KEY_2"]
    cut = pem(foot=False)
    assert released(cut + "\n\ndef f():\n    return 1\n").endswith("\n\ndef f():\n    return 1\n")
    huge = "-----BEGIN PRIVATE " + "KEY-----\n" + (rand(ALNUM, 64) + "\n") * 2000
    out = released(huge)
    assert out.startswith("PRIVATE_KEY_1") and out.count("\n") == 2001


@pytest.mark.parametrize(
    "line",
    [
        f'"integrity": "sha512-{rand(ALNUM + "+/", 86)}==",',
        f'      "sha512": "{rand(ALNUM + "+/", 86)}==",',
        f"golang.org/x/net v0.1.0 h1:{rand(ALNUM + '+/', 43)}=",
        f'commit = "{rand(HEX, 40)}"',
        f"'{rand(HEX, 40)}',",
        f'checksum = "{rand(HEX, 64)}"',
        f'    {{file = "x-1.0.tar.gz", hash = "sha256:{rand(HEX, 64)}"}},',
        f'"resolved": "https://registry.x.org/a/-/a-1.0.tgz#{rand(HEX, 40)}"',
        f'id = "{rand(HEX, 8)}-{rand(HEX, 4)}-4{rand(HEX, 3)}-a{rand(HEX, 3)}-{rand(HEX, 12)}"',
        f"etag: '{rand(HEX, 32)}'",
        'ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"',
        'HEX = "0123456789abcdef"',
        "url(data:image/png;base64,'" + "iVBORw0KGgo" + rand(ALNUM, 60) + "')",
        'name = "someVeryLongCamelCaseIdentifierOfAModule2"',
        'path = "src/components/button/button_group_item-v2"',
        'password = "changeme"',
        'password = os.environ["DB_PASSWORD"]',
        'secret_type = "Azure Storage access key"',
        'SECRET_NAME = "AWS_SECRET_ACCESS_KEY"',
        f'user_id = "{rand(ALNUM, 40)}"',
        "version = 52.95.110.1",
        "see RFC 1035, section 12.34.56.78",
        "git@github.com:owner/repo.git",
    ],
)
def test_what_is_no_secret(line):
    assert scan_one(line.encode(), Settings(sensitivity="high")) == []


def test_hex_beside_a_secret_word_is_a_key():
    assert [
        f[2] for f in scan_one(f'api_token_value = "{rand(HEX, 32)}"'.encode(), Settings(sensitivity="high"))
    ] == ["key"]


def test_kind_of_keyword_findings():
    text = f"db_password = '{rand(ALNUM, 9)}'\nclient_key = '{rand(ALNUM, 9)}'\n".encode()
    assert [f[2] for f in scan_one(text)] == ["password", "key"]


def test_overlapping_findings_become_one_over_their_union():
    token = jwt({"alg": "HS256"})
    text = f"secret = 'https://bob:{token}@mail.uni" + "-x.org'"
    (finding,) = scan_one(text.encode())
    assert finding[:2] == (text.index("https"), text.index("'", 12))


def test_offsets_are_bytes():
    mail = "ann@uni" + "-x.org"
    text = f"# Größe 漢字 😀 {mail} é\npassword = '{rand(ALNUM, 12)}é'\n"
    body = text.encode()
    (email, password) = scan_one(body)
    assert body[slice(*email[:2])] == mail.encode() and body[slice(*password[:2])].endswith("é".encode())


@pytest.mark.parametrize("place", ["", "x\n"])
def test_first_and_last_byte(place):
    token = crc_token("gh" + "p")
    assert scan_one((place + token).encode(), Settings(sensitivity="low"))[0][:2] == (
        len(place),
        len(place) + 40,
    )


def test_invalid_utf8_does_not_crash_and_spans_hold():
    token = crc_token("gh" + "p").encode()
    body = b"\xff\xfe " + token + b" \xc3\n" + b"password = '" + rand(ALNUM, 12).encode() + b"' \x80"
    found = scan_one(body)
    assert body[slice(*found[0][:2])] == token and len(found) == 2
    assert scan_one(redact_one(body, found)[0]) == []


def test_many_findings_in_one_text():
    lines = [f"u{i}@mail.uni" + "-x.org = '" + rand(ALNUM, 20, i % 50) + "'" for i in range(20_000)]
    body = "\n".join(lines).encode()
    found = scan_one(body, Settings(sensitivity="medium"))
    assert len(found) == 20_000
    assert redact_one(body, found)[0].count(b"EMAIL_") == 20_000


@pytest.mark.parametrize(
    "unit", ["@", "a@", "a@b.", "1.1.1.", "2001:", "-----BEGIN PRIVATE " + "KEY-----", "eyJ.", "://a:b"]
)
@pytest.mark.parametrize("tier", ["medium", "high"])
def test_hostile_repetitions(unit, tier):
    body = (unit * (400_000 // len(unit))).encode()
    assert scan_one(body, Settings(sensitivity=tier)) is not None


def test_verifiers_read_a_bounded_part_of_the_text(monkeypatch):
    # Work is counted, not timed: what key blocks read grows with the text, not with its square.
    from pii import pem as module

    read = 0
    real = module._payload

    def counting(block):
        nonlocal read
        read += len(block)
        return real(block)

    monkeypatch.setattr(module, "_payload", counting)
    text = (pem(lines=1) + "\n").encode() * 500
    scan_one(text, Settings(sensitivity="low"))
    assert read <= 3 * len(text)


def test_values_are_in_no_message():
    text = f"password = '{rand(URL64, 16)}'".encode()
    found = scan_one(text)
    for bad in ([(5, 3, "key", "x")], [(0, 10**9, "key", "x")], found + found, [(0, 1, "nothing", "x")]):
        with pytest.raises(BadFindings) as error:
            redact_one(text, bad)
        assert rand(URL64, 16) not in str(error.value)
    table = pa.table([[7], [0], [1], ["key"], ["x"], [None], [False]], schema=FINDINGS)
    with pytest.raises(BadFindings, match="beyond"):
        redact_batch(pa.array(["a"], pa.large_string()), table)


def test_scan_folder_names_paths_and_no_values():
    secret = crc_token("gh" + "p")
    files = [(b"a\xff/x.lock", f"t = {secret}".encode()), (b"b", b"nothing")]
    out = list(scan_folder(files, Settings(sensitivity="low")))
    assert out == [{"path": b"a\xff/x.lock", "start": 4, "end": 44, "kind": "key", "rule": "github-token"}]
    # the path decides nothing
    assert [{**f, "path": b""} for f in scan_folder([(b"z", files[0][1])])] == [
        {**f, "path": b""} for f in scan_folder(files)
    ]


def test_random_bytes():
    g = random.Random(0)
    for _ in range(50):
        body = bytes(g.choices(b"'\"@.:/=-_ \n\r\\abcAKIA0129{}\xc3\xa9\xff", k=3000))
        found = scan_one(body)
        assert scan_one(redact_one(body, found)[0]) == []
