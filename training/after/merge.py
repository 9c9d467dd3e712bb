"""Put a checkpoint's adapter into its base: one plain model folder, proven to give the same logits.

    pipeline merge runs/lora --out models/mine

The base is the one that the lineage names, and must be it to the last byte. What is written is read again and compared
with base and adapter on two inputs (one document, several packed ones) before the folder gets its name: a merge that
does not hold leaves nothing behind. An adapter of a base in 4 bits (QLoRA) is put into the base before it was
quantised: weights of 4 bits cannot take it. The logits then move by the quantisation's own error, which is measured
and said.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from training.after import sums
from training.config import ModelConfig, QuantizationConfig
from training.corpus.sources import Report
from training.errors import CheckpointError, OutputError, TrainingConfigError
from training.model import adapters, build, new_tokens, quantise
from training.model import base as bases
from training.run import checkpoint, lineage
from training.tokens.tokenizer import CodeTokenizer

Dtype = Literal["auto", "fp32", "bf16", "fp16"]

TOLERANCE = {torch.float32: 1e-3, torch.float16: 1e-1, torch.bfloat16: 1.0}
"""How far a logit may move at most, and ten times how far on average, as a share of the logits' standard deviation.

A merged weight is rounded once more, and every layer after it computes with what that changed. Measured with 32 layers
(random weights, an adapter that moves logits by 0.6 on average): at most 1e-5, 0.021, 0.19 and 2e-6, 0.0035, 0.028 on
average in fp32, fp16, bf16; the tolerance is about four times the average, in fp32 more.
"""


@dataclass(frozen=True)
class Merged:
    """Attributes:
    folder: what was written.
    checkpoint: whose adapter it was.
    base: the folder of the base.
    dtype: of the weights written.
    parameters: of the merged model.
    moved: the farthest that a logit of the model as written moved from base and adapter, in standard deviations.
    tolerance: what `moved` had to stay within.
    quantised_moved: of an adapter trained over 4 bits, the farthest and the mean distance from the logits that it was
        trained with, in standard deviations; None otherwise, or without bitsandbytes.
    """

    folder: str
    checkpoint: str
    base: str
    dtype: str
    parameters: int
    moved: float
    tolerance: float
    quantised_moved: tuple[float, float] | None

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def merge(
    adapter: str | Path,
    out: str | Path,
    *,
    base: str | None = None,
    dtype: Dtype = "auto",
    report: Report = lambda _: None,
) -> Merged:
    """Merge the adapter of a checkpoint into its base, as a new folder `out`.

    Args:
        adapter: a checkpoint with an adapter, or the output of a run (its newest sound checkpoint is taken).
        out: must not exist.
        base: folder of the base, or output of the run that made it; default: the one that the lineage names.
        dtype: of the weights written; auto: those of the base.
        report: takes lines for the user.

    Raises:
        TrainingConfigError: no adapter there, an `out` that exists.
        CheckpointError: bytes that are not what was written, another base, or logits that moved too far.
        OutputError: `out` cannot be written.
    """
    source = _adapter(Path(adapter), report)
    target = Path(out)
    if target.exists():
        raise TrainingConfigError(f"{target}: exists already; choose another --out, or remove it")
    tokenizer = CodeTokenizer.load(source)
    about = _lineage(source)
    settings = _settings(about)
    folder = find_base(source, about, base, report)
    report(f"base {folder}")
    config = build.read_config(folder, settings)
    stored = build.stored_dtype(folder, settings)
    kind = build.DTYPES[dtype] if dtype != "auto" else stored if stored in TOLERANCE else torch.float32
    inputs = _inputs(tokenizer.size, getattr(config.get_text_config(), "max_position_embeddings", None) or 48)

    quantised = _quantised_logits(source, folder, settings, tokenizer, about, inputs, report)
    model = _with_adapter(source, folder, settings, tokenizer, kind, None)
    wanted = _logits(model, inputs)
    with model.disable_adapter():
        effect = _distance(_logits(model, inputs), wanted)[1]
    moved_4bit = None
    if quantised is not None:
        moved_4bit = _distance(wanted, quantised)
        report(
            "NOTE: the adapter was trained over a base in 4 bits and is merged into the base as it was before: logits "
            f"differ from those in training by {moved_4bit[1]:.3f} standard deviations on average, {moved_4bit[0]:.3f} "
            "at most (the error of the quantisation)"
        )
    temporary = target.parent / f".{target.name}.tmp-{os.getpid()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        merged = _merged(model, source)
        parameters = build.parameters(merged)[0]
        merged.save_pretrained(str(temporary))
        tokenizer.save(temporary)
        del model, merged
        moved, mean = _distance(_reloaded(temporary, tokenizer, kind, inputs), wanted)
        if not (moved <= TOLERANCE[kind] and mean <= TOLERANCE[kind] / 10):
            raise CheckpointError(
                f"{source}: merged into {folder} in {_name(kind)}, a logit moves by {moved:.3g} standard deviations "
                f"({mean:.3g} on average), more than {TOLERANCE[kind]:g} ({TOLERANCE[kind] / 10:g}); nothing was "
                "written. Try --dtype fp32"
            )
        if mean > effect / 2:
            report(
                f"NOTE: the adapter moves logits by {effect:.2g} standard deviations on average, rounding to "
                f"{_name(kind)} by {mean:.2g}: much of what was learnt is lost; merge with --dtype fp32"
            )
        result = Merged(
            str(target), str(source), str(folder), _name(kind), parameters, moved, TOLERANCE[kind], moved_4bit
        )
        lineage.write(temporary, _merged_lineage(source, about, folder, result))
        sums.write(temporary)
        checkpoint.settle(temporary)
        temporary.rename(target)
        checkpoint.sync(target.parent)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    report(
        f"{target}: {parameters:,} parameters in {_name(kind)}, read again: logits moved by at most {moved:.2g} "
        f"standard deviations (allowed {TOLERANCE[kind]:g})"
    )
    return result


def _name(dtype: torch.dtype) -> str:
    return next(name for name, kind in build.DTYPES.items() if kind == dtype)


def _adapter(path: Path, report: Report) -> Path:
    """The checkpoint meant by `path`, verified."""
    if (path / "checkpoints").is_dir():
        found = checkpoint.newest_sound(path / "checkpoints", report)
        if found is None:
            raise CheckpointError(f"{path}: the run has no sound checkpoint")
        path = found
    elif (path / checkpoint.SEAL).exists():
        checkpoint.verify(path)
    if not (path / "adapter_config.json").is_file():
        if (path / "config.json").is_file():
            raise TrainingConfigError(
                f"{path}: holds a whole model and no adapter: there is nothing to merge"
            )
        raise TrainingConfigError(f"{path}: neither a checkpoint with an adapter nor the output of a run")
    return path


def _lineage(source: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((source / lineage.FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source / lineage.FILE}: cannot be read: {error}") from error


def _settings(about: dict[str, Any]) -> ModelConfig:
    """What the run changed in the base's configuration."""
    model = (about.get("config") or {}).get("model") or {}
    kept = {key: model[key] for key in ("rope_scaling", "config") if model.get(key)}
    return ModelConfig(path="base", **kept)


