"""A review: the sample is what it says, the form is safe and checked line by line, the rates are what they claim, and the card
tells them."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.errors import ReleaseError
from manifests.review import QUESTIONS, Review, review_prose
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.errors import ConfigError
from pipeline.review_form import Item, digest_of, page, shown
from pipeline.review_sample import draw, strata
from pipeline.review_score import estimate, score, wilson


def command(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["review", *arguments])


def take(made: Any, out: Path, *more: str) -> Path:
    done = command(
        "sample", str(made[0].directory), "--workdir", str(made[1] / "work"), "--out", str(out), *more
    )
    assert done.exit_code == 0, (done.output, done.exception)
    return out


@pytest.fixture(scope="module")
def form(made, tmp_path_factory) -> Path:
    """A form of 12 rows and 60 dropped files; do not change it."""
    return take(made, tmp_path_factory.mktemp("review") / "form", "--kept", "12", "--dropped", "60")


@pytest.fixture
def filled(form, tmp_path) -> Path:
    """A copy of the form with a verdict everywhere: `no` to every fifth line."""
    for path in form.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for kind in ("kept", "dropped"):
        rows = lines(tmp_path, kind)
        for number, row in enumerate(rows):
            for question in QUESTIONS:
                if row.get(question) == "":
                    row[question] = "no" if number % 5 == 4 else "Yes "
        write(tmp_path, kind, rows)
    return tmp_path


def lines(folder: Path, kind: str) -> list[dict[str, str]]:
    with (folder / f"{kind}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def write(folder: Path, kind: str, rows: list[dict[str, str]]) -> None:
    with (folder / f"{kind}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# ------------------------------------------------------------------------------------------------------- the sample


def test_a_draw_is_without_repeats_uniform_and_the_same_again():
    assert draw("a", 10**12, 50) == draw("a", 10**12, 50) != draw("b", 10**12, 50)
    assert draw("a", 5, 5) == draw("a", 5, 9) == [0, 1, 2, 3, 4]
    counts = Counter(number for seed in range(600) for number in draw(f"seed {seed}", 20, 5))
    # 150 each are expected; 4.5 standard deviations of a hypergeometric count, 20 times.
    assert len(counts) == 20 and max(abs(n - 150) for n in counts.values()) < 4.5 * 10.6


def test_strata_have_some_of_every_reason_and_the_rest_in_proportion():
    dropped = {
        "license": 1_000_000,
        "near_duplicate": 500_000,
        "binary": 1,
        "opted_out": 3,
        "quality.text": 10,
    }
    found = {one.reason: one for one in strata(dropped, 200)}
    assert sum(one.n for one in found.values()) == 200
    assert found["binary"].n == 1 and found["opted_out"].n == 2 == found["quality.text"].n
    assert abs(found["license"].n - 2 * found["near_duplicate"].n) <= 4
    assert {one.reason: one.stage for one in found.values()}["quality.text"] == "contents"
    assert {one.reason: one.n for one in strata(dropped, 10**9)} == dropped
    with pytest.raises(ConfigError, match="give at least 9"):
        strata(dropped, 8)


def test_the_sample_is_of_the_release_and_the_same_again(made, form, archive, tmp_path):
    """Breach: a sample depends on the machine, or names what the release does not hold."""
    sample = json.loads((form / "sample.json").read_text())
    manifest = json.loads((made[0].directory / "manifest.json").read_bytes())
    ids = set(pq.read_table(made[0].directory / "ids.parquet")["row_id"].to_pylist())
    kept = [one for one in sample["items"] if one["kind"] == "kept"]
    assert len(kept) == 12 and {one["id"] for one in kept} <= ids
    dropped = [one for one in sample["items"] if one["kind"] == "dropped"]
    assert len({one["id"] for one in dropped}) == len(dropped) == 60
    populations = {one["reason"]: one["population"] for one in sample["dropped"]["strata"]}
    assert populations == manifest["totals"]["dropped"]
    assert Counter(one["reason"] for one in dropped) == {
        one["reason"]: one["n"] for one in sample["dropped"]["strata"]
    }
    again = take(made, tmp_path / "again", "--kept", "12", "--dropped", "60")
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in form.iterdir())
    other = take(made, tmp_path / "other", "--kept", "12", "--dropped", "60", "--seed", "2")
    assert (other / "kept.csv").read_bytes() != (form / "kept.csv").read_bytes()
    refused = command(
        "sample", str(made[0].directory), "--workdir", str(made[1] / "work"), "--out", str(other)
    )
    assert "not an empty folder" in str(refused.exception)


def test_no_secret_and_no_text_of_an_opted_out_file_is_in_a_form(made, world, tmp_path):
    """Breach: the form for reviewers spreads what the release takes out."""
    form = take(made, tmp_path / "all", "--kept", "1000", "--dropped", "1000")
    text = b"".join(path.read_bytes() for path in form.iterdir())
    assert b"only-frank.py" in text, "the place of an opted-out file is told, to judge the registry's word"
    frank = next(o for o in world.origins if o.url.endswith("frank/private"))
    body = frank.files[b"only-frank.py"].body.splitlines()[3]
    assert len(body) > 20 and shown(body.decode()).encode() not in text
    assert world.secrets and not [secret for secret in world.secrets if secret in text]


def test_texts_that_were_never_fetched_come_from_the_archive(made, archive, world, tmp_path):
    """Breach: a reviewer cannot see what was dropped by its license."""
    plain, full = (
        (take(made, tmp_path / name, "--kept", "0", "--dropped", "1000", *more) / "review.html").read_text()
        for name, more in (("plain", ()), ("full", ("--archive", str(archive))))
    )
    bound = next(o for o in world.origins if o.url.endswith("dave/bound"))
    line = shown(bound.files[b"src/own0.c"].body.decode().splitlines()[2])
    assert line not in plain and line in full
    gone = next(o for o in world.origins if o.url.endswith("frank/private"))
    assert shown(gone.files[b"only-frank.py"].body.decode().splitlines()[3]) not in full


# --------------------------------------------------------------------------------------------------------- the page


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}


def test_hostile_words_do_nothing_in_the_page():
    """Breach: a file of the sample runs a script in the reviewer's browser, or hides what it says."""
    evil = "</pre><script>alert(1)</script>\x1b]0;x\x07\u202e\u2066<img src=x onerror=y>&\x00\r"
    release = {"name": "n", "version": "1.0", "digest": "a" * 64}
    item = Item(
        item="k0001",
        kind="kept",
        id="0" * 32,
        reason=evil,
        facts={"path": evil, "origin": evil},
        text=evil,
        stand_in=evil,
    )
    made = page(release, [item])
    plain = page(
        release,
        [
            Item(
                item="k0001",
                kind="kept",
                id="0" * 32,
                reason="r",
                facts={"path": "p", "origin": "o"},
                text="t",
                stand_in="s",
            )
        ],
    )
    found, expected = _Tags(), _Tags()
    found.feed(made)
    expected.feed(plain)
    assert (found.tags, found.attributes) == (expected.tags, expected.attributes)
    assert "script" not in found.tags and "default-src 'none'" in made
    assert not set("\x1b\x07\u202e\u2066\x00\r") & set(made)


