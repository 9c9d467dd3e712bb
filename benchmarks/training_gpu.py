"""LoRA and QLoRA of a 7 to 8 billion parameter model on one GPU: tokens/s, MFU, peak memory, and that packing does not leak.

    python benchmarks/training_gpu.py                          # one GPU of 80 GB or more; about ten minutes
    python benchmarks/training_gpu.py --plan                   # what would be run, and the memory estimate of each
    python benchmarks/training_gpu.py --tiny --device cpu      # the whole script on a small model, to see that it runs

The architecture is the published one (training/model/published.py), the weights are random (speed does not depend on
them) and made on the GPU: nothing is downloaded. Data are the Python files of the installed packages, tokenised and packed
as always; training is `PackedTrainer`, the product's own, with its optimizer, clipping and logging. Each variant runs in a
process of its own, so that one that runs out of memory takes nothing with it. The clock starts after `--warm-up` steps,
after a synchronisation, and what it counts is non-padding tokens.

Variants, from what is expected to be the fastest to the one that fits everywhere:

    no checkpointing     all activations are kept: about 26 GB a row of 4,096 tokens with adapters on 8 billion parameters
    checkpointing        they are computed again: a third more work, a tenth of the memory
    each with `loss_chunk`: 4,096 x 128,256 logits in fp32 are never there at once

Before the first: packed logits against each document alone, and one document changed, with every attention that the
machine has. Result: a table on stdout, all figures in `--json FILE`. Exit code 3 without a GPU, and what is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[0] = str(ROOT)  # else `training` would be benchmarks/training.py

GOAL = 14_000
"""Tokens/s of LoRA on one H100 or H200: NeMo AutoModel publishes 12,473 (Llama-3-8B) to 14,110 (Qwen2.5-7B)."""

NEEDED = (
    "no GPU: nothing was measured. Needed: one NVIDIA GPU with 80 GB or more (24 GB for --variants qlora-ck), a PyTorch "
    "built for CUDA, bitsandbytes for QLoRA, and for the fastest attention the package flash-attn; then the same command. "
    "`--tiny --device cpu` runs the script itself on a small model."
)

# name -> (quantised, gradient checkpointing, rows of a micro-batch, further keys of the configuration)
VARIANTS: dict[str, tuple[bool, bool, int, dict[str, Any]]] = {
    "lora-1": (False, False, 1, {}),
    "lora-2": (False, False, 2, {}),
    "lora-compile": (False, False, 1, {"compile": True}),
    "lora-ck": (False, True, 4, {}),
    "qlora-1": (True, False, 1, {}),
    "qlora-ck": (True, True, 4, {}),
}

TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "vocab_size": 512,
    "tie_word_embeddings": False,
}


def settings(options: argparse.Namespace, variant: str, work: Path) -> Any:
    """The product's configuration of one variant."""
    from training.config import TrainConfig

    quantised, checkpointing, rows, further = VARIANTS[variant]
    steps = options.warm_up + options.steps
    length = 128 if options.tiny else options.sequence_length
    rows_per_step = rows * max(1, 4 // rows)
    return TrainConfig.model_validate(
        {
            "sources": [{"name": "packages", "jsonl": str(work / "packages.jsonl")}],
            "output": str(work / variant),
            "tokenizer": {"vocab_size": 512 if options.tiny else 32_768, "train_bytes": 10_000_000},
            "data": {"sequence_length": length, "cache": str(work / "cache"), "fim": {"rate": 0.0}},
            "evaluation": {"fraction": 0.0},
            "model": {
                "path": "random"
            },  # made here; the configuration only has to know that it is not built from sizes
            "lora": {"rank": 16},
            **({"quantization": {}} if quantised else {}),
            "optimizer": {"learning_rate": 1e-4, "weight_decay": 0.0},
            "steps": steps,
            "micro_batch_size": rows,
            "global_batch_tokens": rows_per_step * length,
            "precision": "fp32" if options.device == "cpu" else "bf16",
            "device": "cpu" if options.device == "cpu" else "auto",
            "gradient_checkpointing": checkpointing,
            "loss_chunk": options.loss_chunk or None,
            "log_every": 1000,
            "save_every": 1000,
            **further,
        }
    )


def write_packages(work: Path, megabytes: float) -> None:
    """JSON lines of the installed packages' Python files."""
    import numpy

    left = megabytes * 1e6
    with (work / "packages.jsonl").open("w") as out:
        for path in sorted(Path(numpy.__file__).parents[1].rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="ignore")
            out.write(json.dumps({"text": text, "language": "Python", "path": path.name}) + "\n")
            left -= len(text)
            if left < 0:
                return


def model_sizes(options: argparse.Namespace) -> Any:
    """The transformers configuration."""
    from transformers import AutoConfig

    from training.model import published

    if not options.tiny:
        return published.config_of(options.model)
    kind, _ = published.find(options.model) or ("llama", {})
    no_ids = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    return AutoConfig.for_model(kind, **TINY, **no_ids, use_cache=False)


def random_model(options: argparse.Namespace, config: Any, attention: str) -> Any:
    """The architecture with random weights, made on the device in the precision of the computation; adapted."""
    import torch

    from training.model import adapters, architectures, loss
    from training.model.start import checkpoint_activations

    device = torch.device(options.device)
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    with device:
        model: Any = architectures.built(model_sizes(options), attention, 0, dtype)
    if config.quantization is not None:
        quantise(model, device, dtype)
    inner = model
    model = adapters.add_lora(model, config.lora, 0).to(device)
    if config.gradient_checkpointing:
        checkpoint_activations(inner, frozen=True)
    if config.loss_chunk is not None:
        loss.install(model, config.loss_chunk)
    return model


def quantise(model: Any, device: Any, dtype: Any) -> None:
    """Every matrix of the layers in NF4 with double quantisation, one after the other: the peak is one matrix more."""
    import bitsandbytes as bnb
    from torch import nn

    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Linear) or module is head:
            continue
        new = bnb.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        new.weight = bnb.nn.Params4bit(
            module.weight.data.cpu() if device.type == "cpu" else module.weight.data,
            requires_grad=False,
            compress_statistics=True,
            quant_type="nf4",
            module=new,
        )
        if module.bias is not None:
            new.bias = module.bias
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new.to(device))
    model.is_loaded_in_4bit = True