def find_base(source: Path, about: dict[str, Any], given: str | None, report: Report) -> Path:
    """The folder of the base of an adapter, by digest.

    Args:
        source: the adapter's checkpoint.
        about: its lineage, or {}.
        given: where the base is, instead of where the run found it.
        report: takes lines on checkpoints that are not sound.

    Raises:
        CheckpointError: it is not there, or another model is there.
    """
    facts = about.get("base") or {}
    digest = facts.get("digest") or (about.get("parent") or {}).get("checkpoint_digest")
    named = (about.get("config") or {}).get("model", {}).get("path")
    try:
        stored = json.loads((source / "adapter_config.json").read_text()).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{source / 'adapter_config.json'}: cannot be read: {error}") from error
    places = [given] if given else [place for place in (named, stored) if place]
    seen: list[str] = []
    for place in places:
        path = Path(place)
        if (path / "checkpoints").is_dir():
            candidates = checkpoint.all_steps(path / "checkpoints")
        elif path.is_dir():
            candidates = [path]
        elif facts.get("kind") == "hub" and place == facts.get("name"):
            candidates = [bases.download(place, facts["commit"], report)]
        else:
            candidates = []
        for folder in candidates:
            if not (folder / "config.json").is_file():
                continue
            found = bases.digest_of(folder)
            if digest is None or found == digest:
                if (folder / checkpoint.SEAL).exists():
                    checkpoint.verify(folder)
                return folder
            seen.append(f"{folder} ({found[:12]})")
    wanted = f"the base with digest {digest[:12]}" if digest else "the base"
    other = f"; found instead: {', '.join(seen)}" if seen else ""
    raise CheckpointError(
        f"{source}: {wanted} is not at {', '.join(places) or 'any place named'}{other}. Say where it is with --base"
    )


