"""An exported model: loads anywhere, computes the same, and its card says what is so."""

import copy
import hashlib
import json
import re
import shutil
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from manifests.reader import Release
from pipeline.cli.main import app
from pipeline.errors import StackmillError
from training.after import export as exporting
from training.after import merge, trace
from training.config import ModelConfig, TrainConfig
from training.errors import CheckpointError, TrainingConfigError
from training.model import build
from training.run import checkpoint, lineage_format
from training.run.train import train
from training.tokens.tokenizer import CodeTokenizer
from training.tokens.tokenizer import train as train_tokenizer

ROOT = Path(__file__).parents[2]


def _settings(release, output):
    return {
        "release": str(release),
        "output": str(output),
        "tokenizer": {"vocab_size": 400},
        "model": {"hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 2, "kv_heads": 1},
        "data": {"sequence_length": 320},
        "steps": 2,
        "micro_batch_size": 2,
        "global_batch_tokens": 4 * 320,
        "evaluation": {"every": 2, "fraction": 0.2},
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def run(release, tmp_path_factory):
    """(settings, checkpoint) of a run of two steps."""
    torch.set_num_threads(1)
    settings = _settings(release, tmp_path_factory.mktemp("run") / "run")
    return settings, Path(train(TrainConfig.model_validate(copy.deepcopy(settings)))["checkpoint"])


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "small-code"
    exporting.export(run[1], out, license="apache-2.0")
    return out


def test_the_folder_is_whole_and_small(exported, run):
    names = {path.name for path in exported.iterdir()}
    assert names == {
        *("README.md", "SHA256SUMS", "lineage.json", "tokenizer.json", "tokenizer_config.json"),
        *("config.json", "generation_config.json", "model.safetensors"),
    }
    listed = dict(reversed(line.split("  ")) for line in (exported / "SHA256SUMS").read_text().splitlines())
    assert listed.keys() == names - {"SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    assert (exported / "lineage.json").read_bytes() == (run[1] / "lineage.json").read_bytes()
    assert not list(exported.parent.glob(".*"))
    assert len({path.stat().st_mode & 0o777 for path in exported.iterdir()}) == 1


def test_transformers_loads_it_and_computes_the_same(exported, run):
    tokenizer = AutoTokenizer.from_pretrained(exported)
    ours = CodeTokenizer.load(run[1])
    text = "def count(größe):\n    return 7\n"
    assert tokenizer(text)["input_ids"] == ours.encode([text])[0].tolist()
    assert (
        tokenizer("<fim_prefix>", split_special_tokens=True)["input_ids"]
        == ours.encode(["<fim_prefix>"])[0].tolist()
    )
    model = AutoModelForCausalLM.from_pretrained(exported)
    assert model.config.use_cache and model.generation_config.eos_token_id == ours.control.end_of_text
    was = AutoModelForCausalLM.from_pretrained(run[1])
    ids = torch.tensor([ours.encode([text])[0].tolist()])
    with torch.no_grad():
        assert torch.equal(model(ids).logits, was(ids, use_cache=False).logits)
        written = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > ids.shape[1]


def test_the_card_says_what_is_so(exported, run, release):
    """Every figure is counted again, from the lineage and the release."""
    text = (exported / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert ModelCard(text).data.to_dict()["library_name"] == "transformers"
    opened, value = Release.open(release), json.loads((run[1] / "lineage.json").read_text())
    assert front["license"] == "apache-2.0"
    assert front["datasets"] == ["stackmill-test"]
    assert front["stackmill"]["releases"] == [
        {"name": "stackmill-test", "version": "2.1", "manifest_sha256": opened.digest}
    ]
    assert front["stackmill"]["checkpoint_sha256"] == checkpoint.digest(run[1])
    metrics = json.loads((run[1] / "metrics.json").read_text())["evaluation"]
    results = front["model-index"][0]["results"]
    assert results[0]["metrics"][1]["value"] == metrics["all"]["bits_per_byte"]
    assert len(results) == 1 + len(metrics["languages"])
    for language, tokens in value["seen"]["tokens_by_language"].items():
        shown = language.replace("#", "\\#")
        assert f"| {shown} | {tokens:,} |" in text
        assert f"{metrics['languages'][language]['bits_per_byte']:.4f}" in text
    licenses = {}
    for source in value["sources"]:
        for part in source["parts"]:
            table = pq.read_table(release / part["path"], columns=["license_expression"], partitioning=None)
            seen = trace.unpack(part["seen"], part["rows"])
            for expression in table.filter(seen)["license_expression"].to_pylist():
                licenses[expression] = licenses.get(expression, 0) + 1
    assert sum(licenses.values()) == value["seen"]["rows"]
    for expression, count in licenses.items():
        assert f"| `{expression}` | {count:,} |" in text
    assert f"{value['seen']['tokens']:,} ({value['seen']['trained_tokens']:,})" in text
    parameters = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(exported).parameters())
    assert f"{parameters:,} parameters (LlamaForCausalLM, float32)" in text
    assert "`<fim_prefix>BEFORE<fim_suffix>AFTER<fim_middle>`" in text
    assert str(release) not in text and "not chosen a license" not in text


def test_the_code_of_the_card_runs(exported, monkeypatch, capsys):
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (exported / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    monkeypatch.chdir(exported)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("def add")


def test_the_exported_model_answers_for_its_data(exported, run, tmp_path):
    runs = trace.chain(trace.open_folder(exported))
    assert runs[0].lineage.seen.steps == 2
    damaged = tmp_path / "damaged"
    shutil.copytree(exported, damaged)
    (damaged / "lineage.json").write_text((damaged / "lineage.json").read_text() + " ")
    with pytest.raises(CheckpointError, match=r"lineage\.json is not what was written"):
        trace.open_folder(damaged)


def test_several_files_and_another_precision(run, tmp_path):
    told = []
    result = exporting.export(run[1], tmp_path / "half", "bf16", "30KB", report=told.append)
    assert result["dtype"] == "bfloat16"
    assert (tmp_path / "half/model.safetensors.index.json").is_file()
    parts = sorted((tmp_path / "half").glob("model-*.safetensors"))
    assert len(parts) > 2
    found = {name: value for part in parts for name, value in load_file(part).items()}
    for name, value in load_file(run[1] / "model.safetensors").items():
        assert torch.equal(found[name], value.to(torch.bfloat16))
    assert "has not chosen a license" in (tmp_path / "half/README.md").read_text()
    assert "bfloat16" in told[0]


def test_a_model_with_few_positions_is_exported(tmp_path):
    """Breach: 64 tokens are asked of a model that has learnt 16 positions, and it ends in an IndexError."""
    tokenizer = train_tokenizer(["def f(x):\n    return x + 1\n"] * 3, 300)
    sizes = {"hidden_size": 16, "layers": 1, "heads": 2}
    build.build(ModelConfig(architecture="gpt2", **sizes), tokenizer, 16, 0).save_pretrained(
        tmp_path / "model"
    )
    (tmp_path / "out").mkdir()
    about = exporting._model(tmp_path / "model", tmp_path / "out", tokenizer, "auto", "5GB")
    assert about["architecture"] == "GPT2LMHeadModel"


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    with pytest.raises(TrainingConfigError, match="exists already"):
        exporting.export(run[1], tmp_path)
    for more, message in (
        ({"shard": "nonsense"}, "--max-shard-size nonsense: not a size"),
        ({"shard": "0GB"}, "--max-shard-size 0GB"),
        ({"license": "x: [y\n---"}, "not an SPDX id"),
    ):
        with pytest.raises(TrainingConfigError, match=message):
            exporting.export(run[1], tmp_path / "out", **more)
    broken = tmp_path / "copy" / run[1].name
    shutil.copytree(run[1], broken)
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:-1])
    result = CliRunner().invoke(app, ["export", str(broken), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, StackmillError) and result.exception.exit_code == 4
    result = CliRunner().invoke(app, ["export", str(run[1]), "--out", "/proc/nowhere"])
    assert isinstance(result.exception, StackmillError) and result.exception.exit_code == 5
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_back_otherwise_is_not_exported(run, tmp_path, monkeypatch):
    """Breach: a folder is published that does not compute what was trained."""
    genuine, calls = exporting._load, []

    def second_differs(folder, dtype):
        model = genuine(folder, dtype)
        calls.append(folder)
        if len(calls) == 2:
            with torch.no_grad():
                model.model.norm.weight.mul_(1.01)
        return model

    monkeypatch.setattr(exporting, "_load", second_differs)
    with pytest.raises(CheckpointError, match="gives other logits"):
        exporting.export(run[1], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _lora(run, release, tmp_path):
    """A checkpoint with an adapter for the model of `run`."""
    settings = {
        **_settings(release, tmp_path / "lora"),
        "model": {"path": run[0]["output"]},
        "lora": {"rank": 4, "alpha": 8.0},
    }
    del settings["tokenizer"]
    return Path(train(TrainConfig.model_validate(settings))["checkpoint"])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_stays_an_adapter(run, release, tmp_path):
    folder = _lora(run, release, tmp_path)
    out = tmp_path / "adapter"
    result = exporting.export(folder, out)
    assert result["adapter"]
    assert (out / "adapter_model.safetensors").read_bytes() == (
        folder / "adapter_model.safetensors"
    ).read_bytes()
    weights = load_file(out / "adapter_model.safetensors")
    assert result["parameters"] == sum(value.numel() for value in weights.values())
    text = (out / "README.md").read_text()
    assert "in 2 runs" in text and "### Run 1 before" in text and "rank 4" in text
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "peft" and front["base_model"] == run[0]["output"]
    from peft import PeftModel

    ids = torch.arange(20)[None]
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run[1]), str(out))
    was = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run[1]), str(folder))
    with torch.no_grad():
        assert torch.equal(model(ids).logits, was(ids).logits)
    with pytest.raises(TrainingConfigError, match="--dtype is for whole models"):
        exporting.export(folder, tmp_path / "other", "bf16")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_merged_model_answers_for_its_runs_and_is_exported(run, release, tmp_path):
    """Merging is no run: the chain is that of the adapter, and the merged folder is checked like an exported one."""
    merged = tmp_path / "merged"
    merge.merge(_lora(run, release, tmp_path), merged)
    runs = trace.chain(trace.open_folder(merged))
    assert [one.lineage.seen.steps for one in runs] == [2, 2]
    value = json.loads((merged / "lineage.json").read_text())
    jsonschema.validate(value, json.loads(lineage_format.SCHEMA.read_text()))
    exporting.export(merged, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert (
        "in 2 runs" in text
        and "LlamaForCausalLM" in text
        and "No figures" in text
        and "Nothing was held out" not in text
    )
    (merged / "config.json").write_text((merged / "config.json").read_text() + " ")
    with pytest.raises(CheckpointError, match=r"config\.json is not what was written"):
        trace.open_folder(merged)
