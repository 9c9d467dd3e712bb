import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licensing import tags
from licensing.headers import HEADER_BYTES, HEADERS, header_batch

TAG = "SPDX-License-" + "Identifier:"


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        (f"// {TAG} GPL-2.0-only", "GPL-2.0-only"),
        (f"/* {TAG} (GPL-2.0+ OR MIT) */", "GPL-2.0-or-later OR MIT"),
        (f'"""{TAG} MIT"""', "MIT"),
        (f'.\\" {TAG} MIT', "MIT"),
        (f'" {TAG} Vim', "Vim"),
        (f"<!-- {TAG} MIT -->", "MIT"),
        (f"{{# {TAG} MIT #}}", "MIT"),
        (f"rem {TAG} BSD-3-Clause\r", "BSD-3-Clause"),
        (f" * {TAG} Apache-2.0 WITH LLVM-exception */ int x;", "Apache-2.0 WITH LLVM-exception"),
        (f"# {TAG} MIT/Apache-2.0", "Apache-2.0 OR MIT"),
        (f"# {TAG} LicenseRef-Own", "LicenseRef-Own"),
        (f"# {TAG} MIT AND", "LicenseRef-stackmill-unparsable"),
        (f"# {TAG} MIT License", "LicenseRef-stackmill-unparsable"),
    ],
)
def test_statements(line, expression):
    text = f"first\n{line}\nlast\n"
    (found,) = tags.find(text)
    assert found.expression == expression
    assert text[found.start : found.end].startswith(TAG)


@pytest.mark.parametrize(
    "line",
    [
        f"x = '{TAG} GPL-2.0-only'",
        f'    "{TAG} GPL-3.0-only",',
        f"# put a line {TAG} MIT at the top",
        f"# {TAG}",
        "# SPDX-License: MIT",
    ],
)
def test_what_is_no_statement(line):
    assert tags.find(line) == []


def test_contradicting_tags_apply_together():
    body = f"# {TAG} MIT\n# {TAG} GPL-3.0-only\n".encode()
    table = header_batch(pa.array([body, None, b"", b"\x00\xff" + body], pa.large_binary()), None)
    assert table.schema.equals(HEADERS)
    assert table.column("expression").to_pylist()[:3] == ["GPL-3.0-only AND MIT", None, None]


def test_only_the_head_counts_and_offsets_are_bytes():
    tag = f"# {TAG} MIT\n".encode()
    filler = "é\n".encode() * 10
    found = header_batch(pa.array([filler + tag, b"x" * HEADER_BYTES + b"\n" + tag]), None).to_pylist()
    detection = found[0]["detections"][0]
    assert (filler + tag)[detection["start"] : detection["end"]] == f"{TAG} MIT".encode()
    assert found[1]["expression"] is None


@given(
    st.lists(
        st.sampled_from([f"# {TAG}", " MIT", "\n", " OR (", "*/", '"', "é", "\x00", " " * 90, "/"]),
        max_size=30,
    )
)
def test_any_text_is_read(parts):
    text = "".join(parts)
    for found in tags.find(text):
        assert 0 <= found.start < found.end <= len(text)
