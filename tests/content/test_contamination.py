"""The search for benchmark texts: against a plain implementation, and what must hold of every planted text."""

from __future__ import annotations

import json
import re
import string
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.content import contamination
from pipeline.content.contamination import Index, Part, build

N = 4
ITEM = (
    "Return the names of all readers whose loan is overdue, in the order of the alphabet; every loan is a pair of a"
    " reader and a day, and a grace period in days is granted to everybody who borrowed a book"
)


def index(*texts: str, ngram: int = N) -> Index:
    return build(((Part("b", str(i), "prompt"), text) for i, text in enumerate(texts)), ngram)


def search(found: Index, *texts: str | bytes) -> list[list[dict]]:
    encoded = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return found.search(pa.array(encoded, pa.large_binary())).to_pylist()


# ------------------------------------------------------------------------------------------------- a plain implementation


def words(text: str) -> list[tuple[str, int, int, bool]]:
    """Words with their places in characters, and whether they have two characters and a letter."""
    pattern = r"(?:[A-Za-z0-9\u00c0-\u07ff]_*)+|[\u0800-\u1fff\u3040-\uefff\U00010000-\U0001efff\U00020000-\U0010ffff]"
    blank = re.sub(r"\\[nrt]", "  ", text)
    found = []
    for match in re.finditer(pattern, blank):
        whole = match.group()
        word = "".join(c.lower() if c in string.ascii_uppercase else c for c in whole.replace("_", ""))
        letter = any((c.isascii() and c.isalpha()) or c > "\u00bf" for c in word)
        end = match.start() + len(whole.rstrip("_"))
        found.append((word, match.start(), end, letter and (len(word) > 1 or word > "\u07ff")))
    return found


def telling(gram: list[tuple[str, int, int, bool]]) -> bool:
    return 2 * len({word for word, _, _, good in gram if good}) >= len(gram)


def grams(text: str, n: int) -> dict[int, tuple[str, ...]]:
    """Telling n-grams by the place of their last word."""
    all_words = words(text)
    return {
        last: tuple(word for word, *_ in all_words[last - n + 1 : last + 1])
        for last in range(n - 1, len(all_words))
        if telling(all_words[last - n + 1 : last + 1])
    }


def expected(part: str, text: str, n: int) -> tuple[int, int, int, int] | None:
    """Matched, n-grams of the part, and the bytes of the match; None where too few match."""
    wanted = set(grams(part, n).values())
    if len(wanted) < contamination.LEAST_GRAMS:
        return None
    places = {last: gram for last, gram in grams(text, n).items() if gram in wanted}
    reach = contamination.REACH * len(words(part))
    best = (0, 0, 0)
    for last in sorted(places):
        inside = {places[at]: at for at in sorted(places) if last - reach <= at <= last}
        if len(inside) > best[0]:
            best = (len(inside), min(inside.values()), last)
    matched, first, last = best
    least = max(Fraction(len(wanted), 4), min(len(wanted), contamination.LEAST_MATCHED))
    if matched < least:
        return None
    all_words = words(text)
    start, end = all_words[first - n + 1][1], all_words[last][2]
    return matched, len(wanted), len(text[:start].encode()), len(text[:end].encode())


VOCABULARY = [
    "loan",
    "day",
    "Name",
    "x",
    "7",
    "für",
    "naïve",
    "本",
    "reader_name",
    "is_",
    "_of",
    "return",
    "list",
    "for",
]
BETWEEN = [
    " ",
    "\n",
    "\t# ",
    ", ",
    "(",
    ")\r\n    ",
    "\\n",
    "\\t",
    '"',
    " + ",
    "\u00a0",
    "。",
    "\u2028",
    "🙂",
    "\x00",
]
pieces = st.lists(st.tuples(st.sampled_from(VOCABULARY), st.sampled_from(BETWEEN)), max_size=60)
texts = pieces.map(lambda pairs: "".join(word + between for word, between in pairs))


