"""What a forward pass of packed rows may be called with, and the proof that packed documents do not see each other.

THE MASK TRAP. transformers derives the block-diagonal attention mask of a packed row from position ids that
restart at 0, but only when `attention_mask` is None and no key-value cache is made. With `use_cache` at its
default or an all-ones `attention_mask` in the batch, documents see the ones before them, without a warning
(logits move by 1.2 to 1.5 at a standard deviation of 0.2). Three walls stand against it here: every forward
pass of packed rows goes through `packed_inputs`, which refuses such arguments; `use_cache=False` is passed
each time; and `check_isolation` proves it on the actual model before training starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from training.errors import LeakyMaskError

PACKED_KEYS = frozenset({"input_ids", "position_ids", "labels"})


def packed_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a forward pass over packed rows, `use_cache=False` among them.

    Raises:
        LeakyMaskError: an argument with which documents would see each other.
    """
    if inputs.get("attention_mask") is not None:
        raise LeakyMaskError(
            "a packed batch must not have an attention_mask: with one, the boundaries in "
            "position_ids are ignored "
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
    if not bool((positions[:, 0] == 0).all()):
        raise LeakyMaskError("position_ids of a packed row must start at 0")
    return {**inputs, "use_cache": False}


@torch.no_grad()
def check_isolation(
    model: torch.nn.Module, vocab_size: int, *, tolerance: float = 0.0, **arguments: Any
) -> None:
    """Prove on this model that a document in a packed row does not depend on the ones before it.

    Two rows differ only in their first document. Every logit of the second and third document must then be
    the same to the last bit, whatever the precision: masked places have the weight 0 exactly. Any difference
    is a leak.

    Args:
        model: any causal language model.
        vocab_size: ids to draw from.
        tolerance: share of the logits' standard deviation by which they may move; for mixtures of experts only.
        arguments: of the forward pass besides `input_ids` and `position_ids`; default `use_cache=False`. For
        tests.

    Raises:
        LeakyMaskError: how far the logits moved, and the usual reasons.
    """
    lengths = (7, 5, 1, 6)
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab_size, (1, sum(lengths)), generator=generator)
    other = ids.clone()
    other[:, : lengths[0]] = (ids[:, : lengths[0]] + 1 + vocab_size // 3) % vocab_size
    positions = torch.cat([torch.arange(length) for length in lengths])[None].to(device)
    was_training = model.training
    model.eval()
    arguments = arguments or {"use_cache": False}
    first, second = (
        model(input_ids=row.to(device), position_ids=positions, **arguments).logits[:, lengths[0] :]
        for row in (ids, other)
    )
    model.train(was_training)
    moved = (first.float() - second.float()).abs().max().item()
    if moved > tolerance * first.float().std().item() or not torch.isfinite(first).all():
        raise LeakyMaskError(
            f"documents in a packed row see each other: the logits of one moved by {moved:.2g} when "
            "another was "
            "changed. Usual reasons: an attention_mask in the batch, use_cache=True, or an "
            "architecture that does not "
            "derive its mask from position_ids. Try model.attention: sdpa or eager"
        )