def test_the_tables_hold_no_word_of_a_stranger(form):
    text = (form / "kept.csv").read_text() + (form / "dropped.csv").read_text()
    assert "forge.example" not in text and ".py" not in text
    assert {row["duplicate_right"] for row in lines(form, "dropped") if row["reason"] == "license"} == {"n/a"}


# --------------------------------------------------------------------------------------------------------- the rates


def test_the_score_of_a_filled_form(filled, made):
    found = score(filled, digest=made[0].digest)
    by = {one["question"]: one for one in found["questions"]}
    assert set(by) == set(QUESTIONS)
    assert (by["license_ok"]["yes"], by["license_ok"]["no"], by["license_ok"]["n"]) == (10, 2, 12)
    assert by["license_ok"]["rate"] == pytest.approx(10 / 12)
    assert (by["license_ok"]["low"], by["license_ok"]["high"]) == pytest.approx((0.5520, 0.9530), abs=1e-4)
    rows = lines(filled, "dropped")
    sizes = {
        one["reason"]: one["population"]
        for one in json.loads((filled / "sample.json").read_text())["dropped"]["strata"]
    }
    expected = sum(
        sizes[reason] * sum(r["drop_right"] == "Yes " for r in rows if r["reason"] == reason)
        / sum(r["reason"] == reason for r in rows)
        for reason in sizes
    ) / sum(sizes.values())  # fmt: skip
    assert by["drop_right"]["rate"] == pytest.approx(expected)
    duplicates = [r for r in rows if r["duplicate_right"] != "n/a"]
    assert by["duplicate_right"]["n"] == len(duplicates) < by["drop_right"]["n"] == 60
    done = command("score", str(filled), "--release", str(made[0].directory))
    assert done.exit_code == 0 and "license_ok" in done.stdout
    assert json.loads((filled / "review.json").read_text()) == json.loads(json.dumps(found))
    Review.parse(json.loads((filled / "review.json").read_text()))


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.98])
def test_the_interval_of_a_stratified_sample_covers_the_truth(truth):
    """Breach: an interval that is called 95 % holds the true rate much less often."""
    draws = random.Random(f"coverage {truth}")
    populations = {"a": 60_000, "b": 25_000, "c": 10_000, "d": 5_000}
    sizes = {"a": 58, "b": 26, "c": 11, "d": 5}
    hits = 0
    for _ in range(400):
        answers = {}
        for name, n in sizes.items():
            yes = sum(draws.random() < truth for _ in range(n))
            answers[name] = Counter(yes=yes, no=n - yes)
        one = estimate(answers, populations)
        hits += one["low"] <= truth <= one["high"]
    # 380 are expected; 4 standard deviations below, since Wilson's interval is not exact.
    assert hits >= 362


