"""What a run would do: nothing is trained, written or downloaded.

Exact are the selection's rows, the parameters and, once the tokens are in the cache, everything about them. Estimated, and
said so: tokens before they are made (from the sizes of the files), memory (`training.model.memory`) and time: measured by
a few passes of the actual model on this machine where it is small, else its FLOPs over the device's peak times
`ASSUMED`. Without a GPU here, the plan also says what one would take.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from training.config import SourceConfig, TrainConfig
from training.corpus.sources import Source, open_source
from training.model import adapters, architectures, flops, memory
from training.model.build import on_gpu, precision
from training.model.peak import Peak, listed, peak
from training.run.planned_data import PlannedData, planned_data
from training.run.planned_model import fake, model_config, rows_of, setup, tokenizer_of
from training.run.train import check

ASSUMED = 0.40
"""Share of a large GPU's peak that a good run uses, counting what gradient checkpointing computes again: published are 41
and 43 % for LoRA of 7 and 8 billion parameters at 4,096 tokens on an H100 (NeMo AutoModel), 41 to 46 % for pretraining
(nanochat)."""

ELSEWHERE = "NVIDIA H100 80GB HBM3"
"""The GPU that the plan speaks of where there is none."""

MEASURED_UP_TO = 60_000_000
"""Parameters of a model that is timed rather than calculated."""


def dry_run(
    config: TrainConfig, processes: int = 1, open_: Callable[[SourceConfig], Source] = open_source
) -> dict[str, Any]:
    """The resolved configuration and the plan, as JSON; `readable` makes text of it.

    Raises:
        TrainingError: as `training.run.train.train` would for the configuration, the selection and the tokenizer.
    """
    check(config, processes)
    sources, data = planned_data(config, open_)
    tokenizer = tokenizer_of(config)
    about, origin = model_config(config, tokenizer, data.entries)
    gpu = on_gpu(config)
    kind = precision(config)
    with memory.fake():
        dtype = flops.dtype_of(kind)
        model = fake(config, about, dtype)
        total, trained = memory.parameters(model)
        counted = flops.count(model)
        here = _memory(config, about, model, gpu=gpu, precision=kind, processes=processes)
        there = None
        if not gpu:
            there = _memory(
                config,
                about,
                model if config.lora is None else fake(config, about, torch.bfloat16),
                gpu=True,
                precision="bf16" if config.precision in {"auto", "bf16", "fp16"} else config.precision,
                processes=processes,
            )
    per_token = _per_token(counted, data, checkpointing=False)
    again = _per_token(counted, data, checkpointing=config.gradient_checkpointing)
    result: dict[str, Any] = {
        "config": config.model_dump(mode="json"),
        "sources": [source.about() for source in sources],
        "languages": len({name for source in sources for name in source.languages}),
        "exact": data.exact,
        "data": data.report,
        "steps": data.steps,
        "tokens": data.tokens,
        "epochs": data.tokens / max(1, data.report["tokens_per_epoch"]),
        "tokens_per_step": config.global_batch_tokens,
        "processes": processes,
        "model": {
            "type": about.model_type,
            "sizes_from": origin,
            "parameters": total,
            "trained": trained,
            "active_per_token": counted.forward // 2,
        },
        "flops_per_token": per_token,
        "hardware_flops_per_token": again,
        "memory": [here] if there is None else [here, there],
        "time": _times(config, about, total, again, data.tokens, gpu=gpu, kind=kind, processes=processes),
    }
    return result


def _per_token(counted: flops.ModelFlops, data: PlannedData, *, checkpointing: bool) -> float:
    """Average over the fragments, each length weighted by its tokens."""
    total = sum(
        counted.of(np.array([length]), checkpointing=checkpointing) * count
        for length, count in zip(data.lengths.tolist(), data.counts.tolist(), strict=True)
    )
    return float(total / max(1, int((data.lengths * data.counts).sum())))


def _memory(
    config: TrainConfig, about: Any, model: Any, *, gpu: bool, precision: str, processes: int
) -> dict[str, Any]:
    rows = rows_of(config, processes, gpu=gpu)
    how = setup(config, about, gpu=gpu, precision=precision, rows=rows, processes=processes)
    place = "one GPU" if gpu else "this machine's CPU"
    known = {"place": place, "precision": precision, "attention": how.attention, "micro_batch_size": rows}
    try:
        return {**known, "bytes": memory.estimate(model, how)}
    except architectures.UNUSABLE as error:
        # Some forward passes look at numbers, which a model without numbers does not have.
        return {
            **known,
            "bytes": None,
            "why": f"no estimate for {about.model_type}: {str(error).splitlines()[0]}",
        }


def _times(
    config: TrainConfig,
    about: Any,
    parameters: int,
    per_token: float,
    tokens: float,
    *,
    gpu: bool,
    kind: str,
    processes: int,
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if not gpu and parameters <= MEASURED_UP_TO:
        rate = _measured(config, about) * processes
        how = "measured: two passes of this model on this machine, without evaluation and saving"
        found.append({"place": "this machine", "tokens_per_second": rate, "how": how})
    else:
        device = torch.device("cuda") if gpu else torch.device("cpu")
        top = peak(device, flops.dtype_of(kind), config.peak_tflops)
        found.append(_calculated("this machine", top, per_token, processes))
    if not gpu and parameters > MEASURED_UP_TO:
        top = Peak(config.peak_tflops * 1e12, "peak_tflops") if config.peak_tflops else listed(ELSEWHERE)
        found.append(_calculated("a GPU", top, per_token, processes))
    for one in found:
        rate = one["tokens_per_second"]
        one["seconds"] = tokens / rate if rate else None
    return found


def _calculated(place: str, top: Peak | None, per_token: float, processes: int) -> dict[str, Any]:
    if top is None:
        return {
            "place": place,
            "tokens_per_second": None,
            "how": "the device's peak is not known: set peak_tflops",
        }
    how = f"calculated: FLOPs at {ASSUMED:.0%} of {top.flops / 1e12:,.3g} TFLOP/s ({top.source})"
    return {
        "place": place,
        "tokens_per_second": processes * ASSUMED * top.flops / per_token,
        "how": how,
    }


def _measured(config: TrainConfig, about: Any) -> float:
    """Tokens per second of a forward and a backward pass over a micro-batch of documents of a quarter of a row."""
    from transformers import AutoModelForCausalLM

    rows, length = rows_of(config, 1, gpu=False), config.data.sequence_length
    with torch.random.fork_rng([]):
        how = setup(config, about, gpu=False, precision="fp32", rows=rows, processes=1)
        own = copy.deepcopy(about)  # it would remember the attention
        model = AutoModelForCausalLM.from_config(own, attn_implementation=how.attention).train()
        if config.lora is not None:
            model = adapters.add_lora(model, config.lora, 0)
        ids = torch.arange(rows * length).reshape(rows, length) % about.get_text_config().vocab_size
        positions = (torch.arange(length) % max(1, length // 4)).expand(rows, length)
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            model(input_ids=ids, position_ids=positions, labels=ids, use_cache=False).loss.backward()
            seconds.append(time.perf_counter() - begun)
    return rows * length / min(seconds)


def readable(plan: dict[str, Any]) -> str:
    """The plan as a table."""
    data, model = plan["data"], plan["model"]
    about = "" if plan["exact"] else "about "
    lines = [
        *(
            f"{source['kind']:11s} {source.get('dataset', source['name'])} {source.get('version', '')} {source['digest']}"
            for source in plan["sources"]
        ),
        f"rows        {data['train_rows']:,} to train on, {data['held_out_rows']:,} held out"
        + "".join(f", {count:,} left out ({reason})" for reason, count in data["left_out"].items()),
        f"tokens      {about}{data['tokens_per_epoch']:,} an epoch ({data['bytes_per_token']:.2f} bytes each), "
        f"{about}{plan['tokens']:,} in the run",
        f"packing     {about}{data['rows_per_epoch']:,} rows, {about}{data['filled']:.3%} filled, no token lost",
        f"steps       {plan['steps']:,} of {plan['tokens_per_step']:,} tokens: {about}{plan['epochs']:.2f} epochs, "
        f"{plan['processes']} process(es)",
        "languages   " + _mix(data["languages"]) + ("" if plan["exact"] else "  (by bytes)"),
        f"model       {model['type']}, {model['parameters']:,} parameters, {model['trained']:,} trained, "
        f"{model['active_per_token']:,} multiplied with a token (sizes from: {model['sizes_from']})",
        f"work        {plan['flops_per_token'] / 1e9:,.3g} GFLOP a token"
        + (
            f", {plan['hardware_flops_per_token'] / 1e9:,.3g} with what gradient checkpointing computes again"
            if plan["hardware_flops_per_token"] > plan["flops_per_token"]
            else ""
        ),
        *_memory_lines(plan["memory"]),
    ]
    for one in plan["time"]:
        lines.append(f"time        {one['place']}: {_duration(one['seconds'])}{_rate(one)}; {one['how']}")
    if not plan["exact"]:
        lines.append(
            "about: estimated from the sizes of the files; exact after the tokens are made (a run of this configuration "
            "begins with it)"
        )
    return "\n".join(lines)


def _mix(shares: dict[str, float], most: int = 6) -> str:
    shown = ", ".join(f"{name} {share:.1%}" for name, share in list(shares.items())[:most])
    return shown + (f", and {len(shares) - most} more" if len(shares) > most else "")


def _memory_lines(columns: list[dict[str, Any]]) -> list[str]:
    heads = [
        f"{one['place']}, {one['precision']}, {one['attention']}, {one['micro_batch_size']} row(s)"
        for one in columns
    ]
    largest = max((one["bytes"]["total"] for one in columns if one["bytes"]), default=0)
    size_of, unit = (1e9, "GB") if largest > 2e9 else (1e6, "MB")
    lines = [
        "memory      " + " | ".join(f"{head:>44s}" for head in heads) + f"  ({unit}, estimate, per process)"
    ]
    for part in (*memory.PARTS, "total"):
        sizes = [one["bytes"][part] if one["bytes"] else None for one in columns]
        if any(sizes):
            cells = [f"{'?' if size is None else f'{size / size_of:,.2f}':>44s}" for size in sizes]
            lines.append(f"  {part:12s}" + " | ".join(cells))
    return [*lines, *(f"  {one['why']}" for one in columns if "why" in one)]


def _rate(one: dict[str, Any]) -> str:
    return f" at {one['tokens_per_second']:,.0f} tokens/s" if one["tokens_per_second"] else ""


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    for size, name in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"about {seconds / size:,.1f} {name}"
    return f"about {seconds:,.0f} seconds"
