"""The tables in the tree are what their scripts make."""

from __future__ import annotations

import importlib.util
import json
import sys
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "pipeline" / "content" / "data"


def script(name: str):
    specification = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_object_literals():
    parse = script("build_language_tables").parse_object_literal
    source = (
        "export default {\n  name: 'A\\'s', extensions: ['.a', \".b'\",],\n  id: -3, on: true, no: null,\n}\n"
    )
    assert parse(source) == {"name": "A's", "extensions": [".a", ".b'"], "id": -3, "on": True, "no": None}
    for bad in ("export default {a: f()}", "import x\nexport default {}", "{}", "export default {a: `b`}"):
        with pytest.raises(ValueError):
            parse(bad)


def test_language_table_is_of_the_pinned_version_and_canonical():
    module = script("build_language_tables")
    table = json.loads((DATA / "languages.json").read_bytes())
    assert table["source"] == {"package": module.PACKAGE, "version": module.VERSION, "sha512": module.SHA512}
    names = [language["name"] for language in table["languages"]]
    assert names == sorted(set(names)) and len({language["id"] for language in table["languages"]}) == len(
        names
    )
    for language in table["languages"]:
        for key in ("aliases", "extensions", "filenames", "interpreters"):
            assert language.get(key, [""]) == sorted(set(language.get(key, [""])))
    assert (DATA / "languages.LICENSE").read_text().count("Permission is hereby granted") == 2


def test_letter_ranges():
    table = json.loads((DATA / "letters.json").read_bytes())
    assert table["unicode"] == "14.0.0"
    if unicodedata.unidata_version == table["unicode"]:
        module = script("build_letter_ranges")
        assert table["alphabetic"] == module.ranges(str.isalpha)
        assert table["alphanumeric"] == module.ranges(str.isalnum)
    assert all(0 <= first <= last <= sys.maxunicode for first, last in table["alphanumeric"])
