"""What a forward pass of packed rows may be called with, and the proof that packed documents do not see each other.

THE MASK TRAP. transformers derives the block-diagonal attention mask of a packed row from position ids that restart at
0, but only when `attention_mask` is None and no key-value cache is made (`masking_utils._preprocess_mask_arguments`,
5.23). With `use_cache` at its default, or an all-ones `attention_mask` in the batch, documents see the ones before
them, without a warning: logits move by 1.2 to 1.5 at a standard deviation of 0.2. Flash attention builds no mask; it
reads the boundaries from position ids for a batch of ONE row only, so with two rows in a micro-batch it leaks unless
it is told where documents begin (`modeling_flash_attention_utils._flash_attention_forward`). So does `varlen`.

Three walls stand against it: every forward pass of packed rows goes through `packed_inputs`, which refuses such
arguments and hands flash attention the boundaries; `use_cache=False` is passed each time, whatever the model's own
configuration says; and `check_isolation` proves it on the actual model before training starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from training.errors import LeakyMaskError
from training.model import varlen

LEAST_LENGTHS = 64
"""Room for so many boundaries at least; more take the next power of two, so that a compiled model sees few shapes."""


def attention_of(model: Any) -> str:
    """The attention implementation of a model, wrapped or not; empty where there is none."""
    while not hasattr(model, "config") and hasattr(model, "module"):  # DistributedDataParallel
        model = model.module
    return getattr(getattr(model, "config", None), "_attn_implementation", None) or ""


def packed_inputs(inputs: Mapping[str, Any], attention: str = "") -> dict[str, Any]:
    """Arguments of a forward pass over packed rows, `use_cache=False` among them.

    Call it before the batch is moved to a GPU: it reads the position ids.

    Args:
        inputs: `input_ids`, `position_ids` and perhaps `labels`, each of shape (rows, row length).
        attention: the model's implementation (`attention_of`); flash attention and `varlen` get the boundaries, too.

    Raises:
        LeakyMaskError: an argument with which documents would see each other.
    """
    if inputs.get("attention_mask") is not None:
        raise LeakyMaskError(
            "a packed batch must not have an attention_mask: with one, the boundaries in position_ids are ignored "
            "and documents see each other; take it out of the collator"
        )
    if inputs.get("use_cache"):
        raise LeakyMaskError(
            "packed rows with use_cache=True: documents would see each other; set it to False"
        )
    if inputs.get("past_key_values") is not None:
        raise LeakyMaskError("packed rows with past_key_values: documents would see each other")
    positions = inputs.get("position_ids")
    if positions is None:
        raise LeakyMaskError("a packed batch needs position_ids that restart at 0 with every document")
    if positions.ndim != 2:
        raise LeakyMaskError("position_ids of packed rows must have the shape (rows, row length)")
    if not bool((positions[:, 0] == 0).all()):
        raise LeakyMaskError("position_ids of a packed row must start at 0")
    if not bool(((positions[:, 1:] == 0) | (positions.diff(dim=1) == 1)).all()):
        raise LeakyMaskError(
            "position_ids of packed rows must rise by one or restart at 0: anything else hides where a document begins"
        )
    if not attention.startswith(("flash_attention", varlen.NAME)):
        return {**inputs, "use_cache": False}
    starts = boundaries(positions)
    longest = positions.shape[1]  # the row, not the longest document: the same number in every step
    return {
        **inputs,
        "use_cache": False,
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def on(device: torch.device, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a forward pass with their tensors moved to a device."""
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}


@contextmanager
def any_input(model: Any) -> Iterator[None]:
    """Inside, a model takes padded batches and caches, whatever attention it is trained with.

    `varlen` takes packed rows only, and flex attention would be compiled for every length of a cache.
    """
    name = attention_of(model)
    if name not in {varlen.NAME, "flex_attention"}:
        yield
        return
    model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")
    try:
        yield
    finally:
        model.set_attn_implementation(name)


def boundaries(positions: torch.Tensor) -> torch.Tensor:
    """First place of each document in the rows laid end to end, then their whole length, repeated (int32).

    What flash attention calls `cu_seqlens`: the repetitions are documents without a token, which it passes over. They
    fill the tensor up to `LEAST_LENGTHS` or the next power of two, so that its shape does not follow the number of
    documents.
    """
    starts = (positions.flatten() == 0).nonzero().flatten()
    room = LEAST_LENGTHS
    while room < len(starts) + 1:
        room *= 2
    result = torch.full((room,), positions.numel(), dtype=torch.int32, device=positions.device)
    result[: len(starts)] = starts.to(torch.int32)
    return result