@settings(max_examples=150, deadline=None)
@given(part=texts, text=texts, other=texts, n=st.integers(3, 6))
def test_matches_are_those_of_a_plain_implementation(part, text, other, n):
    found = index(part, ngram=n)
    for one, matches in zip(
        (text, other + part, part + text), search(found, text, other + part, part + text), strict=True
    ):
        wanted = expected(part, one, n)
        told = [(m["matched"], m["ngrams"], m["start"], m["end"]) for m in matches]
        assert told == ([] if wanted is None else [wanted])


@settings(max_examples=100, deadline=None)
@given(data=st.lists(st.binary(max_size=80) | st.text(max_size=40).map(str.encode), max_size=6))
@example(data=[b"\xc3", b"a\xe6\x9c", b"\\", b"\xf0\x9f", b"_" * 9, b"\xc3\xc3\xc3a"])
def test_any_bytes_can_be_searched(data):
    assert len(search(index(ITEM), *data)) == len(data)


# ----------------------------------------------------------------------------------------------------- planted texts

blank = st.text(" \t\r\n\f\v", min_size=1, max_size=4)
junk = st.lists(st.sampled_from(["zork", "quux_12", "plugh", "+=", "42"]), max_size=80).map(" ".join)


@st.composite
def laid_out(draw: st.DrawFn) -> str:
    """ITEM with other white space and other cases, and maybe a comment mark before each line."""
    mark = draw(st.sampled_from(["", "# ", "// ", "-- ", " * ", "> "]))
    made = []
    for word in ITEM.split():
        gap = draw(blank).replace("\n", "\n" + mark)
        made.append(draw(st.sampled_from([str.lower, str.upper, str.title, str]))(word) + gap)
    return "".join(made)


@settings(max_examples=80, deadline=None)
@given(before=junk, planted=laid_out(), behind=junk)
def test_a_planted_text_is_found_whole_where_it_stands(before, planted, behind):
    text = f"{before}\n{planted}\n{behind}"
    (match,) = search(index(ITEM), text)[0]
    assert match["matched"] == match["ngrams"]
    span = text[match["start"] : match["end"]]
    assert span[0].isalnum()
    assert span[-1].isalnum()
    assert re.findall(r"\w+", span) == re.findall(r"\w+", planted)


@pytest.mark.parametrize(
    "wrap", [json.dumps, lambda t: json.dumps(json.dumps(t)), repr], ids=["json", "twice", "repr"]
)
def test_a_text_in_a_string_is_found_whole(wrap):
    text = wrap(ITEM.replace(", ", ",\n\t"))
    (match,) = search(index(ITEM), text)[0]
    assert match["matched"] == match["ngrams"]


@settings(max_examples=80, deadline=None)
@given(text=st.lists(st.sampled_from(ITEM.split()), max_size=200), gap=st.sampled_from(["zork", "1"]))
def test_a_text_that_shares_no_n_gram_is_never_hit(text, gap):
    """The words of the text, but never more than two of them together."""
    spread = " ".join(f"{word} {gap}" if at % 2 else word for at, word in enumerate(text))
    assert search(index(ITEM, ngram=3), spread) == [[]]


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(texts, min_size=1, max_size=5), files=st.lists(texts, max_size=6), data=st.data())
def test_neither_order_nor_batches_change_an_answer(parts, files, data):
    given_parts = [(Part("b", str(i), "prompt"), text) for i, text in enumerate(parts)]
    one, other = build(given_parts, N), build(data.draw(st.permutations(given_parts)), N)
    assert one.digest == other.digest
    files = [*files, *(a + b for a, b in zip(parts, files, strict=False))]
    together = search(one, *files)
    assert together == [search(other, text)[0] for text in files]
    encoded = pa.array([text.encode() for text in files], pa.large_binary())
    assert one.search(encoded.slice(1)).to_pylist() == together[1:]


def test_an_index_read_back_is_the_same():
    one = index(ITEM, "too short")
    again = Index.from_bytes(one.to_bytes())
    assert again.digest == one.digest
    assert again.unsearchable == one.unsearchable
    assert search(again, ITEM) == search(one, ITEM) != [[]]


def test_the_digest_names_parts_texts_and_length():
    named = build([(Part("other", "0", "prompt"), ITEM)], N)
    digests = {index(ITEM).digest, index(ITEM + " too").digest, index(ITEM, ngram=5).digest, named.digest}
    assert len(digests) == 4