def test_wilson():
    assert wilson(0.0, 0) == (0.0, 1.0)
    assert wilson(1.0, 20)[0] == pytest.approx(0.8389, abs=1e-4) and wilson(1.0, 20)[1] == 1.0
    assert wilson(0.0, 20)[1] == pytest.approx(0.1611, abs=1e-4)
    one = estimate({"a": Counter(unsure=3)}, {"a": 9})
    assert one["rate"] is None and one["covered"] == 0
    part = estimate({"a": Counter(yes=3), "b": Counter(unsure=2)}, {"a": 9, "b": 1})
    assert part["rate"] == 1 and part["covered"] == pytest.approx(0.9)


def _cell(column: str, value: str) -> Any:
    return lambda rows: rows[2].update({column: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_cell("license_ok", ""), "line 4: license_ok of k0003 is not filled in"),
        (_cell("license_ok", "maybe"), "line 4: license_ok is 'maybe', not one of yes, no, unsure"),
        (_cell("id", "f" * 32), "line 4: the id or reason of k0003 was changed"),
        (_cell("item", "k9999"), "line 4: 'k9999' was not drawn"),
        (_cell("item", "k0002"), "line 4"),
        (_cell("release", "0" * 16), "line 4: it is of release '0000000000000000'"),
        (lambda rows: rows.pop(), "the line of k0012 is missing"),
        (lambda rows: rows.append(dict(rows[0])), "line 14: k0001 is there twice"),
        (lambda rows: [row.pop("comment") for row in rows], "line 1: the columns must be release,item,id"),
    ],
)
def test_a_form_that_was_not_filled_in_or_was_changed(filled, change, words):
    rows = lines(filled, "kept")
    change(rows)
    write(filled, "kept", rows)
    with pytest.raises(ConfigError, match=r"kept\.csv") as caught:
        score(filled)
    assert words in str(caught.value)
    assert isinstance(command("score", str(filled)).exception, ConfigError)
    assert not (filled / "review.json").exists()