LENGTHS = ((7, 5, 1, 6), (4, 9, 6))
"""Documents of the two rows of the check: as many rows as not to be the special case of one, with other boundaries."""
EXACT, ROUGH = 1e-3, 0.25
"""Share of the logits' spread by which a document alone may differ from itself in a row: any logit in fp32 on a
processor; elsewhere, where kernels for fewer tokens round differently, their root mean square, since of a million
logits the farthest is five times that (32 layers of random weights in bf16: 0.025 to 0.04, the farthest 0.12 to
0.2). A position that does not restart moves logits by about as much as they spread."""
ROUTED = 0.1
"""The same (root mean square) for the other documents of a row where rounding may send a token to another expert."""


@torch.no_grad()
def check_isolation(
    model: torch.nn.Module, vocab_size: int, *, tolerance: float = 0.0, **arguments: Any
) -> None:
    """Prove on this model that a document in a packed row is what it is alone.

    1. The first document of each row is changed, then the last one of the first row: every logit of the others must
       stay the same to the last bit, whatever the precision: masked places have the weight 0 exactly. Any difference
       is a leak, but for mixtures of experts (`tolerance`, in half precision `ROUTED`).
    2. Each document alone must give the logits that it has in its row, as closely as the precision allows (`EXACT`,
       `ROUGH`).

    Args:
        model: any causal language model.
        vocab_size: ids to draw from.
        tolerance: share of the logits' standard deviation by which they may move in 1; for mixtures of experts only,
            in fp32.
        arguments: of the forward pass besides `input_ids` and `position_ids`; default: those of `packed_inputs`. For
            tests.

    Raises:
        LeakyMaskError: how far the logits moved, and the usual reasons.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    width = sum(LENGTHS[0])
    ids = torch.randint(0, vocab_size, (len(LENGTHS), width), generator=generator)
    positions = torch.stack([torch.cat([torch.arange(n) for n in lengths]) for lengths in LENGTHS])
    documents = torch.stack(
        [torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths)) for lengths in LENGTHS]
    )

    def logits(ids: torch.Tensor, positions: torch.Tensor, **more: Any) -> torch.Tensor:
        inputs = {"input_ids": ids, "position_ids": positions, **more}
        if not more:
            inputs = packed_inputs(inputs, attention_of(model))
        found: torch.Tensor = model(**on(device, inputs)).logits.cpu()
        return found

    was_training = model.training
    model.eval()
    packed = logits(ids, positions, **arguments)
    first = documents == 0
    last = torch.zeros_like(first)
    last[0, -LENGTHS[0][-1] :] = True
    spread, rough = packed.float().std().item(), half(model)
    try:
        for changed in (first, last):
            other = torch.where(changed, (ids + 1 + vocab_size // 3) % vocab_size, ids)
            moved = (logits(other, positions, **arguments) - packed).float()[~changed]
            difference = distance(moved, rough=rough and tolerance > 0)
            allowed = ROUTED if rough and tolerance else tolerance
            if difference > allowed * spread or not torch.isfinite(packed).all():
                raise LeakyMaskError(
                    f"documents in a packed row see each other: the logits of one moved by {difference:.2g} when "
                    "another was changed. Usual reasons: an attention_mask in the batch, use_cache=True, or an "
                    "architecture that does not derive its mask from position_ids. Try model.attention: sdpa or eager"
                )
        if tolerance and rough:  # rounding alone may send a token to another expert
            return
        for row, lengths in enumerate(LENGTHS):
            for number, length in enumerate(lengths):
                here = documents[row] == number
                alone = logits(ids[row, here][None], torch.arange(length)[None])[0]
                difference = distance((alone - packed[row, here]).float(), rough=rough)
                if difference > (ROUGH if rough else EXACT) * spread:
                    raise LeakyMaskError(
                        f"a document in a packed row is not what it is alone: its logits differ by {difference:.2g} "
                        f"(they spread by {spread:.2g}). The architecture may not take its positions from "
                        "position_ids; use another one"
                    )
    finally:
        model.train(was_training)


def check_backward(model: torch.nn.Module, vocab_size: int) -> None:
    """Compute gradients once and forget them: what a kernel takes forward it may refuse backward (head sizes, GPUs)."""
    device = next(model.parameters()).device
    positions = torch.stack([torch.cat([torch.arange(n) for n in lengths]) for lengths in LENGTHS])
    ids = (positions * 7 + 1) % vocab_size
    inputs = packed_inputs({"input_ids": ids, "position_ids": positions, "labels": ids}, attention_of(model))
    was_training = model.training
    model.eval()  # nothing is drawn at random
    try:
        with torch.enable_grad():
            model(**on(device, inputs)).loss.backward()
    finally:
        model.train(was_training)
        for parameter in model.parameters():
            parameter.grad = None


def half(model: torch.nn.Module) -> bool:
    """Whether a model's kernels round differently for other shapes by more than fp32 does on a processor."""
    exact = next(model.parameters()).device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return not exact or any(p.dtype != torch.float32 for p in model.parameters())


def distance(moved: torch.Tensor, *, rough: bool) -> float:
    """How far logits moved: the farthest, or with `rough` the root mean square, which rounding hardly moves."""
    return float(moved.square().mean().sqrt() if rough else moved.abs().max())
