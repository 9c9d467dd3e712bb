"""The labelled sets of the secrets benchmark: frozen, independent of `pii`, and labelled where the values are."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

# Frozen on 2026-11-29, before the rules of issue 7 were written. A change needs a line in docs/secrets-measured.md.
FILES = {
    "secrets_blocks.py": "0c9e21717430d7657ebf937b44c14e90c1eeab3db1844550350cc6fb1407608c",
    "secrets_draw.py": "223ed798f7675f2dbd5abec4f206a11d4751c1cc7c59a01f77c09f29446a6e7a",
    "secrets_forms.py": "ce70c8ae65d0f7753790453995cc5dd01efbd6dcd9e42e82a1f955f4f1d95de8",
    "secrets_national.py": "1befd6b54a0ce03eb6efbf1d04ba8a0eb7e92b1f03e9e6559cd1d6c55e33c9a3",
    "secrets_negatives.py": "a4638fb0647bb1208314d2029575d3c55b7742b30d7b3fabeceae6d05945885f",
    "secrets_people.py": "eba0dc31688309805b76c8aabaf732c52744a23ed6d93062be43e8e2652ed8f3",
    "secrets_planted.py": "62128502ccd3d815a8b806d00cc64d5547351bc786927606338c1effadeefe81",
    "secrets_tokens.py": "6da02d0c5203a24af428e532e68e0d7cb9a3b4a73b99c9959d9352dbcc4605c4",
}
PLANTED = "a370977253d35cd3dc0e6bbac0783ce9ac5ce7ea6154734605f8be405bbd38f1"
NEGATIVES = "fdecff5d235539d048e9771f7fd05c4c61947be6d457a674c77741f8f89b78fb"
PLACED = "019fca15dbd30da2dcac89350b389cd5693d97ed09c6cbe32af176174f4779ef"


def load(name: str):
    """Load a file of benchmarks/ under its own name, as the others import it, without touching sys.path."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


draws = load("secrets_draw")
tokens = load("secrets_tokens")
load("secrets_blocks")
load("secrets_forms")
people = load("secrets_people")
national = load("secrets_national")
planted = load("secrets_planted")
negatives = load("secrets_negatives")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    """A few files to plant in, the same on every machine."""
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "a.py").write_text("def f(x):\n    return x + 1\n\n" * 20)
    (folder / "b.js").write_bytes(b"function f(x) {\r\n  return x + 1;\r\n}\r\n" * 20)
    (folder / "c.txt").write_text("Ünïcode text without an end of line. " * 20)
    return folder


def imported(path: Path) -> set[str]:
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            out.add(node.module or ".")
    return out


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_generator_is_what_was_frozen_and_knows_nothing_of_the_scanner(name):
    path = BENCHMARKS / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == FILES[name]
    ours = {x for x in imported(path) if x.split(".")[0] not in sys.stdlib_module_names}
    assert {f"{x}.py" for x in ours} <= set(FILES)
    assert "import_module" not in path.read_text() and "__import__" not in path.read_text()


def test_what_the_generators_make_is_what_was_frozen(hosts):
    assert planted.snippets_digest() == PLANTED
    assert negatives.snippets_digest() == NEGATIVES
    made = [*planted.planted(hosts, count=500), *negatives.negatives(hosts, each=5)]
    assert draws.digest(made) == PLACED


def test_labels_stand_on_their_values_and_texts_are_whole(hosts):
    for document in [*planted.planted(hosts, count=500), *negatives.negatives(hosts, each=5)]:
        text = document.body.decode()
        assert not set("\x01\x02\x03\x04") & set(text)
        end = 0
        for label in document.labels:
            assert end <= label.start < label.end <= len(document.body)
            document.body[label.start : label.end].decode()  # on the bounds of characters
            end = label.end
        if b"\r\n" in document.body and document.name == "b.js":
            assert b"\n" not in document.body.replace(b"\r\n", b"") and b"\r\r" not in document.body
    lengths = {
        label.context.rsplit(", ", 1)[1] for d in planted.planted(hosts, count=500) for label in d.labels
    }
    assert lengths == {"lines", "comment", "first byte", "last byte", "long", "file"}


def test_the_first_and_the_last_byte_of_a_text_are_reached(hosts):
    labels = [(d, x) for d in planted.planted(hosts, count=500) for x in d.labels]
    assert any(x.start == 0 for _, x in labels)
    assert any(x.end == len(d.body) for d, x in labels)


def test_every_kind_has_enough_and_every_class_as_many():
    kinds: dict[str, int] = {}
    types = set()
    for name, snippet in planted.snippets():
        for label in draws.as_file(name, snippet).labels:
            kinds[label.kind] = kinds.get(label.kind, 0) + 1
            types.add(label.type)
    assert set(kinds) == {
        "key",
        "password",
        "private_key",
        "email",
        "ip_address",
        "credit_card",
        "iban",
        "phone",
        "national_id",
        "name",
    }
    assert min(kinds.values()) >= 150
    assert {token.type for token in tokens.TOKENS} <= types and len(tokens.TOKENS) >= 60
    classes: dict[str, int] = {}
    for name, snippet in negatives.snippets(each=10):
        for label in draws.as_file(name, snippet).labels:
            classes[label.type] = classes.get(label.type, 0) + 1
    assert set(classes) == set(negatives.classes()) and set(classes.values()) == {10}


def test_checksums_of_the_generators_against_published_examples():
    assert tokens._bech32("a", b"") == "a12uel5l"  # BIP 173, test vectors
    assert people.luhn("7992739871") == "3"
    assert tokens.base62(0, 6) == "000000" and tokens.base62(61, 1) == "z"
    draw = draws.Draw("checks")
    for _ in range(200):
        assert (
            sum(
                sum(divmod(int(c) * (1 + i % 2), 10)) for i, c in enumerate(people.card_number(draw)[1][::-1])
            )
            % 10
            == 0
        )
        number = people.iban_number(draw)
        assert int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1
