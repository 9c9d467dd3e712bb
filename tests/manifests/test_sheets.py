"""The card and the sheets beside it: every figure from the manifest, nothing of a publisher's facts takes effect as Markup."""

from __future__ import annotations

import dataclasses
import html
import re

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from manifests.card import render_card
from manifests.card_facts import CardFacts
from manifests.citation import citation
from manifests.columns import COLUMNS, PARTS
from manifests.errors import ReleaseError
from manifests.eu_summary import PROVIDER, eu_summary
from manifests.facts import LanguageFacts, StageTotals, Tokenizer
from manifests.markdown import block, code, plain
from manifests.notice import notice
from manifests.prose import UNFOLDED_ROWS, language_table
from manifests.reader import Release
from manifests.schema import DATA

STAGES = (
    StageTotals(name="graph", entered=126, left=126, dropped={}),
    StageTotals(name="licenses", entered=126, left=95, dropped={"license": 31}),
    StageTotals(name="contents", entered=95, left=88, dropped={"binary": 4, "quality.line_length": 3}),
    StageTotals(name="election", entered=88, left=76, dropped={"exact_duplicate": 12}),
    StageTotals(name="similarity", entered=76, left=70, dropped={"near_duplicate": 6}),
)


@pytest.fixture(scope="module")
def manifest(pristine):
    found = Release.open(pristine).manifest
    return dataclasses.replace(found, totals=dataclasses.replace(found.totals, stages=STAGES))


def prose(manifest, text: CardFacts | None = None) -> str:
    return render_card(manifest, text or CardFacts()).decode().split("\n---\n", 1)[1]


def shown(markdown: str) -> str:
    """What a reader sees: the text of the page, without tags."""
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def test_each_stage_and_reason_has_its_row(manifest):
    card = prose(manifest)
    for stage in STAGES:
        assert f"**{stage.name}**" in card
        assert f"{stage.entered:,} came in, {stage.left:,} were left." in card
        assert f"| {stage.name} | left | {stage.left:,} |" in card
        for reason, count in stage.dropped.items():
            assert f"| {stage.name} | dropped: `{reason}` | {count:,} |" in card


def test_licenses_redactions_and_tokens_are_counted(manifest):
    card, sheet = prose(manifest), notice(manifest).decode()
    for expression, rows in manifest.contents.licenses.items():
        assert f"| `{expression}` | {rows:,} |" in card and f"| `{expression}` | {rows:,} |" in sheet
        assert f"<https://spdx.org/licenses/{expression}.html>" in sheet
    assert f"| `email` | {manifest.contents.redactions['email']:,} |" in card
    assert "tokens" not in language_table(manifest.languages)
    counted = dataclasses.replace(
        manifest,
        tokenizer=Tokenizer(name="some_tokenizer", digest="ab" * 32),
        languages={name: dataclasses.replace(facts, tokens=7) for name, facts in manifest.languages.items()},
    )
    assert f"{7 * len(manifest.languages):,} tokens by some\\_tokenizer" in prose(counted)
    assert "tokens by some\\_tokenizer" in eu_summary(counted).decode()


def test_license_expressions_of_any_form(manifest):
    odd = {"LicenseRef-a|`b` AND (MIT OR Apache-2.0 WITH LLVM-exception)": 40, "NOASSERTION": 30}
    contents = dataclasses.replace(manifest.contents, licenses=odd)
    sheet = notice(dataclasses.replace(manifest, contents=contents)).decode()
    assert re.findall(r"<https://spdx.org/licenses/(.*?)\.html>", sheet) == ["Apache-2.0", "MIT"]
    assert "LicenseRef-a|`b` AND (MIT" in shown(sheet)


def test_the_principles_say_what_is_met_and_what_is_not(manifest):
    section = prose(manifest).split("## Software Heritage's principles")[1].split("\n## ")[0]
    assert "softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code" in section
    assert "70 of 70 rows (100 %) carry the SWHID" in section and manifest.merkle_root in section
    assert manifest.opt_out_head in section and section.count("**Left to the trainer:**") == 3
    empty = prose(manifest, CardFacts(opt_out_entries=0))
    assert "the registry of this release is empty" in empty and "is empty: nobody was registered" in empty
    assert "By the registry, 5 entries" in prose(manifest, CardFacts(opt_out_entries=5))


def test_the_datasheet_and_the_source_sheet_have_all_their_parts(manifest):
    sheet = prose(manifest).split("## Datasheet")[1].split("\n## ")[0]
    for title in ("Motivation", "Composition", "Collection", "Removals", "Uses", "Limits"):
        assert f"### {title}" in sheet
    summary = eu_summary(manifest).decode()
    numbers = re.findall(r"^### (\d\.\d) ", summary, re.M)
    assert numbers == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "3.1", "3.2", "3.3"]
    assert summary.count(PROVIDER) >= 10 and "2025-03-01" in summary


