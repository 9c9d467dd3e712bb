"""The review queue names what is doubtful and nothing else, decisions take effect and are evidence, and the public report tells
of unknown texts without telling whose they are."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from licensing.decisions import Decisions
from manifests.reader import Release
from manifests.report.page import render_report
from manifests.summary import summarize
from manifests.verify import verify_release
from pipeline.cli.main import app
from pipeline.errors import ConfigError

HOST = "https://forge.example"
CUSTOM = "Copyright {} <b>Acme</b>\n\nYou may read the tides of this work on Mondays.\u202e <script>alert(1)</script>\n"
ALONE = b"Terms that nobody else has: ask before you look at the reef.\n"
GPL_HEADER = b"# SPDX-License-Identifier: GPL-3.0-or-later\n"


def world() -> archives.World:
    def files(word: str, **more: bytes) -> dict[bytes, Any]:
        found = {f"{word}{n}.py".encode(): archives.File(archives.python(f"{word} {n}")) for n in range(3)}
        return found | {name.encode(): archives.File(body) for name, body in more.items()}

    def origin(name: str, entries: dict[bytes, Any], **more: Any) -> archives.Origin:
        return archives.Origin(url=f"{HOST}/{name}", files=entries, **more)

    mit = {b"": "MIT"}
    same = [
        origin(f"same/{n}", files(f"same{n}", LICENSE=CUSTOM.format(2000 + n).encode())) for n in range(4)
    ]
    declared = files("declared", LICENSE=b"SPDX-License-Identifier: GPL-3.0-only\n")
    declared[b"package.json"] = archives.File(b'{"name": "x", "license": "MIT"}\n')
    return archives.World(
        [
            *same,
            origin("alone", files("alone", COPYING=ALONE)),
            origin("declared", declared),
            origin("header", files("header") | {b"own.py": archives.File(GPL_HEADER + archives.python("own"))}, licenses=mit),
            origin("twice", files("twice", LICENSE=b"SPDX-License-Identifier: MIT\nSPDX-License-Identifier: GPL-2.0-only\n")),
            origin("odd", files("odd", LICENSE=b"SPDX-License-Identifier: LicenseRef-odd\n")),
            origin("fine", files("fine"), licenses=mit),
            origin("away", files("away", LICENSE=b"Another text that opted out.\n"), opted_out=True),
        ]
    )  # fmt: skip


def sha256(body: bytes | str) -> str:
    return hashlib.sha256(body.encode() if isinstance(body, str) else body).hexdigest()


def command(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["license", "review", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("license-review")
    built = world()
    (folder / "registry.yaml").write_text(built.registry())
    archives.write(built, folder / "archive")
    runs.release(folder / "archive", folder)
    return folder


@pytest.fixture(scope="module")
def queue(place) -> dict[str, Any]:
    return json.loads(command("--workdir", str(place / "work"), "--json", "--limit", "100"))


@pytest.fixture(scope="module")
def decided(place) -> tuple[Path, str]:
    """A second release of the same archive, with decisions; its folder, and what stderr had."""
    file = place / "license-decisions.yaml"
    one = {"reason": "read whole", "date": "2026-03-31"}
    decisions = [
        {"sha256": sha256(CUSTOM.format(2000)), "expression": "MIT", **one},
        {"sha256": sha256(GPL_HEADER + archives.python("own")), "expression": "none", **one},
        {"sha256": sha256(b"SPDX-License-Identifier: MIT\n"), "expression": "refused", **one},
        {"sha256": "ab" * 32, "expression": "MIT", **one},
    ]
    file.write_text(yaml.safe_dump(decisions))
    log = io.StringIO()
    runs.release(place / "archive", place, version="2.0", log=log, licenses={"decisions": str(file)})
    return place / "out/2.0", log.getvalue()


def test_every_doubtful_content_is_in_the_queue_with_its_reason_and_impact(queue):
    found = {(one["origin"].removeprefix(HOST), one["path"]): one for one in queue["shown"]}
    assert {key: one["reasons"] for key, one in found.items()} == {
        **{(f"/same/{n}", "LICENSE"): ["no_detection"] for n in range(4)},
        ("/alone", "COPYING"): ["no_detection"],
        ("/declared", "LICENSE"): ["declared_conflict"],
        ("/declared", "package.json"): ["declared_conflict"],
        ("/header", "own.py"): ["header_conflict"],
        ("/twice", "LICENSE"): ["contradiction"],
        ("/odd", "LICENSE"): ["unknown_id"],
    }
    assert queue["contents"] == len(found) == 10
    assert queue["reasons"]["no_detection"] == 5
    # Three sources and the license file itself; a manifest is a candidate, too.
    assert found["/alone", "COPYING"]["files"] == 4
    assert found["/declared", "LICENSE"]["files"] == 5
    header = found["/header", "own.py"]
    assert (header["files"], header["name_class"]) == (1, "source")
    assert (header["expression"], header["directory_expression"]) == ("GPL-3.0-or-later", "MIT")
    assert found["/alone", "COPYING"]["sha256"] == sha256(ALONE)
    order = [one["files"] for one in queue["shown"]]
    assert order == sorted(order, reverse=True)


def test_the_file_has_the_same_rows_and_the_reasons_select(place, queue, tmp_path):
    work = str(place / "work")
    out = tmp_path / "queue.parquet"
    command("--workdir", work, "--version", "1.0", "--out", str(out))
    rows = pq.read_table(out).to_pylist()
    assert sorted(one["sha256"] for one in rows) == sorted(one["sha256"] for one in queue["shown"])
    told = json.loads(command("--workdir", work, "--version", "1.0", "--json", "--reason", "unknown_id"))
    assert told["contents"] == 1
    assert "none of" in command_error("--workdir", work, "--reason", "unknown")
    assert "ends in .parquet" in command_error("--workdir", work, "--out", "queue.csv")


def command_error(*arguments: str) -> str:
    with pytest.raises(ConfigError) as refused:
        CliRunner().invoke(app, ["license", "review", *arguments], catch_exceptions=False)
    return str(refused.value)


def test_the_form_for_decisions_is_a_decisions_file(place, tmp_path):
    work = str(place / "work")
    form = tmp_path / "decisions.yaml"
    command("--workdir", work, "--version", "1.0", "--decisions-template", str(form))
    assert Decisions.load(form).by_sha256 == {}
    text = form.read_text()
    filled = text.replace(f"# - sha256: {sha256(ALONE)}\n#   expression:\n#   reason:\n#   date:\n",
                          f"- sha256: {sha256(ALONE)}\n  expression: MIT\n  reason: x\n  date: 2026-01-31\n")  # fmt: skip
    form.write_text(filled)
    assert [one.expression for one in Decisions.load(form).by_sha256.values()] == ["MIT"]
    assert "not overwritten" in command_error(
        "--workdir", work, "--version", "1.0", "--decisions-template", str(form)
    )


def test_the_private_page_shows_strangers_words_as_words(place, tmp_path):
    page = tmp_path / "review.html"
    command("--workdir", str(place / "work"), "--version", "1.0", "--html", str(page))
    text = page.read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert f"{HOST}/alone" in text


def test_decisions_take_the_place_of_what_was_detected(place, decided):
    folder, _ = decided
    before, after = (Release.open(place / "out/1.0"), Release.open(folder))
    rows = {
        row["origin"].removeprefix(HOST) + "/" + row["path"]: row
        for batch in after.batches(["origin", "path", "license_expression", "license_evidence"])
        for row in batch.to_pylist()
    }
    first = {
        row["origin"].removeprefix(HOST) + "/" + row["path"]
        for batch in before.batches(["origin", "path"]) for row in batch.to_pylist()
    }  # fmt: skip
    same = {f"/same/0/same0{n}.py" for n in range(3)}
    assert same <= set(rows) and not same & first, "decided to be MIT"
    evidence = rows["/same/0/same00.py"]["license_evidence"][0]
    assert (evidence["expression"], evidence["detector"]) == ("MIT", "decision 1")
    assert evidence["rule"] == "2026-03-31: read whole"
    # The MIT notice of two origins was refused, so the file whose header was decided is not there either.
    assert not any(name.startswith(("/fine", "/header")) for name in rows)
    assert {name for name in first if not name.startswith(("/fine", "/header"))} <= set(rows)
    assert (
        after.manifest.digests.policies["license_decisions"]
        == Decisions.load(place / "license-decisions.yaml").digest
    )
    assert "license_decisions" not in before.manifest.digests.policies
    assert verify_release(folder).ok


def test_a_header_that_was_decided_to_say_nothing_vetoes_nothing(place):
    own = GPL_HEADER + archives.python("own")
    file = place / "header-only.yaml"
    file.write_text(f"- {{sha256: {sha256(own)}, expression: none, reason: quoted, date: 2026-03-31}}\n")
    runs.release(place / "archive", place, version="3.0", licenses={"decisions": str(file)})
    kept = [
        row["path"]
        for batch in Release.open(place / "out/3.0").batches(["path"])
        for row in batch.to_pylist()
    ]
    assert "own.py" in kept


def test_what_was_decided_leaves_the_queue_and_what_applies_to_nothing_is_told(place, decided):
    _, log = decided
    told = json.loads(
        command("--workdir", str(place / "work"), "--version", "2.0", "--json", "--limit", "100")
    )
    left = {one["sha256"] for one in told["shown"]}
    assert sha256(CUSTOM.format(2000)) not in left and sha256(CUSTOM.format(2001)) in left
    (line,) = [line for line in log.splitlines() if line.startswith("license decisions")]
    # The source whose header was decided came to no header: its directory is refused now.
    assert "2 of 4 apply" in line and "ab" * 32 in line


def test_the_report_quotes_what_several_origins_have_and_names_no_place(place):
    folder = place / "out/1.0"
    stats = summarize(Release.open(folder))
    unknown = stats["unknown_licenses"]
    assert (unknown["texts"], unknown["files"]) == (3, 6)
    common, *rare = unknown["most"]
    assert (common["origins"], common["files"], common["contents"], common["reason"]) == (
        4,
        4,
        4,
        "no_detection",
    )
    assert "tides of this work" in common["excerpt"] and "Acme" not in common["excerpt"]
    assert [one["excerpt"] for one in rare] == [None, None]
    page = (folder / "report.html").read_text()
    assert "tides of this work" in page and "nobody else has" not in page
    assert "<script" not in page and "\u202e" not in page
    for hidden in ("/alone", "/odd", "/same/", "Acme", "opted out."):
        assert hidden not in page and hidden not in json.dumps(unknown)
    assert render_report(json.loads((folder / "stats.json").read_bytes())) == page.encode()


def test_the_queue_does_not_depend_on_the_number_of_buckets(place, queue):
    runs.release(place / "archive", place, workdir=str(place / "one"), out=str(place / "other"), buckets=1)
    told = json.loads(command("--workdir", str(place / "one"), "--json", "--limit", "100"))
    assert told["shown"] == queue["shown"]
