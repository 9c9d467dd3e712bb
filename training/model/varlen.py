"""Flash attention of packed rows with the kernels that PyTorch brings: no further package, no mask of a row's length squared.

`torch.nn.attention.varlen` has the kernels of flash attention 2, for GPUs from Ampere on. transformers 5.23 does not
use it, but its attention functions are a table to which one can be added, and each gets the boundaries that
`training.model.attention.packed_inputs` hands to the forward pass. For a name that is not in its table of masks no mask
is made. So this attention is for packed rows alone: padded batches and caches go through another one
(`training.model.attention.any_input`).

Importing this module registers it as `NAME`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

NAME = "varlen"


def forward(  # noqa: PLR0917
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """(result of shape (rows, row length, heads, width), None); what is attended is (rows, heads, row length, width).

    Raises:
        NotImplementedError: something that the kernels do not do; another attention can be used.
    """
    from torch.nn.attention import varlen

    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    for wrong, why in (
        (not causal, "it is causal"),
        (dropout > 0, "it has no dropout"),
        (query.shape[-1] != value.shape[-1], "keys and values have another width"),
        *(
            (more.get(name) is not None, f"it has no {name}")
            for name in ("softcap", "s_aux", "position_bias")
        ),
        (attention_mask is not None, "it takes no mask"),
        (cu_seq_lens_q is None or max_length_q is None, "it was not told where documents begin"),
    ):
        if wrong:
            raise NotImplementedError(f"{NAME}: {why}")
    kind = value.dtype  # norms in fp32 make queries and keys fp32; autocast knows this operation not
    if torch.is_autocast_enabled(query.device.type):
        kind = torch.get_autocast_dtype(query.device.type)
    assert cu_seq_lens_q is not None and max_length_q is not None  # refused above
    query_, key_, value_ = (part.transpose(1, 2).flatten(0, 1).to(kind) for part in (query, key, value))
    result = varlen.varlen_attn(
        query_,
        key_,
        value_,
        cu_seq_lens_q,
        cu_seq_lens_q,
        max_length_q,
        max_length_q,
        scale=scaling,
        window_size=(sliding_window - 1 if sliding_window else -1, 0),
        enable_gqa=True,
    )
    assert isinstance(result, torch.Tensor)  # it was not asked for more
    return result.unflatten(0, (query.shape[0], query.shape[2])), None


AttentionInterface.register(NAME, forward)
