"""Benchmark files of every layout and form, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from pipeline.content import contamination_records
from pipeline.content.contamination import Part
from pipeline.content.contamination_records import LAYOUTS, parts_of
from pipeline.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "examples" / "benchmarks"
RECORDS = [
    {
        "task_id": "T/0",
        "prompt": "first prompt",
        "canonical_solution": "first solution",
        "test": "first test",
    },
    {"task_id": "T/1", "prompt": "second prompt", "canonical_solution": "", "test": "second test"},
]


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def read(data: bytes, name: str = "b.jsonl", **more) -> list[tuple[str, str, str]]:
    return [(part.item, part.field, text) for part, text in parts_of("b", data, name, **more)]


WANTED = [(r["task_id"], k, r[k]) for r in RECORDS for k in ("prompt", "canonical_solution", "test")]


def as_table() -> pa.Table:
    return pa.Table.from_pylist(RECORDS)


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(as_table(), out, row_group_size=1)
    return out.getvalue()


def as_csv() -> bytes:
    out = io.BytesIO()
    pyarrow.csv.write_csv(as_table(), out)
    return out.getvalue()


FORMS = {
    "b.jsonl": lines(*RECORDS),
    "bom.jsonl": b"\xef\xbb\xbf" + lines(*RECORDS),
    "crlf.jsonl": lines(*RECORDS).replace(b"\n", b"\r\n\r\n"),
    "no-end.jsonl": lines(*RECORDS).rstrip(),
    "b.jsonl.gz": gzip.compress(lines(*RECORDS)),
    "b.json": json.dumps(RECORDS, indent=2).encode(),
    "b.json.gz": gzip.compress(json.dumps(RECORDS).encode()),
    "b.parquet": parquet(),
    "b.csv": as_csv(),
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_form_gives_the_same_parts(name):
    assert read(FORMS[name], name) == WANTED


LAYOUT_RECORDS = {
    "HumanEval": (RECORDS[0], ["prompt", "canonical_solution", "test"], "T/0"),
    "MBPP": (
        {"task_id": 7, "text": "t", "code": "c", "test_list": ["a", "b"], "test_setup_code": "", "challenge_test_list": []},
        ["text", "code", "test_list"], "7",
    ),
    "MBPP sanitized": (
        {"task_id": 7, "prompt": "t", "code": "c", "test_list": ["a"], "source_file": "s", "test_imports": []},
        ["prompt", "code", "test_list"], "7",
    ),
    "BigCodeBench": (
        {"task_id": "B/1", "complete_prompt": "p", "instruct_prompt": "i", "canonical_solution": "s", "test": "t"},
        ["complete_prompt", "canonical_solution", "test"], "B/1",
    ),
    "APPS": (
        {"problem_id": 3, "question": "q", "solutions": '["one", "two"]', "input_output": "{}"},
        ["question", "solutions[0]", "solutions[1]"], "3",
    ),
    "LiveCodeBench": (
        {"question_id": "x", "question_content": "q", "public_test_cases": "[]"}, ["question_content"], "x"
    ),
    "MultiPL-E": (
        {"name": "f_1", "language": "rs", "prompt": "p", "tests": "t", "stop_tokens": []}, ["prompt", "tests"], "rs/f_1"
    ),
    "DS-1000": ({"prompt": "p", "reference_code": "r", "metadata": {"a": 1}}, ["prompt", "reference_code"], "#1"),
    "GSM8K": ({"question": "q", "answer": "a"}, ["question", "answer"], "#1"),
}  # fmt: skip


@pytest.mark.parametrize("layout", [one.name for one in LAYOUTS])
def test_every_layout_is_told_by_its_keys(layout):
    record, fields, item = LAYOUT_RECORDS[layout]
    found = read(lines(record))
    assert [field for _, field, _ in found] == fields
    assert {one for one, _, _ in found} == {item}


def test_fields_and_id_of_the_user_count_before_the_layout():
    record = {**RECORDS[0], "key": "mine", "more": ["x", "y"]}
    assert read(lines(record), fields=("more", "prompt"), id_key="key") == [
        ("mine", "more", "x\ny"),
        ("mine", "prompt", "first prompt"),
    ]
    assert read(lines(record), fields=("more[]",)) == [("T/0", "more[0]", "x"), ("T/0", "more[1]", "y")]


def test_records_of_no_known_layout_are_named_by_their_number():
    records = [{"body": "one"}, {"body": "two"}]
    assert read(lines(*records), fields=("body",)) == [("#1", "body", "one"), ("#2", "body", "two")]


def test_an_item_without_a_text_is_a_part_without_words():
    records = [RECORDS[0], {"task_id": "T/9", "prompt": None}]
    assert read(lines(*records))[-1] == ("T/9", "prompt", "")


def test_a_plain_text_is_one_part():
    assert list(parts_of("b", b"all of \xff it", "notes.md", item="folder/notes.md")) == [
        (Part("b", "folder/notes.md", "text"), "all of \ufffd it")
    ]


def test_the_examples_are_read():
    for name, items in (("humaneval-like", 5), ("mbpp-like", 3)):
        found = read((EXAMPLES / f"{name}.jsonl").read_bytes())
        assert len({item for item, _, _ in found}) == items


BAD = {
    "no json": (b'{"task_id": 1\n', "b.jsonl:1: not valid JSON"),
    "second line": (lines(RECORDS[0]) + b"nonsense\n", "b.jsonl:2: not valid JSON: Expecting value at column 1"),
    "a list": (b"[1, 2]\n", "b.jsonl:1: must be an object with keys, not a list of int"),
    "a number": (b"17\n", "must be an object"),
    "NaN": (lines({**RECORDS[0], "test": float("nan")}), "NaN is no number of JSON"),
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "too many brackets"),
    "long number": (b'{"task_id": ' + b"9" * 5_000 + b"}\n", "not valid JSON"),
    "twice": (b'{"prompt": "a", "prompt": "b"}\n', "the key 'prompt' is given twice"),
    "no utf-8": (b'{"task_id": "\xff"}\n', "b.jsonl:1: is not UTF-8: byte 14"),
    "same id": (lines(RECORDS[0], RECORDS[1], RECORDS[0]), "b.jsonl:3: the id 'T/0' came before, at b.jsonl:1"),
    "no id": (lines({**RECORDS[0], "task_id": None}), "'task_id' must be a text or a whole number"),
    "id true": (lines({**RECORDS[0], "task_id": True}), "not bool True"),
    "empty id": (lines({**RECORDS[0], "task_id": ""}), "1 to 200 printable characters"),
    "long id": (lines({**RECORDS[0], "task_id": "x" * 201}), "1 to 200 printable characters"),
    "control id": (lines({**RECORDS[0], "task_id": "a\x1b[31m"}), "printable"),
    "wrong type": (lines({**RECORDS[0], "prompt": {"a": "b"}}), "'prompt' must be a text or a list of texts, not dict"),
    "wrong element": (lines({**RECORDS[0], "prompt": ["a", 1]}), "not a list of int and str"),
    "no layout": (lines({"instruction": "x", "output": "y"}), "no known layout has these keys: 'instruction', 'output'"),
    "nothing": (b"\n\n", "holds no record"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_a_bad_line_is_refused_by_its_place(case):
    data, message = BAD[case]
    with pytest.raises(ConfigError) as refused:
        read(data)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 600
    assert refused.value.exit_code == 2


BAD_FORMS = {
    "b.jsonl.gz": (b"no gzip", "cannot be unpacked"),
    "cut.jsonl.gz": (gzip.compress(lines(*RECORDS))[:-9], "cannot be unpacked"),
    "b.json": (json.dumps({"a": 1}).encode(), "must be a JSON list"),
    "b.parquet": (b"PAR1 no parquet", "not a readable Parquet file"),
    "b.csv": (b"task_id,prompt\n1\n2,3,4\n", "not a readable CSV file"),
    "twice.csv": (b"task_id,task_id\n1,2\n", "a column is named twice"),
}


@pytest.mark.parametrize("name", sorted(BAD_FORMS))
def test_a_file_that_is_none_is_refused(name):
    data, message = BAD_FORMS[name]
    with pytest.raises(ConfigError, match=message):
        read(data, name)


def test_absent_fields_and_ids_are_refused():
    with pytest.raises(ConfigError, match="no record has a text as 'promt'"):
        read(lines(*RECORDS), fields=("promt",))
    with pytest.raises(ConfigError, match="has no key 'number'"):
        read(lines(*RECORDS), id_key="number")


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FILE_BYTES", 10, "may have 10"),
        ("MAX_LINE_BYTES", 10, "b.jsonl:1: a line of"),
        ("MAX_ITEMS", 1, "more than 1 records"),
    ],
)
def test_limits_bound_the_work(monkeypatch, limit, value, message):
    monkeypatch.setattr(contamination_records, limit, value)
    with pytest.raises(ConfigError, match=message):
        read(lines(*RECORDS))


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(contamination_records, "MAX_TEXT_BYTES", 1 << 20)
    with pytest.raises(ConfigError, match="unpacks to more than"):
        read(gzip.compress(b" " * (64 << 20)), "bomb.jsonl.gz")
    table = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["x" * 1_000] * 2_000}), table, use_dictionary=False)
    with pytest.raises(ConfigError, match="unpacks to more than"):
        read(table.getvalue(), "bomb.parquet")
