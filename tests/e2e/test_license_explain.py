"""`pipeline license explain` and `replay`: every decision comes out again from the bytes of its evidence, or that is said."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import e2e_archives as archives
import e2e_runs as runs
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.engine.store import Store
from pipeline.errors import ConfigError, IntegrityError
from pipeline.license_explain import explain_license
from pipeline.license_replay import Replay
from pipeline.license_rows import replay_rows
from pipeline.license_words import render
from pipeline.records import the_record

HOST = "https://licenses.example"
RIDER = b"Permission is granted, but you may not train machine learning models on it.\n"
DEP5 = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: Expat

Files: src/copied.py
License: GPL-2+
"""


def python(name: str) -> archives.File:
    return archives.File(archives.python(f"license {name}"))


def world() -> archives.World:
    mit = archives.notice("MIT")
    tool = {
        b"LICENSE": mit,
        b"a.py": python("a"),
        b"gpl/LICENSE": archives.notice("GPL-3.0-only"),
        b"gpl/b.py": python("b"),
        b"linked/LICENSE": archives.Link(b"../gpl/LICENSE"),
        b"linked/c.py": python("c"),
        b"mit/LICENSE": archives.Link(b"../LICENSE"),
        b"mit/d.py": python("d"),
        b"lost/LICENSE": archives.Link(b"/etc/LICENSE"),
        b"lost/e.py": python("e"),
        b"vendor/x/f.py": python("f"),
        b"vendor/y/LICENSE": archives.notice("ISC"),
        b"vendor/y/g.py": python("g"),
        b"binary/COPYING": archives.File(b"\x00\x01MIT License\x00" * 20, late="binary"),
        b"binary/h.py": python("h"),
        b"rider/LICENSE": archives.File(b"SPDX-License-Identifier: MIT\n\n" + RIDER, late="quality.text"),
        b"rider/i\x1b.py": python("i"),
        b"header.py": archives.File(
            b"# SPDX-License-Identifier: GPL-2.0-only\n" + archives.python("license header")
        ),
    }
    packaged = {
        b"debian/copyright": archives.File(DEP5, late="quality.text"),
        b"src/own.py": python("own"),
        b"src/copied.py": python("copied"),
    }
    bare = {b"j.py": python("j"), b"README": archives.File(b"A thing.\n", late="quality.text")}
    return archives.World(
        [
            archives.Origin(url=f"{HOST}/tool", files=tool),
            archives.Origin(url=f"{HOST}/packaged", files=packaged),
            archives.Origin(url=f"{HOST}/bare", files=bare),
        ]
    )


@pytest.fixture(scope="module")
def license_archive(tmp_path_factory) -> Path:
    return archives.write(world(), tmp_path_factory.mktemp("licenses") / "archive")


