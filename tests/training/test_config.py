"""The configuration: presets, messages, overrides, what the digest means."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic_core import PydanticUndefined

from training.config import TrainConfig, load
from training.config.base import Section
from training.errors import TrainingConfigError

ROOT = Path(__file__).parents[2]
MINIMAL = "release: r\noutput: o\nsteps: 1\n"


def write(folder: Path, text: str) -> Path:
    file = folder / "train.yaml"
    file.write_text(text)
    return file


def test_presets_load() -> None:
    assert load(ROOT / "configs/train-tiny.yaml").lora is None
    assert load(ROOT / "configs/train-lora.yaml").lora is not None


def _keys(section: type[Section], prefix: str = "") -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found += _keys(kind, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def test_the_tiny_preset_shows_every_key_with_its_true_default() -> None:
    text = (ROOT / "configs/train-tiny.yaml").read_text()
    tree = yaml.safe_load(text)
    shown = set()

    def walk(node: dict, prefix: str = "") -> None:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                walk(value, f"{prefix}{key}.")
            else:
                shown.add(f"{prefix}{key}")

    walk(tree)
    assert shown == set(_keys(TrainConfig))
    sections = {"tokenizer": "TokenizerConfig", "model": "ModelConfig", "data": "DataConfig"}
    assert sections.keys() <= tree.keys()
    # `default X` in a comment is the default of the field of that name
    defaults = {}
    for section in (TrainConfig, *[f.annotation for f in TrainConfig.model_fields.values()]):
        if isinstance(section, type) and issubclass(section, Section):
            defaults |= {name: field.default for name, field in section.model_fields.items()}
    stated = re.findall(r"^ *(\w+): .*# .*default ([\w.-]+)", text, re.MULTILINE)
    assert len(stated) > 30
    for name, said in stated:
        if name in defaults and name != "path":
            wanted = defaults[name]
            if wanted in (PydanticUndefined, ()):  # made by a factory: an empty list or mapping
                continue
            value = yaml.safe_load(
                said.rstrip(".").replace("_", "") if said[0].isdigit() else said.rstrip(".")
            )
            assert wanted == (float(value) if isinstance(wanted, float) else value), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "stepz: 3\n", r"train\.yaml:4: unknown key 'stepz'; did you mean 'steps'\?"),
        (
            MINIMAL + "data:\n  sequence_lenght: 64\n",
            r"train\.yaml:5: unknown key 'data\.sequence_lenght'; did you mean 'sequence_length'\?",
        ),
        (
            MINIMAL + "data:\n  fim: {rat: 1}\n",
            r"train\.yaml:5: unknown key 'data\.fim\.rat'; did you mean 'rate'",
        ),
        (
            MINIMAL + "warmup_steps: 3\n",
            r"unknown key 'warmup_steps'; did you mean 'optimizer\.warmup_steps'\?",
        ),
        (MINIMAL + "data: {spm_rate: 3}\n", r"did you mean 'data\.fim\.spm_rate'\?"),
        (MINIMAL + "zzzzzz: 3\n", r"train\.yaml:4: unknown key 'zzzzzz'; known: release, sources"),
        (
            "sources:\n- {name: a, jsonl: b, filters: {license: [MIT]}}\noutput: o\nsteps: 1\n",
            r"unknown key 'sources\.0\.filters\.license'; did you mean 'licenses'\?",
        ),
        ("sources:\n- {name: a}\noutput: o\nsteps: 1\n", r"exactly one of `release` and `jsonl`"),
        (MINIMAL + "licenses: [MIT]\n", r"did you mean 'filters\.licenses'\?"),
        (MINIMAL + "lora: {rnk: 3}\n", r"train\.yaml:4: unknown key 'lora\.rnk'; did you mean 'rank'"),
        ("release: r\nsteps: 1\n", r"the key 'output' is required"),
        (MINIMAL + "seed: 1.5\n", r"train\.yaml:4: seed: .*integer.*got 1\.5"),
        (MINIMAL + "seed: '1'\n", r"train\.yaml:4: seed: .*integer"),
        (MINIMAL + "micro_batch_size: true\n", r"train\.yaml:4: micro_batch_size"),
        (MINIMAL + "precision: fp8\n", r"train\.yaml:4: precision: .*fp32.*bf16"),
        (MINIMAL + "languages: Python\n", r"train\.yaml:4: languages"),
        (MINIMAL + "languages: []\n", r"train\.yaml:4: languages"),
        (MINIMAL + "optimizer: {learning_rate: .inf}\n", r"train\.yaml:4: optimizer\.learning_rate"),
        (MINIMAL + "evaluation: {fraction: 1.0}\n", r"train\.yaml:4: evaluation\.fraction"),
        (MINIMAL + "epochs: 1\n", "exactly one of `steps` and `epochs`"),
        ("release: r\noutput: o\n", "exactly one of `steps` and `epochs`"),
        (MINIMAL + "global_batch_tokens: 1000\n", "must be a multiple of data.sequence_length"),
        (MINIMAL + "micro_batch_size: 3\n", r"16 rows per step must be a multiple of micro_batch_size \(3\)"),
        (MINIMAL + "model: {hidden_size: 100}\n", r"train\.yaml:4: model: hidden_size must be a multiple"),
        (MINIMAL + "model: {kv_heads: 3}\n", "heads must be a multiple of kv_heads"),
        (MINIMAL + "lora: {}\n", "lora needs a trained base"),
        (MINIMAL + "steps: 2\n", r"train\.yaml:4: the key 'steps' was already given on line 3"),
        (
            "sources:\n- {jsonl: b}\noutput: o\nsteps: 1\n",
            r"train\.yaml:2: the key 'sources\.0\.name' is required",
        ),
        (MINIMAL + "lora: 3\n", r"train\.yaml:4: lora: must be a section of keys and values \(got 3\)"),
        (MINIMAL + "languages: Python\n", r"languages: must be a list, such as \[a, b\] \(got 'Python'\)"),
        (MINIMAL + "languages: []\n", r"languages: must have at least one entry"),
        (MINIMAL + 'data: {cache: "a\\0b"}\n', r"train\.yaml:4: data\.cache: no file can have this name"),
        (MINIMAL + "tokenizer: {path: ''}\n", r"tokenizer\.path: .*at least 1 character"),
        (MINIMAL + f"run_name: [{'x' * 999}]\n", r"run_name: .*\(got \['x{118}\.\.\.\)"),
        (
            MINIMAL + "evaluation: {fraction: 0.0, metrics: ['a:b']}\n",
            r"evaluation\.fraction: 0 holds nothing out: no .*metrics",
        ),
        ("- 1\n", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_messages_say_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingConfigError, match=message):
        load(write(tmp_path, text))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(TrainingConfigError) as caught:
        load(write(tmp_path, MINIMAL + "seed: x\nmode: 1\n"))
    assert len(str(caught.value).splitlines()) == 2


def test_overrides(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL)
    config = load(
        file, ["optimizer.learning_rate=1e-3", "languages=[Python, C++]", "data.fim.rate=0", "seed=7"]
    )
    assert config.optimizer.learning_rate == 1e-3
    assert config.languages == ("Python", "C++")
    assert config.data.fim.rate == 0
    assert config.seed == 7
    with pytest.raises(
        TrainingConfigError, match=r"--set data\.fim\.rte=1: unknown key .*did you mean 'rate'"
    ):
        load(file, ["data.fim.rte=1"])
    for text, message in (
        (
            "data={sequence_lenght: 64}",
            r"unknown key 'data\.sequence_lenght'; did you mean 'sequence_length'",
        ),
        ("data={fim: {rate: 2}}", r"^--set data=\{fim: \{rate: 2\}\}: data\.fim\.rate: "),
        ("sources=[{name: a, jsonl: b, weight: 0}]", r"sources\.0\.weight"),
    ):
        with pytest.raises(TrainingConfigError, match=message):
            load(file, [text])
    for wrong in ("seed", "=1", "a..b=1"):
        with pytest.raises(TrainingConfigError, match="write it as"):
            load(file, [wrong])
    with pytest.raises(TrainingConfigError, match="is a value, not a section"):
        load(file, ["steps.x=1"])


def test_frozen_and_digest(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL)
    config = load(file)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
    same = [
        "output=x",
        "release=y",
        "save_every=3",
        "micro_batch_size=2",
        "keep_checkpoints=9",
        "data.cache=c",
    ]
    for text in same:
        assert load(file, [text]).digest() == config.digest(), text
    for text in ["seed=1", "steps=2", "data.fim.rate=0.1", "model.layers=5", "optimizer.beta2=0.9"]:
        assert load(file, [text]).digest() != config.digest(), text


def test_configuration_needs_no_heavy_import() -> None:
    heavy = {"torch", "transformers", "pyarrow", "numba", "tokenizers", "ray"}
    code = f"import sys, training.config, pipeline.cli.train\nprint(*(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
