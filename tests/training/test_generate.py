"""Generation: the same as step by step without a cache, alone or in a batch; prompts stay text; the command and its mistakes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from pipeline.cli import generate as command
from pipeline.errors import ConfigError, IntegrityError
from training.after import generate
from training.config import TrainConfig
from training.errors import CheckpointError, TrainingConfigError
from training.model import decoding
from training.run.train import train
from training.tokens.tokenizer import CodeTokenizer


def trained(settings):
    torch.set_num_threads(1)
    return train(TrainConfig.model_validate(settings), lambda _: None)


@pytest.fixture(scope="module")
def made(release, tmp_path_factory):
    """(output of a run, output of a run that made an adapter for it)."""
    folder = tmp_path_factory.mktemp("made")
    settings = {
        "release": str(release),
        "output": str(folder / "base"),
        "tokenizer": {"vocab_size": 400},
        "model": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
        "data": {"sequence_length": 64},
        "optimizer": {"learning_rate": 0.02},
        "steps": 12,
        "micro_batch_size": 4,
        "global_batch_tokens": 512,
        "evaluation": {"every": 6, "fraction": 0.2},
        "device": "cpu",
    }
    trained(settings)
    del settings["tokenizer"]
    settings |= {
        "output": str(folder / "lora"),
        "model": {"path": str(folder / "base")},
        "lora": {"rank": 4},
        "steps": 3,
    }
    trained(settings)
    return folder / "base", folder / "lora"


@pytest.fixture(scope="module")
def loaded(made):
    return generate.open_model(made[0], device="cpu")


def step_by_step(loaded, ids, count):
    """Without a cache, by the definition."""
    ends, row = decoding.control_ids(loaded.tokenizer), list(ids)
    for _ in range(count):
        logits = loaded.model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1]
        row.append(int(logits.argmax()))
        if row[-1] in ends:
            row.pop()
            break
    return row[len(ids) :]


PROMPTS = ["def count", "#", "import os\n\nfor name in", "", "class A:\n    def"]


def test_cache_and_batch_change_nothing(loaded):
    ids = [generate._ids(loaded.tokenizer, text) for text in PROMPTS]
    wanted = [step_by_step(loaded, each, 20) for each in ids]
    assert sum(map(len, wanted)) > 20
    together = decoding.generate(loaded.model, ids, loaded.tokenizer, max_tokens=20)
    assert [row.tolist() for row in together] == wanted
    for text, row in zip(PROMPTS, wanted, strict=True):
        answer = generate.answer(loaded, text, generate.Sampling(max_tokens=20))
        assert answer.text == decoding.text_of(loaded.tokenizer, row)
        assert answer.tokens == len(row)
        assert answer.stopped == ("length" if len(row) == 20 else "end")
        assert generate.complete(loaded.model, loaded.tokenizer, text, 20) == answer.text


def test_text_comes_in_pieces_that_are_the_whole(loaded):
    pieces = []
    answer = generate.answer(loaded, "def", generate.Sampling(max_tokens=30, temperature=1.0), pieces.append)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 5


def test_sampling_is_seeded_and_leaves_the_generator_alone(loaded):
    def sample(**more):
        return generate.answer(loaded, "def", generate.Sampling(max_tokens=30, **more)).text

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = sample(temperature=1.0, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert sample(temperature=1.0, seed=1) == first
    assert sample(temperature=1.0, seed=2) != first
    assert sample(temperature=1.0, top_p=1e-9, seed=2) == sample()


def streamed(tokenizer, ids, stop=()):
    pieces = []
    stream = generate._Stream(tokenizer, stop, pieces.append)
    stream.put(torch.tensor([[1, 2, 3]]))
    for index in ids:
        if stream.stopped:
            break
        stream.put(torch.tensor([index]))
    stream.end()
    assert "".join(pieces) == stream.text
    return stream, pieces


def test_half_characters_and_stops_are_held_back(loaded):
    tokenizer = loaded.tokenizer
    text = "a\N{SNOWMAN}\U0001f600 end\ufffd"
    ids = tokenizer.encode([text])[0].tolist()
    stream, pieces = streamed(tokenizer, ids)
    assert stream.text == text
    assert "\ufffd" not in "".join(pieces[:-1])
    for stop, wanted in (("\U0001f600", "a\N{SNOWMAN}"), (" end", "a\N{SNOWMAN}\U0001f600"), ("zz", text)):
        stream, _ = streamed(tokenizer, ids, (stop, ""))
        assert stream.text == wanted
        assert stream.stopped == ("stop" if stop != "zz" else None)
    # what might have been a stop and was none is given
    assert streamed(tokenizer, ids, (" end!",))[0].text == text


def test_no_text_becomes_a_control_token(loaded):
    tokenizer = loaded.tokenizer
    names = [tokenizer.full.id_to_token(i) for i in decoding.control_ids(tokenizer)]
    assert "<fim_prefix>" in names
    for name in names:
        assert not np.isin(generate._ids(tokenizer, name), decoding.control_ids(tokenizer)).any()
    generate.fill(loaded, "<fim_suffix>", "<|endoftext|>", generate.Sampling(max_tokens=2))


def test_a_prompt_that_does_not_fit(loaded):
    long = "x = 1\n" * 100
    with pytest.raises(TrainingConfigError, match=r"the model reads 64 at most.*--cut"):
        generate.answer(loaded, long, generate.Sampling())
    with pytest.raises(TrainingConfigError, match="--cut"):
        generate.fill(loaded, long, long, generate.Sampling())
    answer = generate.answer(loaded, long, generate.Sampling(max_tokens=10, cut=True))
    assert (answer.prompt_tokens, answer.tokens <= 10) == (54, True)
    assert answer.left_out > 0
    answer = generate.fill(loaded, long, long, generate.Sampling(max_tokens=10, cut=True))
    assert answer.prompt_tokens == 54
    # a prompt that fits is not cut, and the answer ends with the context
    fits = generate.answer(loaded, "x = 1\n" * 8, generate.Sampling(max_tokens=1000, temperature=3.0))
    assert fits.prompt_tokens + fits.tokens <= 64
    assert fits.left_out == 0


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def app():
    application = typer.Typer()
    command.register(application)
    application.command("other")(lambda: None)
    return application


def invoke(app, *arguments, stdin=None):
    return CliRunner().invoke(app, ["generate", *map(str, arguments)], input=stdin)


def test_the_command_completes_and_fills(app, made, loaded, tmp_path):
    wanted = generate.answer(loaded, "def count", generate.Sampling(max_tokens=8)).text
    (tmp_path / "prompt").write_text("def count")
    for arguments, stdin in (
        (("--prompt", "def count"), None),
        (("--file", tmp_path / "prompt"), None),
        ((), "def count"),
    ):
        done = invoke(app, made[0], "--max-tokens", 8, *arguments, stdin=stdin)
        assert done.exit_code == 0, done.output
        assert done.stdout == wanted
    (tmp_path / "a.py").write_text("def f(<FILL>):\n    return 1\n")
    (tmp_path / "prefix").write_text("def f(")
    (tmp_path / "suffix").write_text("):\n    return 1\n")
    one = invoke(app, made[0], "--fim-file", tmp_path / "a.py", "--json")
    two = invoke(
        app, made[0], "--fim-prefix", tmp_path / "prefix", "--fim-suffix", tmp_path / "suffix", "--json"
    )
    assert one.stdout == two.stdout
    result = json.loads(one.stdout)
    assert result["stopped"] in ("end", "length")
    assert result["prompt_tokens"] == 3 + sum(
        len(ids) for ids in loaded.tokenizer.encode(["def f(", "):\n    return 1\n"])
    )
    best = invoke(app, made[0], "--best", "--prompt", "a", "--json")
    assert json.loads(best.stdout)["checkpoint"].startswith(str(made[0] / "checkpoints"))


def test_an_adapter_finds_its_base(app, made, tmp_path):
    done = invoke(app, made[1], "--prompt", "def", "--json")
    assert done.exit_code == 0, done.exception
    result = json.loads(done.stdout)
    assert result["base"].startswith(str(made[0]))
    assert result["checkpoint"].startswith(str(made[1]))
    moved = tmp_path / "moved"
    shutil.copytree(result["base"], moved)
    there = invoke(app, made[1], "--prompt", "def", "--json", "--base", moved)
    assert json.loads(there.stdout)["text"] == result["text"]
    # another model is not the base
    with pytest.raises(CheckpointError, match="base"):
        (moved / "checkpoint.json").unlink()
        (moved / "model.safetensors").write_bytes(b"")
        generate.open_model(made[1], base=str(moved))


def test_a_plain_model_folder(made, tmp_path):
    source = generate.open_model(made[0]).folder
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, tmp_path / name)
    assert generate.open_model(tmp_path, device="cpu").context == 64


def test_mistakes_become_the_right_errors(app, made, tmp_path):
    (tmp_path / "none").write_text("no marker")
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for arguments, kind, words in (
        ((tmp_path / "nothing", "--prompt", "a"), IntegrityError, "neither a model"),
        ((made[0], "--prompt", "a", "--file", "b"), ConfigError, "give one of"),
        ((made[0], "--file", tmp_path / "missing"), ConfigError, "cannot be read"),
        ((made[0], "--file", tmp_path / "latin"), ConfigError, "not UTF-8"),
        ((made[0], "--fim-file", tmp_path / "none"), ConfigError, "must be there once, and is 0 times"),
        ((made[0], "--prompt", "a", "--base", "b"), ConfigError, "--base is for adapters"),
        ((made[0], "--prompt", "a", "--top-p", "0"), ConfigError, "--top-p"),
        ((made[0], "--prompt", "a", "--temperature", "inf"), ConfigError, "--temperature inf"),
        ((made[0], "--prompt", "a", "--temperature", "1e-300"), ConfigError, "--temperature 1e-300"),
        ((made[0], "--prompt", "a", "--seed", str(2**64)), ConfigError, "--seed"),
        ((made[0], "--prompt", "a\udcff"), ConfigError, "at character 1 is a byte that is not UTF-8"),
        ((made[0], "--prompt", "a", "--device", "nonsense"), ConfigError, "device nonsense"),
        ((made[0], "--prompt", "a", "--device", "meta"), ConfigError, "device meta"),
        ((made[0], "--prompt", "x = 1\n" * 100), ConfigError, "--cut"),
        ((tmp_path, "--best", "--prompt", "a"), IntegrityError, "names no best checkpoint"),
    ):
        error = invoke(app, *arguments).exception
        assert isinstance(error, kind), (arguments, error)
        assert words in str(error)


def test_a_torn_checkpoint_is_not_asked(made, tmp_path):
    source = generate.open_model(made[0]).folder
    shutil.copytree(source, tmp_path / source.name)
    (tmp_path / source.name / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is not what was written"):
        generate.open_model(tmp_path / source.name)


def test_a_tokenizer_without_markers_is_told(loaded, made):
    data = json.loads(loaded.tokenizer.data)
    data["added_tokens"] = [token for token in data["added_tokens"] if "fim" not in token["content"]]
    import dataclasses

    bare = dataclasses.replace(loaded, tokenizer=CodeTokenizer(json.dumps(data).encode()))
    with pytest.raises(TrainingConfigError, match="no fill-in-the-middle tokens"):
        generate.fill(bare, "a", "b", generate.Sampling())
    assert Path(bare.folder).exists()


def test_the_commands_of_the_page_work(app, made, tmp_path, monkeypatch):
    """Breach: a reader types what docs/training-evaluation.md says, and it fails."""
    import shlex

    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/tiny").symlink_to(made[0])
    (tmp_path / "runs/lora").symlink_to(made[1])
    (tmp_path / "start.py").write_text("import os\n")
    (tmp_path / "hole.py").write_text("def f(<FILL>):\n    return 1\n")
    (tmp_path / "before.py").write_text("def f(")
    (tmp_path / "after.py").write_text("):\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/training-evaluation.md").read_text()
    lines = [line.strip() for line in page.splitlines() if line.startswith("    pipeline generate ")]
    assert len(lines) == 4
    for line in lines:
        done = invoke(app, *shlex.split(line)[2:])
        assert done.exit_code == 0, (line, done.output, done.exception)
