"""`pipeline tokenizer`: made twice alike, loaded by transformers, refused with reasons."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import ConfigError, IntegrityError, SourceError
from training.tokens.control import FAMILIES

ROOT = Path(__file__).parents[2]


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if code == 0:
        assert result.exit_code == 0, (result.output, result.exception)
    return result


def made(release, folder, *options):
    words = (
        "--release",
        release,
        "--out",
        folder,
        "--vocab-size",
        350,
        "--train-bytes",
        20_000,
        "--json",
        *options,
    )
    return json.loads(run("tokenizer", "train", *words).stdout)


def test_train_and_check(release, tmp_path):
    first, second = made(release, tmp_path / "one"), made(release, tmp_path / "two")
    assert first["digest"] == second["digest"]
    assert first["size"] == 350
    assert set(first["languages"]) == {"Python", "C++", "Shell"}
    sizes = [used["bytes"] for used in first["languages"].values()]
    assert first["bytes"] == sum(sizes) <= 30_000
    assert (tmp_path / "one/tokenizer.json").read_bytes() == (tmp_path / "two/tokenizer.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]

    found = json.loads(run("tokenizer", "check", tmp_path / "one", "--release", release, "--json").stdout)
    assert found["digest"] == first["digest"]
    assert found["encoder"] == "gigatoken"
    assert found["encoder_differs"] is None
    assert found["control"]["prefix"] == {"id": 2, "token": "<fim_prefix>"}
    assert found["missing"] == found["notes"] == []
    assert found["round_trip"]["changed"] == 0 < found["round_trip"]["documents"]
    rates = found["languages"].values()
    assert found["all"]["bytes"] == sum(rate["bytes"] for rate in rates)
    assert found["all"]["tokens"] == sum(rate["tokens"] for rate in rates)

    shown = run("tokenizer", "check", tmp_path / "one", "--release", release, "--held-out", 0).stdout
    assert "gives the ids of the Hugging Face tokenizer for every document below" in shown
    assert "bytes per token" in shown
    assert "Shell" in shown


def test_options_change_what_is_learnt(release, tmp_path):
    plain = made(release, tmp_path / "a")
    assert made(release, tmp_path / "b", "--seed", 1)["digest"] != plain["digest"]
    one = made(release, tmp_path / "c", "--languages", "Shell")
    assert set(one["languages"]) == {"Shell"}
    shown = run(
        "tokenizer",
        "train",
        "--release",
        release,
        "--out",
        tmp_path / "d",
        "--vocab-size",
        300,
        "--languages",
        "C++",
    ).stdout
    assert "of processor time" in shown
    assert "C++" in shown


def test_mistakes_are_said(release, make_release, tmp_path):
    made(release, tmp_path / "made")
    again = run("tokenizer", "train", "--release", release, "--out", tmp_path / "made", code=2)
    assert isinstance(again.exception, ConfigError)
    assert "has a tokenizer already" in str(again.exception)
    missing = run("tokenizer", "check", tmp_path / "nothing", code=2)
    assert "cannot be read" in str(missing.exception)
    unknown = run(
        "tokenizer", "train", "--release", release, "--out", tmp_path / "x", "--languages", "Pyton", code=2
    )
    assert "did you mean 'Python'?" in str(unknown.exception)
    empty = make_release(tmp_path / "empty", texts={"Python": [""]})
    nothing = run("tokenizer", "train", "--release", empty, "--out", tmp_path / "x", "--held-out", 0, code=2)
    assert "no row that may be learnt from has any text" in str(nothing.exception)
    single = make_release(tmp_path / "single", rows={"Python": 1})
    alone = run("tokenizer", "train", "--release", single, "--out", tmp_path / "x", code=2)
    assert "--held-out 0" in str(alone.exception)
    (tmp_path / "file").write_text("")
    blocked = run("tokenizer", "train", "--release", release, "--out", tmp_path / "file/x", code=5)
    assert isinstance(blocked.exception, SourceError)
    copy = tmp_path / "copy"
    shutil.copytree(release, copy)
    shard = next(copy.glob("data/*/*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-9] + b"123456789")
    altered = run("tokenizer", "train", "--release", copy, "--out", tmp_path / "x", code=4)
    assert isinstance(altered.exception, IntegrityError)
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(("added", "missing"), [(["<|endoftext|>"], 5), (["</s>"], None)])
def test_check_says_what_is_missing(release, tmp_path, added, missing):
    made(release, tmp_path / "made")
    file = tmp_path / "made/tokenizer.json"
    tree = json.loads(file.read_bytes())
    tree["added_tokens"] = [token for token in tree["added_tokens"] if token["content"] in added]
    file.write_text(json.dumps(tree))
    (tmp_path / "made/tokenizer_config.json").unlink()
    if missing is None:
        result = run("tokenizer", "check", tmp_path / "made", code=2)
        assert "no <|endoftext|> token" in str(result.exception)
        return
    shown = run("tokenizer", "check", tmp_path / "made").stdout
    assert "missing    <fim_prefix>" in shown
    assert (
        len(json.loads(run("tokenizer", "check", tmp_path / "made", "--json").stdout)["missing"]) == missing
    )


def test_every_command_of_the_page_works(make_release, tmp_path, monkeypatch):
    """Breach: a reader types what docs/tokenizer.md says, and it fails."""
    make_release(tmp_path / "releases", rows={"Python": 60, "C++": 20, "Shell": 10})
    monkeypatch.chdir(tmp_path)
    ran = 0
    page = (ROOT / "docs/tokenizer.md").read_text(encoding="utf-8")
    for kind, block in re.findall(r"^```(console|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if kind == "python":
            exec(compile(block, "tokenizer.md", "exec"), {})
            continue
        for line in block.splitlines():
            run(*shlex.split(line.removeprefix("$ "))[1:])
            ran += 1
    assert ran == 2
    # The table is the one of the code.
    for family in FAMILIES:
        for name in filter(None, (family.prefix, family.middle, family.suffix)):
            assert f"`{name}`".replace("|", "\\|") in page or f"`{name}`" in page
