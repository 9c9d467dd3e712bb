"""A model's blocks as a table: parameters, how many are trained, types, bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from training.model.quantise import elements

_NUMBER = re.compile(r"\.\d+\.")


@dataclass(frozen=True)
class Block:
    """One kind of block: an embedding, all layers of one kind, the output layer."""

    name: str
    count: int
    """How often the kind is there."""
    parameters: int
    """Of all of them; quantised weights count as what they stand for."""
    trainable: int
    dtypes: tuple[str, ...]
    bytes: int
    """As they are stored."""


def blocks(model: torch.nn.Module) -> list[Block]:
    """The blocks in the model's order; parameters that two blocks share are counted in the first. Works on `meta`, too."""
    kinds: dict[str, list[tuple[str, torch.nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        kinds.setdefault(_kind(name), []).append((name, parameter))
    result = []
    for kind, found in kinds.items():
        numbers = {match[0] for name, _ in found if (match := _NUMBER.search(name))}
        sizes = [elements(parameter) for _, parameter in found]
        result.append(
            Block(
                name=kind,
                count=max(1, len(numbers)),
                parameters=sum(sizes),
                trainable=sum(n for n, (_, p) in zip(sizes, found, strict=True) if p.requires_grad),
                dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for _, p in found})),
                bytes=sum(p.numel() * p.element_size() for _, p in found),
            )
        )
    return result


def _kind(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `layers.mlp`; `lm_head.weight` -> `lm_head`; adapters apart."""
    parts = [
        part for part in name.split(".")[:-1] if part not in ("base_model", "model", "base_layer", "default")
    ]
    adapter = any(part.startswith(("lora_", "trainable_tokens")) for part in parts)
    parts = [part for part in parts if not part.startswith(("lora_", "trainable_tokens"))]
    if any(part.isdigit() for part in parts):
        at = next(n for n, part in enumerate(parts) if part.isdigit())
        parts = [*parts[:at], *parts[at + 1 : at + 2]]
    return ".".join(parts) + (" (adapter)" if adapter else "")


def table(rows: Iterable[Block]) -> list[str]:
    """Lines for people: a head, one line per block, the sum."""
    rows = list(rows)
    lines = [f"{'block':32s} {'count':>5s} {'parameters':>14s} {'trained':>14s} {'MB':>10s}  type"]
    for row in rows:
        lines.append(
            f"{row.name:32s} {row.count:5d} {row.parameters:14,d} {row.trainable:14,d} {row.bytes / 1e6:10.1f}  "
            f"{', '.join(row.dtypes)}"
        )
    total, trained, size = (
        sum(values) for values in zip(*((r.parameters, r.trainable, r.bytes) for r in rows), strict=True)
    )
    lines.append(f"{'all':32s} {'':5s} {total:14,d} {trained:14,d} {size / 1e6:10.1f}")
    return lines
