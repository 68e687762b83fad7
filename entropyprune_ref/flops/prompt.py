r"""Section 6, the sums: a prompt (Eq. 6.2), a pruned prompt (Eq. 6.3) and one decoding step."""

from entropyprune_ref._numerics.arguments import require_choice, require_integer, require_kind
from entropyprune_ref.flops.parts import layer_flops, projector_flops, scoring_flops, vision_flops
from entropyprune_ref.flops.sizes import DecoderSize, ProjectorSize, VisionSize
from entropyprune_ref.flops.terms import Flops

LM_HEAD = ("none", "last", "all")


def _front(
    size: DecoderSize, visual_tokens: int, vision: VisionSize | None, projector: ProjectorSize | None, attention: str
) -> Flops:
    """Counts what turns images into visual tokens: the tower and the projector, where they are asked for."""
    front = Flops()
    if vision is not None:
        require_kind("vision", vision, VisionSize)
        if visual_tokens % vision.patches:
            raise ValueError(
                f"visual_tokens must be a multiple of the vision tower's {vision.patches} patches per image, "
                f"got {visual_tokens}; add vision_flops(vision, images) yourself if some were dropped or inserted"
            )
        front += vision_flops(vision, visual_tokens // vision.patches, attention=attention)
    if projector is not None:
        require_kind("projector", projector, ProjectorSize)
        if projector.outputs != size.hidden:
            raise ValueError(
                f"projector must end in the decoder's hidden size {size.hidden}, got outputs = {projector.outputs}"
            )
        if vision is not None and projector.inputs != vision.hidden:
            raise ValueError(
                f"projector must start from the tower's hidden size {vision.hidden}, got inputs = {projector.inputs}"
            )
        front += projector_flops(projector, visual_tokens)
    return front


def _head(size: DecoderSize, tokens: int, lm_head: str) -> Flops:
    require_choice("lm_head", lm_head, LM_HEAD)
    positions = {"none": 0, "last": min(1, tokens), "all": tokens}[lm_head]
    return Flops(lm_head=2 * positions * size.hidden * size.vocabulary)


def prefill_flops(
    size: DecoderSize,
    *,
    text_tokens: int,
    visual_tokens: int,
    attention: str = "full",
    lm_head: str = "none",
    vision: VisionSize | None = None,
    projector: ProjectorSize | None = None,
) -> Flops:
    r"""Counts the FLOPs of an unpruned prompt, $L \cdot F(N + T)$, and what is asked for around it (Eq. 6.2).

    Args:
        size: The decoder.
        text_tokens: Text tokens $T$ in the prompt, at least 0; the system prompt counts.
        visual_tokens: Visual tokens $N$ in the prompt, at least 0.
        attention: `"full"`, `"causal"` or `"none"`, as in `layer_flops`.
        lm_head: Positions that the language-model head is applied to: `"none"`, `"last"` (all that generation needs) or
            `"all"` (what most implementations compute by default).
        vision: The tower, if it is to be counted; one image per `vision.patches` visual tokens.
        projector: The projector, if it is to be counted; on all visual tokens.

    Returns:
        FLOPs of one prompt.

    Raises:
        TypeError: A count is not an int.
        ValueError: A count is negative, an option is unknown, `visual_tokens` is no whole number of images of `vision`,
            or `projector` does not fit its neighbours.

    Examples:
        LLaVA-1.5-7B on its 576 visual tokens alone takes the familiar 3.82 T multiply-adds:

        >>> from entropyprune_ref.flops import LLAVA_1_5_7B
        >>> round(prefill_flops(LLAVA_1_5_7B, text_tokens=0, visual_tokens=576).total / 2 / 1e12, 3)
        3.817
    """
    require_kind("size", size, DecoderSize)
    text_tokens = require_integer("text_tokens", text_tokens, 0)
    visual_tokens = require_integer("visual_tokens", visual_tokens, 0)
    tokens = visual_tokens + text_tokens
    return (
        _front(size, visual_tokens, vision, projector, attention)
        + size.layers * layer_flops(size, tokens, attention=attention)
        + _head(size, tokens, lm_head)
    )


def pruned_prefill_flops(
    size: DecoderSize,
    *,
    text_tokens: int,
    visual_tokens: int,
    prune_layer: int,
    keep: int,
    attention: str = "full",
    lm_head: str = "none",
    vision: VisionSize | None = None,
    projector: ProjectorSize | None = None,
    scoring: bool = False,
) -> Flops:
    r"""Counts the FLOPs of a pruned prompt, $K \cdot F(N + T) + (L - K) \cdot F(k + T)$ and around it (Eq. 6.3).

    Args:
        size: The decoder.
        text_tokens: Text tokens $T$ in the prompt, at least 0.
        visual_tokens: Visual tokens $N$ before pruning, at least 0; tower and projector see all of them.
        prune_layer: $K$, the first layer that runs pruned, from 1 to `size.layers - 1`.
        keep: Visual tokens $k$ that are kept, from 0 to `visual_tokens`.
        attention: `"full"`, `"causal"` or `"none"`, as in `layer_flops`.
        lm_head: `"none"`, `"last"` or `"all"`, as in `prefill_flops`; all are the $k + T$ that are left.
        vision: The tower, if it is to be counted.
        projector: The projector, if it is to be counted.
        scoring: Whether to count the method's own cost (Eq. 6.4, Gram side).

    Returns:
        FLOPs of one prompt.

    Raises:
        TypeError: A count is not an int.
        ValueError: A count is out of range, or as in `prefill_flops`.

    Examples:
        One reading (inferred) that leads to the 68.2 % of the paper's abstract: LLaVA-1.5-7B, 128 tokens per layer on
        average, hence 98 from layer 2 on, 81 text tokens, linear layers only.

        >>> from entropyprune_ref.flops import LLAVA_1_5_7B, reduction
        >>> prompt = dict(text_tokens=81, visual_tokens=576, attention="none")
        >>> pruned = pruned_prefill_flops(LLAVA_1_5_7B, prune_layer=2, keep=98, **prompt)
        >>> round(100 * float(reduction(prefill_flops(LLAVA_1_5_7B, **prompt), pruned)), 2)
        68.21
    """
    require_kind("size", size, DecoderSize)
    text_tokens = require_integer("text_tokens", text_tokens, 0)
    visual_tokens = require_integer("visual_tokens", visual_tokens, 0)
    prune_layer = require_integer("prune_layer", prune_layer, 1, size.layers - 1)
    keep = require_integer("keep", keep, 0, visual_tokens)
    before = layer_flops(size, visual_tokens + text_tokens, attention=attention)
    after = layer_flops(size, keep + text_tokens, attention=attention)
    return (
        _front(size, visual_tokens, vision, projector, attention)
        + prune_layer * before
        + (size.layers - prune_layer) * after
        + _head(size, keep + text_tokens, lm_head)
        + (scoring_flops(size, visual_tokens) if scoring else Flops())
    )


def decode_flops(
    size: DecoderSize,
    *,
    text_tokens: int,
    visual_tokens: int,
    prune_layer: int | None = None,
    keep: int | None = None,
    attention: str = "full",
    lm_head: str = "last",
) -> Flops:
    r"""Counts the FLOPs of one decoding step: a new token against caches of $N + T$ and, once pruned, $k + T$.

    Args:
        size: The decoder.
        text_tokens: Text tokens in the caches, those generated before included, at least 0.
        visual_tokens: Visual tokens $N$ in the prompt, at least 0.
        prune_layer: $K$, from 1 to `size.layers - 1`; None if the prompt was not pruned.
        keep: Visual tokens $k$ kept, from 0 to `visual_tokens`; given with `prune_layer`, and only with it.
        attention: As in `layer_flops`; `"full"` and `"causal"` are the same for a single token.
        lm_head: As in `prefill_flops`; `"last"` and `"all"` are the same for a single token.

    Returns:
        FLOPs of one step for one sequence.

    Raises:
        TypeError: A count is not an int.
        ValueError: A count is out of range, or only one of `prune_layer` and `keep` is given.

    Examples:
        An empty cache is a prompt of one token:

        >>> from entropyprune_ref.flops import LLAVA_1_5_7B
        >>> step = decode_flops(LLAVA_1_5_7B, text_tokens=0, visual_tokens=0, lm_head="none")
        >>> step == prefill_flops(LLAVA_1_5_7B, text_tokens=1, visual_tokens=0)
        True
    """
    require_kind("size", size, DecoderSize)
    text_tokens = require_integer("text_tokens", text_tokens, 0)
    visual_tokens = require_integer("visual_tokens", visual_tokens, 0)
    if (prune_layer is None) != (keep is None):
        raise ValueError(f"prune_layer and keep must be given together, got prune_layer={prune_layer}, keep={keep}")
    dense = layer_flops(size, 1, cached=visual_tokens + text_tokens, attention=attention)
    head = _head(size, 1, lm_head)
    if prune_layer is None or keep is None:
        return size.layers * dense + head
    prune_layer = require_integer("prune_layer", prune_layer, 1, size.layers - 1)
    keep = require_integer("keep", keep, 0, visual_tokens)
    short = layer_flops(size, 1, cached=keep + text_tokens, attention=attention)
    return prune_layer * dense + (size.layers - prune_layer) * short + head