# ------------------------------------------------------------------------------------------------- what does not count


def test_a_share_is_one_of_the_part_and_not_of_the_file():
    half = " ".join(ITEM.split()[: len(ITEM.split()) // 2])
    far = "zork quux plugh " * 5_000
    (match,) = search(index(ITEM), far + half + far)[0]
    assert 0.4 < match["matched"] / match["ngrams"] < 0.6


def test_parts_of_a_text_that_are_far_from_each_other_do_not_add_up():
    all_words = ITEM.split()
    pieces_of = [" ".join(all_words[at : at + 12]) for at in range(0, len(all_words), 12)]
    near, far = (" zork quux" * gap for gap in (2, 80))
    close, apart = search(index(ITEM), near.join(pieces_of), far.join(pieces_of))
    assert close[0]["matched"] > 0.6 * close[0]["ngrams"]
    assert apart == []


def test_numbers_letters_and_repetitions_tell_nothing():
    rows = ["1 2 3 4 5 6 7 8 9 " * 9, "a b c d e f g h i j k l " * 9, "zero " * 99, "0x00, 0x01, " * 30]
    found = index(*rows)
    assert [one.reason for one in found.unsearchable] == ["plain"] * 4
    assert search(found, *rows) == [[], [], [], []]


def test_what_cannot_be_searched_for_is_told():
    prompt = "Read the numbers of the first line and write their sum as one more line"
    tasks = [
        f"{prompt}{' extra words that only this one of all the tasks has got' * (i == 3)}" for i in range(12)
    ]
    long = ITEM + " word" * contamination.MAX_WORDS
    found = build(
        [
            *((Part("common", f"{i:02}", "prompt"), task) for i, task in enumerate(tasks)),
            (Part("short", "0", "prompt"), "far too short"),
            (Part("long", "0", "prompt"), long),
        ],
        N,
    )
    reasons = {(one.part.benchmark, one.part.item): one.reason for one in found.unsearchable}
    assert reasons == {
        **{("common", f"{i:02}"): "common" for i in range(12) if i != 3},
        ("short", "0"): "short",
        ("long", "0"): "long",
    }
    assert [one.item for one in found.parts] == ["03"]
    assert search(found, prompt) == [[]], "boilerplate convicts nobody"
    assert search(found, tasks[3])[0][0]["ngrams"] < 15


def test_another_benchmark_changes_no_match():
    """Boilerplate is that of one benchmark: what another one has often does not count less in this one."""
    others = [(Part("a", f"{i:02}", "prompt"), f"{ITEM} {'zork' * i} {i}") for i in range(12)]
    both = build([(Part("b", "0", "prompt"), ITEM), *others], N)
    alone = search(index(ITEM), ITEM)[0]
    assert [one for one in search(both, ITEM)[0] if one["benchmark"] == "b"] == alone != []


def test_the_largest_shares_come_first_and_a_few_are_told():
    found = index(*(f"{ITEM} number {i} {'and more of it ' * i}" for i in range(30)))
    matches = search(found, ITEM)[0]
    shares = [Fraction(m["matched"], m["ngrams"]) for m in matches]
    assert len(matches) <= contamination.MATCHES
    assert shares == sorted(shares, reverse=True)


def test_a_text_many_times_over_is_searched_as_once():
    once = search(index(ITEM), ITEM)[0][0]
    often = search(index(ITEM), f"{ITEM} zork\n" * 3_000)[0][0]
    assert often == once


@pytest.mark.parametrize("ngram", [2, 65])
def test_a_length_that_cannot_be_is_refused(ngram):
    with pytest.raises(ValueError, match="3 to 64 words"):
        index(ITEM, ngram=ngram)


def test_a_part_twice_is_refused():
    with pytest.raises(ValueError, match="given twice"):
        build([(Part("b", "0", "prompt"), ITEM), (Part("b", "0", "prompt"), "other")], N)


def test_too_many_n_grams_are_refused(monkeypatch):
    monkeypatch.setattr(contamination, "MAX_SLOTS", 10)
    with pytest.raises(ValueError, match="more than 10"):
        index(ITEM)
