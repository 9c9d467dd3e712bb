"""Secrets in a release: settings by language and place, what is spared, own rules, the budget, and the last look."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import e2e_archives as archives
import e2e_runs as runs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from manifests.report.secrets import EXPLAINED
from manifests.verify import verify_release
from pii.explained import EXPLANATIONS
from pii.rules import load_rules
from pipeline import config as configuration
from pipeline import secrets_verify
from pipeline.cli.main import app
from pipeline.errors import ConfigError, GateError, IntegrityError
from pipeline.rebuild import check_beside

ORIGIN = "https://one.example/repository"
OTHER = "https://two.example/repository"


def mail(number: int) -> bytes:
    """An address that no example domain excuses, made here."""
    return b"%s.%d@%s%d.net" % (b"jordan", number, b"mailhost", number)


def key(number: int) -> bytes:
    """A made-up access key of a cloud, from parts."""
    return archives.access_key(random.Random(number))


def markdown(seed: object, *lines: bytes) -> bytes:
    words = random.Random(f"markdown {seed}")
    text = [" ".join(words.choices(archives.WORDS, k=9)).encode() for _ in range(24)]
    return b"# Notes\n\n" + b".\n".join([*text[:12], *lines, *text[12:]]) + b".\n"


def code(seed: object, *lines: bytes) -> bytes:
    return archives.python(seed) + b"".join(b"%s\n" % line for line in lines)


def world_of(files: dict[bytes, bytes], others: dict[bytes, bytes] | None = None) -> archives.World:
    origins = [
        archives.Origin(
            url=ORIGIN,
            files={path: archives.File(body) for path, body in files.items()},
            licenses={b"": "MIT"},
        )
    ]
    if others:
        origins.append(
            archives.Origin(
                url=OTHER,
                files={path: archives.File(body) for path, body in others.items()},
                licenses={b"": "MIT"},
            )
        )
    return archives.World(origins=origins)


def released(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of a release by path."""
    rows = [
        row for file in sorted(folder.glob("data/*/*.parquet")) for row in pq.read_table(file).to_pylist()
    ]
    return {row["path"]: row for row in rows}


def kinds(row: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in row["redactions"]]


# ------------------------------------------------------------------------------------------- settings by place