def attention_names(options: argparse.Namespace, length: int) -> list[str]:
    """What this machine has, the fastest first."""
    from training.model import architectures

    names, _ = architectures.attentions(
        "auto",
        architectures.model_class(model_sizes(options)),
        gpu=options.device != "cpu",
        half=options.device != "cpu",
        sequence_length=length,
    )
    return names


def logits_of(model: Any, ids: Any, positions: Any) -> Any:
    """Of packed rows, or of a document alone, called as in training."""
    from training.model import attention

    inputs = attention.packed_inputs(
        {"input_ids": ids, "position_ids": positions}, attention.attention_of(model)
    )
    return model(**inputs).logits.float()


def check_packing(options: argparse.Namespace) -> list[dict[str, Any]]:
    """For each attention: the largest difference between packed and alone, and whether a document sees another."""
    import torch

    from training.errors import LeakyMaskError
    from training.model import architectures, attention

    device = torch.device(options.device)
    dtype = torch.float32 if options.device == "cpu" else torch.bfloat16
    sizes = model_sizes(options)
    sizes.num_hidden_layers = 2
    lengths = [5, 40, 1, 82] if options.tiny else [700, 1500, 1, 1895]
    ids = torch.arange(sum(lengths), device=device)[None] * 7 % sizes.vocab_size
    positions = torch.cat([torch.arange(length, device=device) for length in lengths])[None]
    found = []
    for name in dict.fromkeys([*attention_names(options, sum(lengths)), "sdpa", "eager"]):
        one: dict[str, Any] = {"attention": name}
        try:
            with device:
                model: Any = architectures.built(sizes, name, 0, dtype).eval()
            with torch.no_grad():
                packed = logits_of(model, ids, positions)
                alone, first = [], 0
                for length in lengths:
                    part = slice(first, first + length)
                    alone.append(logits_of(model, ids[:, part], positions[:, part]))
                    first += length
            difference = (packed - torch.cat(alone, dim=1)).abs().max().item()
            one |= {"difference": difference, "spread": packed.std().item()}
            attention.check_isolation(model, sizes.vocab_size)
            one["isolated"] = True
        except LeakyMaskError as error:
            one |= {"isolated": False, "why": str(error)}
        except architectures.UNUSABLE as error:
            one["why"] = str(error).splitlines()[0][:200]
        found.append(one)
    return found


