"""A checkpoint as a plain folder that transformers (an adapter: peft) loads, with card, notices and lineage.

    OUT/
        config.json generation_config.json model.safetensors (or several, with an index)
        or adapter_config.json adapter_model.safetensors
        tokenizer.json tokenizer_config.json
        README.md      the model card (`training.after.card`)
        lineage.json   as in the checkpoint
        NOTICE-*.md    of each release
        SHA256SUMS     of all of these

It is written aside; the model is read again and compared (the same logits, bit for bit; an adapter is copied as it is); all
is synced, and only then gets its name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from manifests.checksums import sha256_file
from training.after import sums, trace
from training.after.card import Facts, card
from training.corpus.sources import Report
from training.errors import CheckpointError, OutputError, TrainingConfigError
from training.model import build
from training.run import checkpoint, lineage
from training.run.lineage_format import Source
from training.tokens.tokenizer import CodeTokenizer

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


transformers_logging.disable_progress_bar()


def export(  # noqa: PLR0917
    source: Path,
    out: Path,
    dtype: str = "auto",
    shard: str = "5GB",
    name: str | None = None,
    license: str | None = None,
    places: Sequence[str] = (),
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Export a checkpoint.

    Args:
        source: a checkpoint, a run's output (its newest one), or a merged model.
        out: folder to make; must not exist.
        dtype: of the weights: auto (as they are), fp32, bf16 or fp16; an adapter stays as it is.
        shard: largest file of weights, such as 5GB.
        name: of the model, for the card; default: that of `out`.
        license: SPDX id for the weights, for the card.
        places: where the releases are now, if not where the configuration says.
        report: takes lines for the user.

    Returns:
        What `pipeline export --json` prints.

    Raises:
        CheckpointError: the checkpoint is not what was written, or what was exported gives other logits.
        TrainingConfigError: `out` exists, a release is not there, a setting that does not fit.
        OutputError: `out` cannot be written.
    """
    if out.exists():
        raise TrainingConfigError(f"{out}: exists already; choose another --out, or remove it")
    if not re.fullmatch(r"[1-9]\d*(\.\d+)?[KMGT]B", shard):
        raise TrainingConfigError(f"--max-shard-size {shard}: not a size such as 5GB or 500MB")
    if license is not None and not re.fullmatch(r"[A-Za-z0-9.+-]+( (OR|AND|WITH) [A-Za-z0-9.+-]+)*", license):
        raise TrainingConfigError(f"--license {license}: not an SPDX id such as apache-2.0")
    folder = trace.open_folder(source)
    runs = trace.chain(folder)
    data = trace.Data.find(runs, places)
    licenses, unlicensed = _licenses(runs, data)
    adapter = (folder / ADAPTER[0]).exists()
    if adapter and dtype != "auto":
        raise TrainingConfigError(
            "--dtype is for whole models; an adapter stays in the precision it was trained in"
        )
    temporary = out.parent / f".{out.name}.tmp-{os.getpid()}"
    try:
        temporary.mkdir(parents=True)
        tokenizer = CodeTokenizer.load(folder)
        tokenizer.save(temporary)
        model = (
            _adapter(folder, temporary, runs)
            if adapter
            else _model(folder, temporary, tokenizer, dtype, shard)
        )
        shutil.copyfile(folder / lineage.FILE, temporary / lineage.FILE)
        notices = _notices(runs, data, temporary)
        seal = folder / checkpoint.SEAL
        facts = Facts(
            name=name or out.name,
            license=license,
            runs=runs,
            checkpoint_digest=checkpoint.digest(folder) if seal.exists() else None,
            base_model=_base_name(runs, adapter),
            adapter=adapter,
            evaluation=_evaluation(folder),
            licenses=licenses,
            unlicensed=unlicensed,
            redactions=_redactions(runs, data),
            notices=notices,
            fim=_markers(runs, tokenizer),
            **model,
        )
        (temporary / "README.md").write_text(card(facts), encoding="utf-8")
        sums.write(temporary)
        checkpoint.settle(temporary)
        temporary.rename(out)
        checkpoint.sync(out.parent)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    report(
        f"{out}: {facts.parameters:,} parameters in {facts.dtype}, {size / 1e6:,.1f} MB, read again and compared"
    )
    return {
        "folder": str(out),
        "checkpoint": str(folder),
        "checkpoint_digest": facts.checkpoint_digest,
        "parameters": facts.parameters,
        "dtype": facts.dtype,
        "adapter": adapter,
        "bytes": size,
        "licenses": dict(sorted(licenses.items())),
    }


def _load(folder: Path, dtype: Any) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no model that can be loaded: {error}") from error


