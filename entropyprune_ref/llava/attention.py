"""Scaled dot-product attention, written out and fused; the same numbers to rounding."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from .config import Attention


def attend(
    queries: Float[Tensor, "batch heads sequence head_dim"],
    keys: Float[Tensor, "batch kv_heads keys head_dim"],
    values: Float[Tensor, "batch kv_heads keys head_dim"],
    mask: Bool[Tensor, "#batch 1 sequence keys"] | None,
    kind: Attention,
) -> Float[Tensor, "batch heads sequence head_dim"]:
    r"""Returns $\operatorname{softmax}(QK^\top / \sqrt{d_h})\,V$ for every head, over the keys that `mask` allows.

    Key/value heads are shared by consecutive groups of query heads. A query that may look nowhere (padding) attends
    uniformly: its output is meaningless but finite.

    Args:
        queries: Queries after rotary embedding.
        keys: Keys after rotary embedding.
        values: Values as projected.
        mask: True where the query may look at the key; `None` for everywhere.
        kind: `"explicit"` or `"fused"`.

    Returns:
        One vector per query and head, in the dtype of `queries`.
    """
    groups = queries.shape[1] // keys.shape[1]
    if groups > 1:
        keys = keys.repeat_interleave(groups, dim=1)
        values = values.repeat_interleave(groups, dim=1)
    if kind == "fused":
        lowest = torch.finfo(queries.dtype).min
        bias = None if mask is None else torch.zeros_like(mask, dtype=queries.dtype).masked_fill(~mask, lowest)
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    scores = queries @ keys.mT * queries.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    # the softmax runs in float32 at least, as in the public implementations
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
    return weights @ values


def causal_mask(
    attended: Bool[Tensor, "batch keys"], sequence: int, device: torch.device
) -> Bool[Tensor, "#batch 1 sequence keys"]:
    """Returns which keys each of the last `sequence` positions may look at: those before it and itself, no padding.

    Order is the order in the sequence, so the mask of a shortened sequence is the plain causal mask of its length.

    Args:
        attended: False for padding, over all keys (cached ones first).
        sequence: Number of queries, the last of the keys.
        device: Device of the mask.
    """
    keys = attended.shape[1]
    order = torch.arange(keys, device=attended.device)
    causal = order[None, :] <= order[keys - sequence :, None]
    padded = attended.is_meta or not bool(attended.all())
    mask = causal[None, None] & attended[:, None, None, :] if padded else causal[None, None]
    return mask.to(device)