def run_variant(options: argparse.Namespace, variant: str, work: Path) -> dict[str, Any]:
    """Train for the steps asked for and measure the last ones; in this process."""
    import torch

    from training.model import flops, memory
    from training.model.peak import peak
    from training.prepare import prepare
    from training.run.arguments import arguments
    from training.run.planned_model import setup
    from training.run.trainer import PackedTrainer

    config = settings(options, variant, work)
    prepared = data_of(config, prepare)
    gpu = options.device != "cpu"
    name = options.attention or attention_names(options, config.data.sequence_length)[0]
    model = random_model(options, config, name)
    base_bytes = torch.cuda.memory_allocated() if gpu else None
    settled = config.model_copy(update={"model": config.model.model_copy(update={"attention": name})})
    how = setup(
        settled,
        model_sizes(options),
        gpu=gpu,
        precision=config.precision,
        rows=config.micro_batch_size,
        processes=1,
    )
    ends: list[tuple[float, int]] = []

    def step(*_: Any) -> None:
        if gpu:
            torch.cuda.synchronize()
        ends.append((time.perf_counter(), len(ends) + 1))
        if len(ends) == options.warm_up and gpu:
            torch.cuda.reset_peak_memory_stats()

    from torch.optim.optimizer import register_optimizer_step_post_hook

    hook = register_optimizer_step_post_hook(step)
    trainer = PackedTrainer(config, prepared, model, arguments(config, prepared, 1), lambda _: None)
    trainer.progress.on_step_end = lambda *_, **__: None  # no checkpoint of random weights
    trainer.progress.on_epoch_end = lambda *_, **__: None
    trainer.train()
    hook.remove()
    tokens = sum(tokens_of(prepared.order, number) for number in range(options.warm_up, config.steps))
    seconds = ends[-1][0] - ends[options.warm_up - 1][0]
    top = peak(torch.device(options.device), flops.dtype_of(config.precision), options.peak_tflops)
    cost = flops.for_run(
        model,
        [epoch.plan for epoch in prepared.epochs],
        checkpointing=config.gradient_checkpointing,
        devices=1,
        peak=top,
    )
    with memory.fake():
        from training.model import adapters

        lora = config.lora
        fake = memory.fake_model(
            model_sizes(options),
            torch.float32 if not gpu else torch.bfloat16,
            lambda base: adapters.add_lora(base, lora, 0),
        )
        estimated = memory.estimate(fake, how)
    return {
        "variant": variant,
        "attention": name,
        "checkpointing": config.gradient_checkpointing,
        "rows": config.micro_batch_size,
        "row_tokens": config.data.sequence_length,
        "loss_chunk": config.loss_chunk,
        "compile": config.compile,
        "steps": options.steps,
        "tokens": tokens,
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "mfu": flops.mfu(tokens, seconds, cost),
        "hfu": flops.mfu(tokens, seconds, cost, hardware=True),
        "flops_per_token": cost.per_token,
        "peak": top.source if top else None,
        "base_bytes": base_bytes,
        "peak_bytes": torch.cuda.max_memory_allocated() if gpu else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if gpu else None,
        "estimated_bytes": estimated["total"],
        "loss": [line["loss"] for line in trainer.state.log_history if "loss" in line][-1:],
        "filled": prepared.epochs[0].plan.filled,
    }


def data_of(config: Any, prepare: Any) -> Any:
    """Tokens and rows as for a model built from sizes: the random model has no tokenizer of its own."""
    without = config.model_copy(
        update={"model": config.model.model_copy(update={"path": None}), "lora": None}
    )
    return prepare(without.model_copy(update={"quantization": None}), lambda _: None)


def tokens_of(order: Any, step: int) -> int:
    """Non-padding tokens of a step."""
    import numpy as np

    epoch, rows = order.rows(step)
    plan = order.plans[epoch]
    return int(plan.length[np.isin(plan.row, rows)].sum())


