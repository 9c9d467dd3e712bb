"""Notebooks: Python's own reader of JSON is the reference of what they hold; everything else must stay as it is."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.content.notebook import MALFORMED, MAX_DEPTH, STRIPPED, strip_outputs
from pipeline.content.text import text_of


def stripped(*texts: str | bytes | None) -> list[tuple[bytes | None, str | None]]:
    encoded = [one.encode() if isinstance(one, str) else one for one in texts]
    out, told = strip_outputs(pa.array(encoded, pa.large_binary()))
    return list(zip(out.to_pylist(), told.to_pylist(), strict=True))


def code_cell(source: object = "1 + 1", **changed: object) -> dict:
    image = {"output_type": "display_data", "data": {"image/png": "iVBORw0KGgo" * 9}, "metadata": {}}
    cell = {
        "cell_type": "code",
        "execution_count": 3,
        "metadata": {"tags": ["a"]},
        "outputs": [image],
        "source": source,
    }
    return {**cell, **changed}


def notebook(*cells: object, **changed: object) -> dict:
    whole = {
        "cells": list(cells),
        "metadata": {"kernelspec": {"name": "python3"}, "widgets": {"state": {"outputs": [1]}}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return {**whole, **changed}


def expected(data: dict) -> dict:
    """What the parsed notebook is to be afterwards."""
    data = json.loads(json.dumps(data))
    sheets = [data] + [sheet for sheet in data.get("worksheets", []) if isinstance(sheet, dict)]
    for sheet in sheets:
        cells = sheet.get("cells")
        for cell in cells if isinstance(cells, list) else []:
            if isinstance(cell, dict):
                for key, value in (
                    ("outputs", []),
                    ("execution_count", None),
                    ("prompt_number", None),
                    ("attachments", {}),
                ):
                    if key in cell:
                        cell[key] = value
    if isinstance(data.get("metadata"), dict) and "widgets" in data["metadata"]:
        data["metadata"]["widgets"] = {}
    return data


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["outputs", "execution_count", "prompt_number", "attachments", "cells", "source", "cell_type", "x"]
)
cells = st.dictionaries(keys, json_values | st.just([{"data": {"image/png": "AAAA"}}]), max_size=5)
notebooks = st.builds(
    lambda cells, extra, sheets: notebook(*cells, **extra, **({"worksheets": sheets} if sheets else {})),
    st.lists(cells | json_values, max_size=4),
    st.dictionaries(
        st.sampled_from(["metadata", "x", "outputs"]), json_values | st.just({"widgets": 1}), max_size=2
    ),
    st.none() | st.lists(st.fixed_dictionaries({"cells": st.lists(cells, max_size=2)}), max_size=2),
)


@given(notebooks, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_a_reader_sees_lacks_the_outputs_and_nothing_else(data, indent, ascii_only):
    [(text, told)] = stripped(
        json.dumps(data, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    )
    assert told == STRIPPED
    assert same(json.loads(text.decode("utf-8", "surrogatepass")), expected(data))
    assert stripped(text) == [(text, STRIPPED)], "twice is not once"


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # NaN is itself here


@given(
    st.binary(max_size=200)
    | st.text(max_size=60).map(str.encode)
    | json_values.map(lambda v: json.dumps(v).encode())
)
@example(b"{")
@example(b'{"cells":[')
@example(b'{"nbformat":4,"cells":[{"outputs":[')
def test_what_is_no_notebook_stays_byte_for_byte(text):
    [(after, told)] = stripped(text)
    assert after == text and told in (None, MALFORMED)


@given(notebooks, st.data())
def test_a_truncated_notebook_stays_as_it_is(data, draw):
    text = json.dumps(data, indent=1).encode()
    cut = draw.draw(st.integers(0, len(text) - 1))
    [(after, told)] = stripped(text[:cut])
    assert after == text[:cut] and told in (None, MALFORMED)


tokens = [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b'"',
    b'"cells"',
    b'"nbformat"',
    b"4",
    b'"outputs"',
    b"-",
    b".",
    b"e",
]
tokens += [b"\\", b"\\u12", b"tru", b"NaN", b" ", b"\n", b"\x00"]


@given(st.lists(st.sampled_from(tokens), max_size=40))
@example([b'{"cells":[],"nbformat":4}'])
@example([b'{"cells":[],"nbformat":04}'])
@example([b'{"cells":[],"nbformat":4.}'])
@example([b'{"cells":[],"nbformat":4,"a":-Infinity}'])
@example([b'{"cells":["\\u00e"],"nbformat":4}'])
def test_the_grammar_is_that_of_json(pieces):
    """Told a notebook only if Python reads it as JSON, and as a notebook; told malformed only if Python does not."""
    text = b"".join(pieces)
    [(_, told)] = stripped(text)
    try:
        data = json.loads(text)
    except ValueError:
        assert told != STRIPPED
    else:
        assert told != MALFORMED
        is_one = (
            isinstance(data, dict)
            and isinstance(data.get("cells"), list)
            and isinstance(data.get("nbformat"), int)
        )
        assert (
            told == (STRIPPED if is_one else None) or text.count(b'"cells"') + text.count(b'"nbformat"') > 2
        )


def test_formatting_and_line_ends_of_what_stays_are_kept():
    form = '{\r\n  "cells" : [ {"outputs":%s ,\t"execution_count" : %s,"source":["é \\u00e9 1.50e+1"]} ],\r\n "nbformat": 4 }\n'
    text, cut = form % ('[ {"a": [1, {}]} ]', "12"), form % ("[]", "null")
    assert stripped(text) == [(cut.encode(), STRIPPED)]


def test_format_3_has_its_cells_in_worksheets():
    cell = {"cell_type": "code", "input": "x", "outputs": [1], "prompt_number": 7}
    [(text, told)] = stripped(json.dumps({"nbformat": 3, "worksheets": [{"cells": [cell]}]}))
    assert told == STRIPPED
    assert json.loads(text)["worksheets"][0]["cells"] == [{**cell, "outputs": [], "prompt_number": None}]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("outputs elsewhere", '{"outputs": [1], "nbformat": 4, "cells": []}', STRIPPED),
        ("no format", '{"cells": [{"outputs": [1]}]}', None),
        ("format is text", '{"cells": [{"outputs": [1]}], "nbformat": "4"}', None),
        ("format deeper", '{"a": {"nbformat": 4}, "cells": [{"outputs": [1]}]}', None),
        ("cells is an object", '{"cells": {"outputs": [1]}, "nbformat": 4}', None),
        ("array", '[{"cells": [{"outputs": [1]}], "nbformat": 4}]', None),
        ("web page behind it", '{"cells": [{"outputs": [1]}], "nbformat": 4}<html>', MALFORMED),
        ("comma too many", '{"nbformat": 4, "cells": [{"outputs": [1],}]}', MALFORMED),
        ("control character", '{"nbformat": 4, "cells": ["a\x01"]}', MALFORMED),
        ("two of them", '{"cells": [], "nbformat": 4}\n{"cells": [], "nbformat": 4}', MALFORMED),
        ("too deep", '{"nbformat": 4, "cells": [' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "]}", MALFORMED),
        ("empty", "", None),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 and value[:1].isalpha() else "",
)  # fmt: skip
def test_what_is_told_a_notebook(name, text, told):
    assert stripped(text) == [(text.encode(), told)]


def test_a_deep_and_a_long_one_take_no_stack():
    deep = b'{"nbformat": 4, "cells": [' + b"[" * 3_000_000
    long = (
        b'{"nbformat": 4, "cells": [' + b",".join([b'{"outputs": ["' + b"x" * 90 + b'"]}'] * 20_000) + b"]}"
    )
    found = stripped(deep, long, None)
    assert [told for _, told in found] == [MALFORMED, STRIPPED, None]
    assert found[1][0] == b'{"nbformat": 4, "cells": [' + b",".join([b'{"outputs": []}'] * 20_000) + b"]}"


def test_rows_of_a_batch_and_of_a_slice_stay_apart():
    one = json.dumps(notebook(code_cell())).encode()
    bodies = pa.array([b"x", one, b"\xff\xfe\x00", None, b"\xef\xbb\xbf" + one, b"{}"], pa.large_binary())
    whole, part = text_of(bodies, "strip_outputs"), text_of(bodies.slice(1, 4), "strip_outputs")
    assert whole.slice(1, 4).to_pylist() == part.to_pylist()
    assert whole["notebook"].to_pylist() == [None, STRIPPED, None, None, STRIPPED, None]
    assert whole["text"][1] == whole["text"][4], "a byte order mark hides it"
    kept = text_of(bodies, "keep")
    assert kept["notebook"].null_count == 6 and kept["text"][1].as_py() == one