def _model(folder: Path, temporary: Path, tokenizer: CodeTokenizer, dtype: str, shard: str) -> dict[str, Any]:
    """Write the model, read it again, compare."""
    model = _load(folder, build.DTYPES.get(dtype, "auto"))
    model.eval()
    model.config.use_cache = True  # off in training; generation would be slow without
    model.generation_config.eos_token_id = tokenizer.control.end_of_text
    model.generation_config.pad_token_id = tokenizer.control.pad
    model.generation_config.use_cache = True
    model.save_pretrained(str(temporary), max_shard_size=shard)
    again = _load(temporary, "auto")
    again.eval()
    length = min(64, getattr(model.config.get_text_config(), "max_position_embeddings", None) or 64)
    ids = torch.arange(length, dtype=torch.int64)[None] * 7919 % tokenizer.size
    with torch.no_grad():
        was, now = (one(input_ids=ids, use_cache=False).logits for one in (model, again))
    if was.dtype != now.dtype or not torch.equal(was, now):
        raise CheckpointError(
            f"{folder}: what was exported gives other logits than the checkpoint; nothing was written"
        )
    return {
        "architecture": type(model).__name__,
        "parameters": build.parameters(model)[0],
        "dtype": str(model.dtype).removeprefix("torch."),
    }


def _adapter(folder: Path, temporary: Path, runs: Sequence[trace.Run]) -> dict[str, Any]:
    """Copy the adapter, byte for byte; its configuration names the base as the user's does, without the machine's path."""
    from safetensors import safe_open

    settings = json.loads((folder / ADAPTER[0]).read_text())
    settings["base_model_name_or_path"] = _base_name(runs, True)
    (temporary / ADAPTER[0]).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    shutil.copyfile(folder / ADAPTER[1], temporary / ADAPTER[1])
    with safe_open(temporary / ADAPTER[1], framework="pt") as tensors:
        names = list(tensors.keys())
        shapes = [tensors.get_slice(key).get_shape() for key in names]
        kind = str(tensors.get_tensor(names[0]).dtype).removeprefix("torch.")
    return {
        "architecture": f"{settings.get('peft_type', 'LORA')} of rank {settings.get('r')}",
        "parameters": sum(int(np.prod(shape)) for shape in shapes),
        "dtype": kind,
    }


def _base_name(runs: Sequence[trace.Run], adapter: bool) -> str | None:
    """What the configuration calls the base; of a base that is in the chain only where the folder is an adapter."""
    named = (runs[0].lineage.config.get("model") or {}).get("path")
    if adapter:
        return named
    oldest = runs[-1].lineage
    return (oldest.config.get("model") or {}).get("path") if oldest.parent else None


def _evaluation(folder: Path) -> dict[str, Any] | None:
    from training.run.saving import METRICS

    file = folder / METRICS
    return json.loads(file.read_text()).get("evaluation") if file.exists() else None


def _markers(runs: Sequence[trace.Run], tokenizer: CodeTokenizer) -> tuple[str, str, str] | None:
    if not any(run.lineage.fim.rate for run in runs):
        return None
    control = tokenizer.control
    ids = [index for index in (control.prefix, control.middle, control.suffix) if index is not None]
    if len(ids) < 3:
        return None
    prefix, middle, suffix = (str(tokenizer.full.id_to_token(index)) for index in ids)
    return prefix, middle, suffix


def _licenses(runs: Sequence[trace.Run], data: trace.Data) -> tuple[dict[str, int], int]:
    """License expression -> rows that some run was trained on, each once; and rows whose license is not known."""
    sources: dict[str, list[Source]] = {}
    for run in runs:
        for source in run.lineage.sources:
            sources.setdefault(source.digest, []).append(source)
    counts: Counter[str] = Counter()
    unknown = 0
    for same in sources.values():
        files: dict[str, list[trace.Scanned]] = {}
        for source in same:
            for scanned in trace.scan(source, data, ["license_expression"], seen_only=True):
                files.setdefault(scanned.path, []).append(scanned)
        for scans in files.values():
            seen = np.logical_or.reduce([one.status == trace.STATUSES.index("seen") for one in scans])
            for value in pc.value_counts(scans[0].table["license_expression"].filter(seen)).to_pylist():
                if value["values"] is None:
                    unknown += value["counts"]
                else:
                    counts[value["values"]] += value["counts"]
    return dict(counts), unknown


def _redactions(runs: Sequence[trace.Run], data: trace.Data) -> dict[str, int]:
    digests = {s.digest for run in runs for s in run.lineage.sources if s.kind == "release"}
    counts: Counter[str] = Counter()
    for digest in digests:
        counts.update(data.releases[digest].manifest.contents.redactions)
    return dict(counts)


def _notices(runs: Sequence[trace.Run], data: trace.Data, temporary: Path) -> list[str]:
    """Copy the NOTICE.md of each release; names of the copies."""
    from manifests.notice import FILE

    found = []
    for source in {s.digest: s for run in runs for s in run.lineage.sources if s.kind == "release"}.values():
        release = data.of(source)
        listed = {file.path: file.sha256 for file in release.manifest.files}
        if FILE not in listed:
            continue
        name = f"NOTICE-{source.dataset}-{source.version}.md"
        shutil.copyfile(release.directory / FILE, temporary / name)
        if sha256_file(temporary / name)[0] != listed[FILE]:
            raise CheckpointError(f"{release.directory / FILE}: not the file that the manifest describes")
        found.append(name)
    return found