def test_other_forms_are_refused(filled, tmp_path):
    with pytest.raises(ConfigError, match="not of this one"):
        score(filled, digest="0" * 64)
    rows = lines(filled, "dropped")
    number, row = next((n, r) for n, r in enumerate(rows) if r["duplicate_right"] == "n/a")
    row["duplicate_right"] = "yes"
    write(filled, "dropped", rows)
    with pytest.raises(ConfigError, match=rf"dropped\.csv, line {number + 2}: duplicate_right is not asked"):
        score(filled)
    (filled / "dropped.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        score(filled)
    (filled / "dropped.csv").write_text('release,"x\n')
    with pytest.raises(ConfigError, match=r"dropped\.csv, line"):
        score(filled)
    sample = json.loads((filled / "sample.json").read_text())
    sample["items"][0]["id"] = "f" * 32
    (filled / "sample.json").write_text(json.dumps(sample))
    with pytest.raises(ConfigError, match="was changed since it was drawn"):
        score(filled)
    for text in ("{", "[]", '{"schema": 1}', "1" * 5_000, '{"digest": "x"}'):
        (filled / "sample.json").write_text(text)
        with pytest.raises(ConfigError, match=r"sample\.json"):
            score(filled)
    with pytest.raises(ConfigError, match="is missing"):
        score(tmp_path / "nowhere")


def test_a_sample_that_was_forged_whole_meets_its_own_lines(filled):
    """A changed description with a new digest still has to agree with the lines that people filled in."""
    sample = json.loads((filled / "sample.json").read_text())
    sample["items"].pop()
    sample["digest"] = digest_of(sample)
    (filled / "sample.json").write_text(json.dumps(sample))
    with pytest.raises(ConfigError, match="was not drawn"):
        score(filled)


# ----------------------------------------------------------------------------------------------------------- the card


def test_the_next_release_tells_the_rates_in_its_card(filled, made, archive, tmp_path):
    """Breach: the rates are not in the card, or a release with a review cannot be verified or made again."""
    command("score", str(filled))
    review = filled / "review.json"
    settings = {"card": {"review": str(review)}}
    folder = tmp_path / "copy"
    shutil.copytree(made[1] / "work", folder / "work")
    outcome = runs.release(archive, folder, version="1.1", out=tmp_path / "out", **settings)
    card = (outcome.directory / "README.md").read_text()
    assert f"release 1.0 of this dataset (manifest `{made[0].digest}`)" in card
    assert (
        "| kept: The license of the row is right, and permitted | 10 | 2 | 0 | 83.3 % | 55.2 to 95.3 % |"
        in card
    )
    assert verify_release(outcome.directory).ok
    assert runs.release(archive, folder, version="1.1", out=tmp_path / "out", **settings).state == "unchanged"
    assert str(review) not in (outcome.directory / "config.yaml").read_text()
    other = json.loads(review.read_text())
    other["release"]["name"] = "other"
    review.write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="review of the dataset 'other'"):
        runs.release(archive, folder, version="1.2", out=tmp_path / "out", **settings)
    review.write_text("{}")
    with pytest.raises(ConfigError, match="schema"):
        runs.release(archive, folder, version="1.2", out=tmp_path / "out", **settings)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2), ("release", []), ("questions", []), ("questions", [{"question": "x"}]), ("questions", "x"),
        ("questions", [{"question": "license_ok", "yes": True, "no": 0, "unsure": 0}]),
        ("questions", [{"question": "license_ok", "yes": 1, "no": 0, "unsure": 0, "low": -1, "high": 1, "covered": 1}]),
        ("questions", [{"question": "license_ok", "yes": 1, "no": 0, "unsure": 0, "low": 0, "high": 0.1, "covered": 1,
                        "rate": 1}]),
    ],
)  # fmt: skip
def test_a_review_that_is_none(key, value):
    good = {
        "schema": 1,
        "release": {"name": "n", "version": "1.0", "digest": "a" * 64},
        "questions": [
            {
                "question": "secret_left",
                "yes": 0,
                "no": 9,
                "unsure": 1,
                "rate": 0.0,
                "low": 0.0,
                "high": 0.3,
                "covered": 1.0,
            }
        ],
    }
    assert review_prose(None) == []
    assert "| 0 | 9 | 1 | 0.0 % | 0.0 to 30.0 % |" in review_prose(Review.parse(good))[2]
    with pytest.raises(ReleaseError):
        Review.parse({**good, key: value})
