"""The contracts that vectors are about: what is computed, from what, in which units, and how the reference answers."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....collapse import collapse_layer, layer_entropy
from ....entropy import matrix_entropy
from ....pruning import select_tokens, tokens_to_keep
from .bookkeeping import kept_positions
from .calls import (
    SIZE,
    Inputs,
    VectorContract,
    as_tensor,
    count_flops,
    layer,
    prefilled,
    token_choice,
    token_scores,
)
from .decoder import pruned_prefill

_PROMPT = {
    "text_tokens": "T, text tokens in the prompt",
    "visual_tokens": "N, visual tokens in the prompt",
    "attention": "'full': all n * n pairs count; 'causal': n (n + 1) / 2; 'none': linear layers only",
    "lm_head": "positions that the language-model head is applied to: 'none', 'last' or 'all'",
}

CONTRACTS: dict[str, VectorContract] = {
    "matrix_entropy": VectorContract(
        "Von Neumann entropy of the features (Eq. 1.4): centre the rows, Z; eigenvalues x of Z^T Z over their sum; "
        "-sum x log x with 0 log 0 = 0.",
        {"features": "(..., samples, dims), float64: samples are rows, and are centred"},
        {"entropy": "(...), nats; 0 without variance"},
        lambda ask, given: {"entropy": ask(given["features"])},
        lambda _: matrix_entropy,
    ),
    "token_entropy": VectorContract(
        "Entropy of each token over its heads (Eqs. 3.1 to 3.3): centre the rows, Z; if row_normalized, divide each by "
        "its norm, a zero row stays zero; eigenvalues x of Z Z^T, over their sum if trace_normalized, else over heads; "
        "raise them to the clamp if there is one; -sum x log x, over log(heads) if log_heads.",
        {"queries": "(..., tokens, heads, head_dim), float64: heads are rows, and are centred"},
        {"entropy": "(..., tokens), nats; under 'released' in units of log(heads) nats"},
        lambda ask, given: {"entropy": ask(given["queries"])},
        token_scores,
    ),
    "layer_entropy": VectorContract(
        "Matrix entropy, as in matrix_entropy, of the visual tokens' states at every layer (Eq. 4.1).",
        {"states": "(..., layers + 1, tokens, dims), float64: tokens are rows, and are centred"},
        {"entropy": "(..., layers + 1), nats"},
        lambda ask, given: {"entropy": ask(given["states"])},
        lambda _: layer_entropy,
    ),
    "collapse_layer": VectorContract(
        "The state into which the entropy falls most, on average over samples, the earliest of equal ones; none if "
        "that does not exceed 2^-42 times the largest magnitude (Eqs. 4.2 and 4.3; inferred).",
        {"curves": "(layers + 1,) or (samples, layers + 1), float64: entropies in nats"},
        {"layer": "(), the first state after the drop, from 1; 0 if no drop is found"},
        lambda ask, given: {"layer": layer(ask(given["curves"]))},
        lambda _: collapse_layer,
    ),
    "tokens_to_keep": VectorContract(
        "Visual tokens to keep so that the mean over all layers is at most the average (Eq. 5.1): "
        "floor((L * average - K * N) / (L - K)); infeasible below 0.",
        {
            "average": "visual tokens per layer, averaged over all layers; the exact decimal number that is written",
            "visual_tokens": "N, visual tokens in the prompt",
            "layers": "L, decoder layers",
            "prune_layer": "K, the first layer that runs pruned, from 1 to L - 1",
        },
        {"keep": "(), tokens, from 0 to N"},
        lambda ask, given: {"keep": ask(**given)},
        lambda _: tokens_to_keep,
    ),
    "select_tokens": VectorContract(
        "Positions of the highest scores, ascending; equal scores go to the earlier token (Eq. 5.2).",
        {"scores": "(..., tokens), float64: higher is kept first", "keep": "how many of each row"},
        {"kept": "(..., keep), strictly ascending positions"},
        lambda ask, given: {"kept": ask(given["scores"], given["keep"])},
        lambda _: select_tokens,
    ),
    "token_selection": VectorContract(
        "Token entropy and selection one after the other: the tokens of the highest entropies (Eqs. 3.1 to 3.3, 5.2).",
        {
            "queries": "(tokens, heads, head_dim), float64",
            "keep": "how many",
        },
        {"kept": "(keep,), strictly ascending positions"},
        lambda ask, given: {"kept": ask(given["queries"], given["keep"])},
        token_choice,
    ),
    "kept_positions": VectorContract(
        "What pruning leaves of one prompt: places, rotary positions, cache lengths, and where decoding goes on.",
        {
            "image_index": "(sequence,), the number of the image that a token belongs to, -1 for text and padding",
            "attended": "(sequence,), 0 for padding, else 1",
            "scores": "(sequence,), float64; read at visual tokens only",
            "keep": "visual tokens to keep, over all images",
            "over_images": "'each': images keep in proportion, by largest remainder (Eq. 5.4); 'all': they compete",
            "layers": "L, decoder layers",
            "prune_layer": "K, the first layer that runs pruned",
        },
        {
            "places": "(left,), ascending places in the sequence of the tokens that are left, padding not counted",
            "positions": "(left,), their rotary positions: those that they had before pruning",
            "cache_lengths": "(layers,), entries that each layer's cache holds after prefill, padding not counted",
            "next_position": "(), the rotary position of the first token that is decoded",
        },
        lambda ask, given: ask(**given),
        lambda _: kept_positions,
    ),
    "prefill_flops": VectorContract(
        "FLOPs of a prompt (Eqs. 6.2 and 6.3), one multiply-add being two: K layers on N + T tokens and L - K on "
        "k + T. A layer on n tokens: 2 n d (2 h d_h + 2 kv_heads d_h + m * mlp_matrices) + 4 pairs h d_h.",
        {
            **SIZE,
            **_PROMPT,
            "prune_layer": "K, the first layer that runs pruned; with keep only",
            "keep": "k, visual tokens from layer K on; absent for an unpruned prompt",
            "scoring": "whether the cost of the method itself counts too (Eq. 6.4, Gram side, 9 h^3 for eigenvalues)",
        },
        {"flops": "(), FLOPs: an exact integer, written as a decimal string because JSON numbers end at 2^53"},
        lambda ask, given: {"flops": ask(**given)},
        lambda _: count_flops,
        ("prune_layer", "keep", "scoring"),
    ),
    "pruned_prefill": VectorContract(
        "A whole pruned prefill of a tiny Llama decoder, and decoding after it (section 5). A layer: RMS norm, causal "
        "attention of scale 1 / sqrt(d_h), residual; RMS norm, silu(gate) * up through down, residual. At the end norm "
        "and lm_head. Rotary embedding turns the pair (i, i + d_h / 2) by position * rope_theta^(-2 i / d_h); "
        "consecutive query heads share a key head. Visual tokens are scored by token_entropy of the queries of layer "
        "K - 1.",
        {
            "weights": "float64, matrices (outputs, inputs): layers.<i>.input_layernorm, .self_attn.{q,k,v,o}_proj, "
            ".post_attention_layernorm, .mlp.{gate,up,down}_proj; norm; lm_head; each with .weight behind it",
            "sizes": "of the decoder: layers, hidden, heads, kv_heads, head_dim, mlp, vocabulary, rope_theta, norm_eps",
            "embeddings": "(sequence, hidden), float64: state 0",
            "positions": "(sequence,), rotary positions",
            "image_index": "(sequence,), the number of the image that a token belongs to, -1 for text and padding",
            "attended": "(sequence,), 0 for padding, else 1",
            "continuation": "(steps, hidden), float64: embeddings of the tokens that are decoded afterwards",
            "prune_layer": "K, the first layer that runs pruned",
            "keep": "visual tokens to keep, over all images; images keep in proportion (Eq. 5.4)",
            "kept": "(left,), the places that are to be left; absent where the selection is one's own",
        },
        {
            "kept": "(left,), ascending places in the sequence of the tokens that are left",
            "logits": "(left + steps, vocabulary): after prefill, then one row for each decoded token",
        },
        prefilled,
        pruned_prefill,
        ("kept",),
    ),
}
"""Every contract that the vectors know; the names are those of the package's functions where there is one."""


def answers(
    contract: str, convention: str | None, inputs: Inputs, implementation: Callable[..., Any] | None = None
) -> dict[str, Tensor]:
    """Returns what an implementation answers to the inputs of a case, by output; by default the reference.

    Raises:
        ValueError: The reference refuses the inputs.
    """
    call = CONTRACTS[contract]
    chosen = call.reference(convention) if implementation is None else implementation
    return {name: as_tensor(value) for name, value in call.ask(chosen, inputs).items()}