def test_an_input_without_dates_is_not_said_to_be_of_1970(manifest):
    built = dataclasses.replace(manifest, inputs={"newest_visit": "1970-01-01T00:00:00"})
    for words in (prose(built), eu_summary(built).decode()):
        assert "1970" not in words


def test_statements_in_the_sheets_run(pristine, manifest):
    sheet, summary = notice(manifest).decode(), eu_summary(manifest).decode()
    statements = [
        *re.findall(r"```sql\n(.*?)```", sheet, re.S),
        *re.findall(r"`(SELECT.*?)`", summary, re.S),
        *(
            one.replace(f"path/to/{manifest.name}/2.1", ".")
            for one in re.findall(r"```sql\n(.*?)```", prose(manifest), re.S)
        ),
    ]
    assert len(statements) == 3
    for statement in statements:
        rows = duckdb.sql(re.sub(r"'(\./)?data/", f"'{pristine}/data/", statement)).fetchall()
        assert rows, statement


def test_every_column_has_words():
    assert list(COLUMNS) == DATA.names
    for name, parts in PARTS.items():
        assert list(parts) == [field.name for field in DATA.field(name).type.value_type]


def test_many_languages_are_folded():
    def many(count: int) -> dict[str, LanguageFacts]:
        one = LanguageFacts(config_name="x", rows=1, text_bytes=1, memory_bytes=1, bytes=1, shards=1)
        return {f"L{number}": one for number in range(count)}

    assert "<details>" not in language_table(many(UNFOLDED_ROWS))
    assert "2 further languages" in language_table(many(UNFOLDED_ROWS + 2))


visible_text = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp", "Zs", "Co", "Cn")),
    min_size=1,
    max_size=40,
)
markup = st.sampled_from(
    [
        "<script>x</script>",
        "[a](http://b)",
        "*a*",
        "`a` ``b`` ```",
        "a|b",
        "# x",
        "&lt;b&gt;",
        "![i](j)",
        "$$x$$",
        "</details>",
        "---",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.one_of(visible_text, markup))
def test_a_publishers_words_are_shown_as_they_are(manifest_of_examples, words):
    text = CardFacts(pretty_name=words, publisher=words, citation=words)
    card = render_card(manifest_of_examples, text).decode()
    head, body = card.split("\n---\n", 1)
    assert yaml.safe_load(head.removeprefix("---\n"))["pretty_name"] == words
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    allowed = {"details", "summary", "h1", "h2", "h3", "p", "ul", "ol", "li", "code", "pre", "strong", "em", "a",
               "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip
    assert set(re.findall(r"</?([a-zA-Z0-9]+)", page)) <= allowed
    assert set(re.findall(r'href="([^"]*)"', page)) == {
        "https://www.softwareheritage.org/2023/10/19/swh-statement-on-llm-for-code/"
    }
    title = html.unescape(re.search(r"<h1>(.*?)</h1>", page)[1])
    assert title == f"{words}, release 2.1"
    assert html.unescape(page).count(words) >= 3


@pytest.fixture(scope="module")
def manifest_of_examples(manifest):
    return manifest


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_code_spans_and_blocks_cannot_be_left(words):
    page = MarkdownIt("commonmark").enable("table").render(f"| a |\n|---|\n| {code(words)} |\n\nbehind")
    assert page.endswith("<p>behind</p>\n") and page.count("<td>") <= 1
    assert "behind" in MarkdownIt("commonmark").render(block(words) + "\n\nbehind").split("</code></pre>")[-1]
    assert "\n" not in plain(words)


@pytest.mark.parametrize(
    "facts",
    [
        {"homepage": "javascript:alert(1)"},
        {"homepage": "https://a b"},
        {"homepage": "https://x/<b>"},
        {"license_link": "ftp://x"},
        {"contact": "no address"},
        {"contact": "a@b>c"},
        {"publisher": "a\x1b[31m"},
        {"publisher": " "},
        {"publisher": "a\nb"},
        {"pretty_name": "a\u202eb"},
        {"citation": "a\x00"},
        {"citation": "x" * 4001},
        {"published": "2026-02-30"},
        {"published": "yesterday"},
    ],
)
def test_facts_that_cannot_be_shown_are_refused(facts):
    with pytest.raises(ReleaseError, match=next(iter(facts))):
        CardFacts(**facts)


def test_citations():
    text = CardFacts(
        pretty_name="A {set}", publisher="P", homepage="https://example.org/x", published="2026-03-01"
    )
    assert citation("a-set", "2.1", text).startswith("@misc{a-set-2-1,\n  title = {A (set), release 2.1},")
    assert "year = {2026}" in citation("a-set", "2.1", text)
    assert citation("x", "1.0", CardFacts(citation="Cite us\nso\n")) == "Cite us\nso"