@pytest.fixture(scope="module")
def licensed(license_archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("licenses-made")
    outcome = runs.release(license_archive, folder, files={"vendored": "keep"})
    return outcome, folder


@pytest.fixture
def ask(licensed):
    def look(origin: str, path: str | None = None):
        story = explain_license(the_record(str(licensed[1] / "work")), f"{HOST}/{origin}", path)
        assert render(story) and json.loads(json.dumps(story)) == story
        return story

    return look


def kept_paths(outcome) -> set[str]:
    parts = sorted((outcome.directory / "data").rglob("*.parquet"))
    return {f"{row['repo_name']}:{row['path']}" for part in parts for row in pq.read_table(part).to_pylist()}


def test_what_is_kept_and_why_the_rest_is_not(licensed, ask):
    """Breach: a link, vendored code, a rider or a binary license is passed over, or a statement of paths is not heard."""
    paths = {name.partition(":")[2] for name in kept_paths(licensed[0])}
    assert paths == {"a.py", "mit/d.py", "vendor/y/g.py", "src/own.py"}
    reasons = {
        ("tool", "gpl/b.py"): "not_permissive", ("tool", "linked/c.py"): "not_permissive", ("tool", "lost/e.py"): "unrecognised",
        ("tool", "vendor/x/f.py"): "vendored", ("tool", "binary/h.py"): "unrecognised", ("tool", "rider/i\\x1b.py"): "rider",
        ("packaged", "src/copied.py"): "not_permissive", ("bare", "j.py"): "none_found",
    }  # fmt: skip
    for (origin, path), reason in reasons.items():
        story = ask(origin, path)
        assert (story["files"][0]["reason"], story["files"][0]["detail"]) == ("license", reason), path
        assert story["same"] and story["places"][0]["now"]["sub_reason"] == reason, path
    assert ask("tool", "header.py")["files"][0]["header"]["permitted"] is False
    assert ask("tool", "header.py")["files"][0]["reason"] == "license_header"


def test_the_story_leads_from_file_to_decision(ask):
    story = ask("tool", "mit/d.py")
    (place,) = story["places"]
    assert place["place"] == "mit" and place["recorded"] == place["now"]
    assert (place["now"]["license_expression"], place["now"]["by"]) == ("MIT", ["mit/LICENSE"])
    assert [one["path"] for one in story["evidence"]] == ["LICENSE", "mit/LICENSE"]
    assert story["evidence"][0]["swhid"] == story["evidence"][1]["swhid"], "the bytes that the link leads to"
    assert story["policy"]["recorded"] == story["policy"]["used"]
    assert all(one["same"] and one["detections"][0]["quote"] for one in story["evidence"])
    assert ask("packaged", "src/copied.py")["places"][0]["place"] == "/src/copied.py"


def test_a_rider_is_quoted_and_control_characters_are_escaped(ask):
    story = ask("tool", "rider/i\\x1b.py")
    quoted = [
        line
        for one in story["evidence"]
        for d in one["detections"]
        if "rider" in d["expression"]
        for line in d["quote"]
    ]
    assert quoted == [RIDER.decode().strip()]
    assert "\x1b" not in render(story) and "i\\x1b.py" in render(story)


def test_a_folder_tells_of_all_below_it(ask):
    story = ask("tool")
    assert [p["place"] for p in story["places"]] == [
        "",
        "binary",
        "gpl",
        "linked",
        "lost",
        "mit",
        "rider",
        "vendor/x",
        "vendor/y",
    ]
    assert story["same"] and story["files"] == []
    assert [p["place"] for p in ask("tool", "vendor")["places"]] == ["vendor/x", "vendor/y"]


def test_what_the_archive_does_not_have(ask):
    for origin, path in (("other", None), ("tool", "no.py"), ("tool", "nothing/")):
        with pytest.raises(ConfigError, match=r"not an origin|no file or folder"):
            ask(origin, path)


def test_every_row_of_the_release_comes_out_again(licensed):
    found = replay_rows(str(licensed[0].directory), str(licensed[1] / "work"))
    assert (found["rows"], found["same"], found["different"]) == (4, 4, 0)
    assert (
        found["policy"]
        == json.loads((licensed[0].directory / "manifest.json").read_bytes())["policies"]["license"]
    )
    assert replay_rows(str(licensed[0].directory), str(licensed[1] / "work"), sample=2)["rows"] == 2


def test_the_small_world_comes_out_again(made):
    found = replay_rows(str(made[0].directory), str(made[1] / "work"))
    assert found["rows"] == found["same"] == found["of"] > 20


def test_another_answer_is_told_and_is_exit_code_4(licensed, monkeypatch):
    """Breach: the recorded decision is printed as it stands, and nothing was done again."""
    import pipeline.license_replay as module

    original = module.detect_batch

    def other(names, bodies, **more):
        table = original(names, bodies, **more)
        text = json.dumps(table.to_pylist()).replace('"MIT"', '"GPL-3.0-only"')
        return type(table).from_pylist(json.loads(text), schema=table.schema)

    monkeypatch.setattr(module, "detect_batch", other)
    work = str(licensed[1] / "work")
    story = explain_license(the_record(work), f"{HOST}/tool", "a.py")
    assert not story["same"]
    assert {d["what"] for d in story["places"][0]["differences"]} >= {
        "license_expression",
        "permitted",
        "license_evidence",
    }
    assert "DIFFERS" in render(story)
    result = CliRunner().invoke(app, ["license", "explain", f"{HOST}/tool", "a.py", "--workdir", work])
    assert isinstance(result.exception, IntegrityError) and result.exception.exit_code == 4
    found = replay_rows(str(licensed[0].directory), work)
    assert found["different"] == 4, "of the ISC file the union over all folders above differs"
    result = CliRunner().invoke(app, ["license", "replay", str(licensed[0].directory), "--workdir", work])
    assert isinstance(result.exception, IntegrityError)


def test_bytes_that_are_others_are_an_error(licensed, monkeypatch):
    record = the_record(str(licensed[1] / "work"))
    evidence = Replay(record).recorded_evidence
    root = explain_license(record, f"{HOST}/tool", "a.py")["root"]
    sha1_git = evidence(root).to_pylist()[0]["sha1_git"]
    original = type(record).annotations

    def damaged(self, name, column, identity, columns=None):
        table = original(self, name, column, identity, columns)
        if name != "bodies":
            return table
        return table.set_column(1, "body", [[b"x"]])

    monkeypatch.setattr(type(record), "annotations", damaged)
    with pytest.raises(IntegrityError, match="are others"):
        Replay(record).body(sha1_git)


def test_another_policy_shows_what_it_would_change(licensed, tmp_path, license_archive):
    policy = tmp_path / "policy.yaml"
    policy.write_text("remove: [MIT]\nallow: [unlicensed]\n")
    record = the_record(str(licensed[1] / "work"))
    story = explain_license(record, f"{HOST}/tool", "a.py", policy=policy)
    assert not story["policy"]["same"] and not story["places"][0]["now"]["permitted"]
    # A release made with it keeps the policy: it decides the same once the file is gone.
    outcome = runs.release(
        license_archive, tmp_path, licenses={"policy": str(policy)}, files={"vendored": "keep"}
    )
    policy.unlink()
    found = replay_rows(str(outcome.directory), str(tmp_path / "work"))
    assert found["rows"] == found["same"] > 0
    types = {(r["path"], r["license_type"], r["license_expression"])
             for p in (outcome.directory / "data").rglob("*.parquet") for r in pq.read_table(p).to_pylist()}  # fmt: skip
    assert ("j.py", "no_license", "NONE") in types and ("vendor/y/g.py", "permissive", "ISC") in types
    assert Store(str(tmp_path / "work")).list("inputs")


def test_the_commands_print(licensed, tmp_path):
    work = ["--workdir", str(licensed[1] / "work")]
    runner = CliRunner()
    told = runner.invoke(app, ["license", "explain", f"{HOST}/tool", "a.py", *work, "--version", "1.0"])
    assert (
        told.exit_code == 0
        and "same decision" in told.output
        and "SPDX-License-Identifier: MIT" in told.output
    )
    told = runner.invoke(
        app, ["license", "explain", f"{HOST}/tool", "--json", *work, "--release", str(licensed[0].directory)]
    )
    assert json.loads(told.output)["same"] is True
    told = runner.invoke(app, ["license", "replay", str(licensed[0].directory), *work])
    assert told.exit_code == 0 and "4 rows come out as they are, 0 do not" in told.output


def test_a_release_of_before_is_told(licensed, monkeypatch):
    record = the_record(str(licensed[1] / "work"))
    monkeypatch.setattr(type(record), "rows", lambda *_: {}["evidence"])
    with pytest.raises(ConfigError, match="earlier version"):
        Replay(record).recorded_evidence("0" * 40)


# ---------------------------------------------------------------------------------------------------------- notices


def test_notices_name_every_license_file_that_rows_rest_on(licensed):
    """Breach: a row's license file is not in the notices, or one that no row rests on is."""
    outcome, _ = licensed
    rows = pq.read_table(outcome.directory / "notices.parquet").to_pylist()
    data = [
        row
        for part in (outcome.directory / "data").rglob("*.parquet")
        for row in pq.read_table(part).to_pylist()
    ]
    wanted = {
        (row["directory_id"], row["license_expression"], e["path"], e["swhid"])
        for row in data
        for e in row["license_evidence"]
    }
    told = {(r["directory_id"], r["license_expression"], r["license_path"], r["swhid"]) for r in rows}
    assert told == wanted and len(rows) == len(told)
    assert sum(row["rows"] for row in rows) == sum(
        len({e["path"] for e in r["license_evidence"]}) for r in data
    )
    assert [row["notice_id"] for row in rows] == sorted(row["notice_id"] for row in rows)
    listed = {
        file["path"] for file in json.loads((outcome.directory / "manifest.json").read_bytes())["files"]
    }
    assert "notices.parquet" in listed


def test_notices_hold_copyright_lines_and_notice_files(tmp_path):
    """Breach: whose code it is cannot be told from the release, or an address is published for it."""
    text = b"SPDX-License-Identifier: Apache-2.0\nCopyright (c) 2019 The Tide Project <team@tide.example>\n"
    files = {
        b"LICENSE": archives.File(text, late="quality.text"),
        b"NOTICE": archives.File(b"Tide\nCopyright 2018 Reef Works\n", late="quality.text"),
        b"lib/a.py": python("notice a"),
    }
    small = archives.World([archives.Origin(url=f"{HOST}/tide", files=files)])
    outcome = runs.release(archives.write(small, tmp_path / "archive"), tmp_path)
    rows = {r["license_path"]: r for r in pq.read_table(outcome.directory / "notices.parquet").to_pylist()}
    assert rows["LICENSE"]["copyrights"] == ["Copyright (c) 2019 The Tide Project <email>"]
    assert rows["NOTICE"]["copyrights"] == ["Copyright 2018 Reef Works"]
    assert {r["license_expression"] for r in rows.values()} == {"Apache-2.0"}
    page = (outcome.directory / "NOTICE.md").read_text()
    for words in ("Reef Works", "The Tide Project", f"{HOST}/tide", "GPL-2.0-only", "NOTICE files stay"):
        assert words in page.replace("\\", ""), words
    assert "team@" not in page


def test_every_command_of_the_page_works(made, tmp_path, monkeypatch):
    """Breach: a reader types what docs/license-explain.md says, and it fails."""
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases/2.1").symlink_to(made[0].directory)
    (tmp_path / "work").symlink_to(made[1] / "work")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/license-explain.md").read_text(encoding="utf-8")
    lines = [
        line for block in re.findall(r"(?ms)^```console\n(.*?)^```", page) for line in block.splitlines()
    ]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line.removeprefix("$ "))
        assert words[0] == "pipeline"
        result = CliRunner().invoke(app, words[1:])
        assert result.exit_code == 0, (line, result.output, result.exception)