def plan_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The memory estimate of each variant on a GPU, without one."""
    import torch

    from training.model import adapters, memory
    from training.run.planned_model import setup

    found = []
    with tempfile.TemporaryDirectory() as work:
        for variant in options.variants:
            config = settings(options, variant, Path(work))
            lora = config.lora
            how = setup(
                config,
                model_sizes(options),
                gpu=True,
                precision="bf16",
                rows=config.micro_batch_size,
                processes=1,
            )
            with memory.fake():
                fake = memory.fake_model(
                    model_sizes(options),
                    torch.bfloat16,
                    lambda base: adapters.add_lora(base, lora, 0),  # noqa: B023
                )
                found.append({"variant": variant, "bytes": memory.estimate(fake, how)})
    return found


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [f"{result['model']} on {result['device']}, PyTorch {result['torch']}", ""]
    lines += [
        "| attention | packed against alone | spread of the logits | documents apart |",
        "|---|---:|---:|---|",
    ]
    for one in result["packing"]:
        if "difference" in one:
            apart = "yes" if one.get("isolated") else f"NO: {one.get('why')}"
            lines.append(f"| {one['attention']} | {one['difference']:.2g} | {one['spread']:.2g} | {apart} |")
        else:
            lines.append(f"| {one['attention']} | | | not there: {one.get('why')} |")
    lines += [
        "",
        "| variant | rows x tokens | attention | checkpointing | tokens/s | MFU | HFU | peak GB | estimated GB |",
        "|---|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for one in result["variants"]:
        if "tokens_per_second" not in one:
            lines.append(f"| {one['variant']} | | | | {one['why']} | | | | |")
            continue
        share = [f"{one[key]:.1%}" if one[key] is not None else "?" for key in ("mfu", "hfu")]
        peak = f"{one['peak_bytes'] / 1e9:.1f}" if one["peak_bytes"] else "?"
        lines.append(
            f"| {one['variant']} | {one['rows']} x {one['row_tokens']:,} | {one['attention']} | {one['checkpointing']} | "
            f"{one['tokens_per_second']:,.0f} | {share[0]} | {share[1]} | {peak} | {one['estimated_bytes'] / 1e9:.1f} |"
        )
    best = max((one.get("tokens_per_second", 0) for one in result["variants"]), default=0)
    if result["device"] != "cpu":
        lines += ["", f"best: {best:,.0f} tokens/s; goal for LoRA on one H100 or H200: {GOAL:,}"]
    return "\n".join(lines)


def several(options: argparse.Namespace) -> dict[str, Any]:
    """The check of packing, then each variant in a process of its own."""
    import torch

    work = Path(options.work or tempfile.mkdtemp(prefix="training-gpu-"))
    work.mkdir(parents=True, exist_ok=True)
    write_packages(work, 0.3 if options.tiny else 40)
    found = []
    for variant in options.variants:
        command = [
            sys.executable,
            str(Path(__file__)),
            "--one",
            variant,
            "--work",
            str(work),
            *passed(options),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            found.append({"variant": variant, "why": last[:300]})
        else:
            found.append(json.loads(done.stdout.strip().rpartition("\n")[2]))
        print(json.dumps(found[-1]), file=sys.stderr)
    return {
        "model": "tiny" if options.tiny else options.model,
        "device": "cpu" if options.device == "cpu" else torch.cuda.get_device_name(0),
        "torch": torch.__version__,
        "packing": check_packing(options),
        "variants": found,
    }


def environment() -> dict[str, str]:
    """Fragments of memory cost less with segments that can grow."""
    return {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }


def passed(options: argparse.Namespace) -> list[str]:
    """The options that a variant's process needs."""
    result = ["--device", options.device, "--model", options.model, "--steps", str(options.steps)]
    result += ["--warm-up", str(options.warm_up), "--sequence-length", str(options.sequence_length)]
    result += ["--loss-chunk", str(options.loss_chunk)]
    result += ["--attention", options.attention] if options.attention else []
    result += ["--peak-tflops", str(options.peak_tflops)] if options.peak_tflops else []
    return [*result, *(["--tiny"] if options.tiny else [])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="Llama-3.1-8B", help="a name of training/model/published.py")
    parser.add_argument("--variants", nargs="+", choices=sorted(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--sequence-length", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=15, help="optimizer steps that are measured")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before them")
    parser.add_argument("--loss-chunk", type=int, default=2048, help="tokens; 0: all logits at once")
    parser.add_argument("--attention", help="default: the fastest that is there")
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model of the same architecture")
    parser.add_argument("--plan", action="store_true", help="memory estimates only")
    parser.add_argument("--work", help="folder for data; default: a temporary one")
    parser.add_argument("--json", help="a file for all figures")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    import torch

    if options.plan:
        for one in plan_of(options):
            parts = {key: f"{size / 1e9:.1f}" for key, size in one["bytes"].items() if size}
            print(one["variant"], " ".join(f"{key} {size}" for key, size in parts.items()), "GB")
        return 0
    if options.device != "cpu" and not torch.cuda.is_available():
        print(NEEDED, file=sys.stderr)
        return 3
    if options.one:
        with contextlib.redirect_stdout(sys.stderr):
            found = run_variant(options, options.one, Path(options.work))
        print(json.dumps(found))
        return 0
    result = several(options)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(table(result))
    return 0 if all("tokens_per_second" in one for one in result["variants"]) else 1


if __name__ == "__main__":
    sys.exit(main())