def with_base(source: Path, tokenizer: CodeTokenizer, given: str | None, report: Report) -> tuple[Any, Path]:
    """(the model of an adapter's checkpoint over its whole base, in the type that the base is stored in; base).

    Raises:
        CheckpointError: the base is not there, or another model is there.
    """
    about = _lineage(source)
    settings, folder = _settings(about), find_base(source, about, given, report)
    kind = build.stored_dtype(folder, settings)
    return _with_adapter(source, folder, settings, tokenizer, kind, None), folder


def _with_adapter(  # noqa: PLR0917
    source: Path,
    folder: Path,
    settings: ModelConfig,
    tokenizer: CodeTokenizer,
    dtype: torch.dtype,
    quantization: QuantizationConfig | None,
) -> Any:
    from peft import PeftModel

    model = build.load(folder, settings, None, None, dtype, quantization)
    new_tokens.make_room(model, tokenizer.size)
    try:
        with adapters.quiet():
            return PeftModel.from_pretrained(model, str(source)).eval()
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise CheckpointError(f"{source}: the adapter does not fit {folder}: {error}") from error


def _quantised_logits(  # noqa: PLR0917
    source: Path,
    folder: Path,
    settings: ModelConfig,
    tokenizer: CodeTokenizer,
    about: dict[str, Any],
    inputs: list[dict[str, torch.Tensor]],
    report: Report,
) -> list[torch.Tensor] | None:
    """Logits over the base in 4 bits, as the adapter was trained; None where it was not, or cannot be done here."""
    given = (about.get("config") or {}).get("quantization")
    if given is None:
        return None
    if not quantise.available():
        report(
            "NOTE: the adapter was trained over a base in 4 bits; without bitsandbytes the difference is not measured"
        )
        return None
    model = _with_adapter(source, folder, settings, tokenizer, torch.float32, QuantizationConfig(**given))
    return _logits(model, inputs)


def _merged(model: Any, source: Path) -> Any:
    try:
        return model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise CheckpointError(f"{source}: the adapter cannot be merged: {error}") from error


def _inputs(vocab_size: int, longest: int) -> list[dict[str, torch.Tensor]]:
    """One document (if `longest` positions do for it), and several packed into a row; with the last ids, where new
    tokens are."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab_size, (2, 48), generator=generator)
    ids[:, 3:11] = torch.arange(vocab_size - 8, vocab_size)
    whole = torch.arange(48)[None]
    packed = torch.cat([torch.arange(length) for length in (20, 1, 27)])[None]
    return [
        {"input_ids": ids[:1], "position_ids": whole % longest},
        {"input_ids": ids[1:], "position_ids": packed % longest},
    ]


@torch.no_grad()
def _logits(model: Any, inputs: list[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    return [model(**each, use_cache=False).logits.float().cpu() for each in inputs]


def _distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> tuple[float, float]:
    """(farthest, mean) difference in standard deviations of `other`; NaN if anything is not finite."""
    if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return float("inf"), float("inf")
    first, second = torch.cat([a.flatten() for a in one]), torch.cat([b.flatten() for b in other])
    far = (first - second).abs() / second.std()
    return float(far.max()), float(far.mean())


def _reloaded(
    folder: Path, tokenizer: CodeTokenizer, dtype: torch.dtype, inputs: list[dict[str, torch.Tensor]]
) -> list[torch.Tensor]:
    """Logits of a folder as anyone would read it."""
    if CodeTokenizer.load(folder).digest != tokenizer.digest:
        raise CheckpointError(f"{folder}: the tokenizer written is not that of the checkpoint")
    return _logits(build.load(folder, ModelConfig(path="merged"), tokenizer, None, dtype).eval(), inputs)


def _merged_lineage(source: Path, about: dict[str, Any], folder: Path, result: Merged) -> dict[str, Any]:
    """The lineage of a merged model: nothing seen by itself; all of it is in its parent, the checkpoint."""
    facts = {"name": folder.name, "digest": bases.digest_of(folder)}
    return {
        "schema_version": about.get("schema_version", lineage.SCHEMA_VERSION),
        "merge": {
            "base": (about.get("base") or {}) | facts,
            "dtype": result.dtype,
            "moved": result.moved,
            "tolerance": result.tolerance,
            "quantised_moved": result.quantised_moved,
        },
        "tokenizer_digest": about.get("tokenizer_digest"),
        "libraries": lineage._versions(),
        "parent": lineage.parent_of(source),
    }