SAME = code("at two places", b"MAIL = '%s'" % mail(1))
BY_PLACE = world_of(
    {
        b"src/app.py": code("app", b"MAIL = '%s'" % mail(2), b"KEY = '%s'" % key(2)),
        b"docs/notes.md": markdown("notes", b"Write to %s" % mail(3)),
        b"docs/sample.py": code("sample", b"MAIL = '%s'" % mail(4)),
        b"docs/shared.py": SAME,
        b"marked.py": code("marked", b"KEY = '%s'  # pragma: allowlist secret" % key(5)),
        b"valued.py": code("valued", b"KEY = '%s'" % key(6), b"MAIL = '%s'" % mail(6)),
        b"clean.py": code("clean"),
    },
    {b"lib/shared.py": SAME, b"lib/other.py": code("other", b"MAIL = '%s'" % mail(7))},
)
POLICY = {
    "languages": {"Markdown": {"kinds": {"email": "off"}}},
    "allow": [
        {"reason": "addresses of the examples", "kinds": ["email"], "paths": ["docs/**"]},
        {"reason": "withdrawn", "values": [hashlib.sha256(key(6)).hexdigest()]},
    ],
    "obey_pragmas": True,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return archives.write(BY_PLACE, tmp_path_factory.mktemp("secrets") / "archive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="module")
def plain(archive, folder):
    return runs.release(archive, folder, version="1.0")


@pytest.fixture(scope="module")
def placed(archive, folder, plain):
    """After the default release, in the same work directory."""
    return runs.release(archive, folder, version="2.0", secrets=POLICY)


def test_without_a_policy_everything_is_redacted(plain):
    rows = released(plain.directory)
    assert kinds(rows["src/app.py"]) == ["email", "key"] and kinds(rows["docs/notes.md"]) == ["email"]
    assert kinds(rows["marked.py"]) == ["key"] and kinds(rows["valued.py"]) == ["key", "email"]
    assert not (plain.directory / "secrets-spared.parquet").exists()


def test_settings_are_the_strictest_of_all_places(placed):
    rows = released(placed.directory)
    assert kinds(rows["src/app.py"]) == ["email", "key"]
    assert kinds(rows["docs/notes.md"]) == []  # the language says off
    assert kinds(rows["docs/sample.py"]) == []  # the path is allowed
    (shared,) = (row for path, row in rows.items() if path.endswith("shared.py"))
    assert kinds(shared) == ["email"]  # one of its two places is not
    assert kinds(rows["marked.py"]) == []
    assert kinds(rows["valued.py"]) == ["email"]


def test_what_is_spared_is_recorded_and_holds_no_value(placed):
    file = placed.directory / "secrets-spared.parquet"
    rows = {row["row_id"]: row for row in released(placed.directory).values()}
    found = pq.read_table(file).to_pylist()
    there = {
        (
            rows[one["row_id"]]["path"],
            rows[one["row_id"]]["content"].encode()[one["start"] : one["end"]],
            one["why"],
        )
        for one in found
    }
    assert there == {
        ("docs/sample.py", mail(4), "allowed: addresses of the examples"),
        ("valued.py", key(6), "allowed: withdrawn"),
        ("marked.py", key(5), "pragma"),
    }
    assert [one["row_id"] for one in found] == sorted(one["row_id"] for one in found)
    for value in (mail(4), key(5), key(6)):
        assert value not in file.read_bytes()
    assert verify_release(placed.directory).ok


def test_only_what_it_must_is_scanned_again(archive, folder, placed, tmp_path):
    """Other exceptions: contents without findings are carried over; the others are scanned once more."""
    policy = {**POLICY, "allow": POLICY["allow"][:1]}
    done = set((folder / "work/stages/annotate.secrets").glob("*/stage.json"))
    made = runs.release(archive, folder, version="3.0", secrets=policy)
    (new,) = (
        file for file in (folder / "work/stages/annotate.secrets").glob("*/stage.json") if file not in done
    )
    assert counts(new)["annotated.secrets"] == 6 and counts(new)["carried.secrets"] == 2
    fresh = runs.release(archive, tmp_path, version="3.0", buckets=4, secrets=policy)
    assert fresh.digest == made.digest


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(archive, placed, tmp_path, workers):
    line = runs.command(
        archive, tmp_path, "--workers", str(workers), "--json", version="2.0", buckets=8, secrets=POLICY
    )
    done = runs.run(line)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == placed.digest


# ------------------------------------------------------------------------------------------------ the last look


def test_a_finding_that_nobody_took_out_stops_the_release(archive, tmp_path, monkeypatch):
    """Redaction that forgets a kind: nothing is released, and the message has rows and no value."""
    from pipeline.stages import secrets as stage

    honest = stage.redact_batch

    def forgetful(texts, findings, *more):
        keep = [kind != "key" for kind in findings["kind"].to_pylist()]
        return honest(texts, findings.filter(pa.array(keep, pa.bool_())), *more)

    monkeypatch.setattr(stage, "redact_batch", forgetful)
    with pytest.raises(GateError) as refused:
        runs.release(archive, tmp_path)
    assert refused.value.exit_code == 3
    assert "3 findings in written rows" in str(refused.value) and "key by " in str(refused.value)
    assert not any(value.decode() in str(refused.value) for value in (key(2), key(5), key(6)))
    assert not (tmp_path / "out/1.0").exists()
    made = runs.release(archive, tmp_path, secrets={"recheck": False})
    answer = CliRunner().invoke(app, ["verify", str(made.directory), "--secrets"])
    assert isinstance(answer.exception, GateError) and "3 findings" in str(answer.exception)


def test_shards_are_scanned_once_by_the_same_rules(folder, placed, archive):
    done = set((folder / "work/stages/secrets.recheck").glob("*/stage.json"))
    assert done
    runs.release(archive, folder, version="2.1", secrets={**POLICY, "max_findings": 199})
    again = set((folder / "work/stages/secrets.recheck").glob("*/stage.json")) - done
    assert sum(counts(file)["recheck.rows"] for file in again) == 0


def test_anyone_can_ask_again(placed, plain, tmp_path):
    for made in (plain, placed):
        answer = CliRunner().invoke(app, ["verify", str(made.directory), "--secrets", "--json"])
        assert answer.exit_code == 0, answer.output
        told = json.loads(answer.stdout)
        assert told["ok"] and told["rows"] == 8 and told["same_rules"] is True
    assert told["spared"] == 3
    copy = tmp_path / "copy"
    shutil.copytree(plain.directory, copy)
    file = next(copy.glob("data/Python/*.parquet"))
    with file.open("r+b") as opened:
        opened.seek(200)
        opened.write(b"x")
    broken = CliRunner().invoke(app, ["verify", str(copy), "--secrets"])
    assert isinstance(broken.exception, IntegrityError)


RULE = """
rules:
  - id: acme-token
    kind: key
    tier: low
    source: "Acme: API tokens"
    pattern: 'zq_[a-z0-9]{12}'
    keywords: [zq_]
"""


@pytest.fixture(scope="module")
def acme(tmp_path_factory) -> tuple[Path, Path]:
    """An archive that holds tokens of a company, and the rule that finds them."""
    folder = tmp_path_factory.mktemp("acme")
    (folder / "rules.yaml").write_text(RULE)
    world = world_of({b"a.py": code("acme", b"# zq_" + b"a1b2c3d4e5f6"), b"b.py": code("no acme")})
    return archives.write(world, folder / "archive"), folder / "rules.yaml"


def test_own_rules_redact_and_are_told_by_digest(acme, tmp_path):
    archive, rules = acme
    made = runs.release(archive, tmp_path, secrets={"rules": [str(rules)]})
    (row,) = (row for row in released(made.directory).values() if row["redactions"])
    assert [one["rule"] for one in row["redactions"]] == ["acme-token"]
    manifest = json.loads((made.directory / "manifest.json").read_bytes())
    config = (made.directory / "config.yaml").read_text()
    assert manifest["inputs"]["secrets"]["rules"] in config and str(rules) not in config
    told = ["verify", str(made.directory), "--secrets"]
    missing = CliRunner().invoke(app, told)
    assert isinstance(missing.exception, ConfigError) and "--secret-rules" in str(missing.exception)
    assert CliRunner().invoke(app, [*told, "--secret-rules", str(rules)]).exit_code == 0
    again = configuration.load(made.directory / "config.yaml")
    with pytest.raises(ConfigError, match=r"secrets\.rules"):
        check_beside(made.directory / "config.yaml", again)


def test_a_rule_that_comes_later_finds_what_was_released(acme, tmp_path, monkeypatch):
    archive, _ = acme
    made = runs.release(archive, tmp_path)
    honest = secrets_verify.policy_of

    def grown(*given, **named):
        policy = honest(*given, **named)
        return replace(policy, base=replace(policy.base, rules=load_rules(RULE, "later")))

    monkeypatch.setattr(secrets_verify, "policy_of", grown)
    answer = CliRunner().invoke(app, ["verify", str(made.directory), "--secrets"])
    assert isinstance(answer.exception, GateError) and "acme-token" in str(answer.exception)


def test_a_file_with_too_many_findings_is_dropped(tmp_path):
    many = [b"MAIL%d = '%s'" % (n, mail(n)) for n in range(6)]
    archive = archives.write(
        world_of({b"a.py": code("a", *many[:3]), b"b.py": code("b", *many)}), tmp_path / "a"
    )
    made = runs.release(archive, tmp_path, secrets={"max_findings": 3})
    assert list(released(made.directory)) == ["a.py"] and made.totals["dropped"]["secrets_budget"] == 1


def test_the_report_has_words_for_every_explanation():
    assert set(EXPLANATIONS) <= set(EXPLAINED)


def counts(stage: Path) -> Counter[str]:
    """The counters of a finished stage."""
    found = Counter[str]()
    for unit in json.loads(stage.read_text())["units"].values():
        found.update(unit["counts"])
    return found
