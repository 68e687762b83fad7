r"""Section 6, the parts that are paid for: a decoder layer (Eq. 6.1), the tower, the projector, the scoring (Eq. 6.4).

One multiply-add is 2 FLOPs. Norms, softmax, rotary embedding, activations, biases and residual additions are left out.
"""

from entropyprune_ref._numerics.arguments import require_choice, require_integer, require_kind
from entropyprune_ref.flops.sizes import DecoderSize, ProjectorSize, VisionSize
from entropyprune_ref.flops.terms import Flops

ATTENTION = ("full", "causal", "none")
SIDES = ("gram", "covariance")


def layer_flops(size: DecoderSize, tokens: int, *, cached: int = 0, attention: str = "full") -> Flops:
    r"""Counts the FLOPs of one decoder layer on `tokens` new tokens after `cached` earlier ones (Eq. 6.1).

    $$
    F(n) = \underbrace{2nd \cdot h d_h}_{q} + \underbrace{4nd \cdot h_{kv} d_h}_{k,\,v}
         + \underbrace{2nd \cdot h d_h}_{o} + \underbrace{4\,p(n)\,h d_h}_{QK^\top,\;PV}
         + \underbrace{2 n \cdot d m \cdot \texttt{mlp\_matrices}}_{\text{MLP}}
    $$

    with $n$ = `tokens`, $c$ = `cached`, and $p(n)$ the pairs of a query and a key that are counted: $n(c + n)$ for
    `"full"`, $nc + n(n+1)/2$ for `"causal"`, 0 for `"none"`. For $h_{kv} = h$, $h d_h = d$, three MLP matrices and
    $c = 0$ this is the familiar $8nd^2 + 4n^2d + 6ndm$.

    Args:
        size: The decoder.
        tokens: Tokens that enter the layer, at least 0.
        cached: Keys and values that wait in the cache, at least 0.
        attention: Which pairs of tokens count. `"full"`: the whole score matrix, what explicit attention computes and
            what other papers write; `"causal"`: only pairs that the causal mask allows, the useful work of a kernel
            that skips the rest; `"none"`: linear layers only, what a counter of operators sees when attention is a
            fused kernel.

    Returns:
        FLOPs of one layer for one sequence; multiply by the batch for a batch.

    Raises:
        TypeError: A count is not an int.
        ValueError: A count is negative, or `attention` is none of the three.

    Examples:
        One token, every size 1: q 2, k and v 4, o 2, one score 2, one value 2, three matrices 6.

        >>> layer_flops(DecoderSize(layers=1, hidden=1, heads=1, kv_heads=1, head_dim=1, mlp=1), 1).total
        18

    Notes:
        Keys and values that are shared by several query heads are multiplied once per query head: sharing saves memory
        and projections, not attention FLOPs.
    """
    require_kind("size", size, DecoderSize)
    n = require_integer("tokens", tokens, 0)
    c = require_integer("cached", cached, 0)
    require_choice("attention", attention, ATTENTION)
    pairs = {"full": n * (c + n), "causal": n * c + n * (n + 1) // 2, "none": 0}[attention]
    width = size.heads * size.head_dim
    kv_width = size.kv_heads * size.head_dim
    return Flops(
        query_projection=2 * n * size.hidden * width,
        key_value_projections=2 * n * size.hidden * 2 * kv_width,
        output_projection=2 * n * width * size.hidden,
        attention_scores=2 * pairs * width,
        attention_values=2 * pairs * width,
        mlp=2 * n * size.hidden * size.mlp * size.mlp_matrices,
    )


def vision_flops(size: VisionSize, images: int = 1, *, attention: str = "full") -> Flops:
    r"""Counts the FLOPs of the vision tower on `images` images (part of Eq. 6.2).

    The patch embedding is a convolution whose stride is its size, $2 \cdot \text{patches} \cdot d_v \cdot
    \text{channels} \cdot \text{patch\_size}^2$; then every layer sees `size.tokens` tokens, the class token among them.
    A tower is not causal: `"causal"` counts its attention in full.

    Args:
        size: The tower.
        images: Images (or tiles, or frames), at least 0.
        attention: As in `layer_flops`.

    Returns:
        FLOPs, all of them in the term `vision_tower`.

    Raises:
        TypeError: `images` is not an int.
        ValueError: `images` is negative, or `attention` is none of the three.

    Examples:
        One pixel, one layer, every size 1: patch embedding 2; two tokens through q, k, v, o (16), two 2 x 2 score
        matrices (16) and two MLP matrices (8).

        >>> vision_flops(VisionSize(layers=1, hidden=1, heads=1, mlp=1, image_size=1, patch_size=1, channels=1)).total
        42
    """
    require_kind("size", size, VisionSize)
    images = require_integer("images", images, 0)
    require_choice("attention", attention, ATTENTION)
    head_dim = size.hidden // size.heads
    stack = DecoderSize(size.layers, size.hidden, size.heads, size.heads, head_dim, size.mlp, mlp_matrices=2)
    layer = layer_flops(stack, size.tokens, attention="none" if attention == "none" else "full")
    embedding = 2 * size.patches * size.hidden * size.channels * size.patch_size**2
    return Flops(vision_tower=images * (embedding + size.layers * layer.total))


def projector_flops(size: ProjectorSize, visual_tokens: int) -> Flops:
    r"""Counts the FLOPs of the projector, $2N(inputs \cdot outputs + outputs^2)$ (part of Eq. 6.2).

    Args:
        size: The projector.
        visual_tokens: Tokens $N$ that pass through it, at least 0.

    Returns:
        FLOPs, all of them in the term `projector`.

    Raises:
        TypeError: `visual_tokens` is not an int.
        ValueError: `visual_tokens` is negative.

    Examples:
        >>> projector_flops(ProjectorSize(inputs=3, outputs=5), 1).total  # 2 * (15 + 25)
        80
    """
    require_kind("size", size, ProjectorSize)
    n = require_integer("visual_tokens", visual_tokens, 0)
    return Flops(projector=2 * n * (size.inputs * size.outputs + size.outputs**2))


def scoring_flops(size: DecoderSize, visual_tokens: int, *, side: str = "gram", eigen_cost: int = 9) -> Flops:
    r"""Counts the FLOPs of the method itself, spent once per prompt: scoring every visual token (Eq. 6.4).

    $$
    N \left( h d_h + 2\, s^2\, \bar s + \texttt{eigen\_cost} \cdot s^3 \right),
    \qquad (s, \bar s) = (h, d_h) \text{ on the Gram side},\ (d_h, h) \text{ on the covariance side}
    $$

    for centring, forming the matrix, and its eigenvalues.

    Args:
        size: The decoder; only `heads` and `head_dim` are read, since queries have all heads also under grouped-query
            attention.
        visual_tokens: Tokens that are scored $N$, at least 0.
        side: `"gram"` for the `heads` x `heads` matrix, `"covariance"` for the `head_dim` x `head_dim` one.
        eigen_cost: The constant of the eigensolver, at least 0. The default 9 is the textbook figure for a symmetric
            eigendecomposition by QR with the eigenvectors (Golub and Van Loan, Matrix Computations, section 8.3), an
            upper estimate here, as eigenvalues alone take about 4/3. No counter sees this term.

    Returns:
        FLOPs, all of them in the term `scoring`.

    Raises:
        TypeError: A count is not an int.
        ValueError: A count is negative, or `side` is neither of the two.

    Examples:
        One token of 2 heads with 3 features: centring 6, Gram matrix 2 * 4 * 3, eigenvalues 9 * 8.

        >>> size = DecoderSize(layers=1, hidden=6, heads=2, kv_heads=2, head_dim=3, mlp=1)
        >>> scoring_flops(size, 1).total
        102

    Notes:
        The formula counts one subtraction per number for centring; the means that are subtracted would be as many
        additions again, far below either of the other terms.
    """
    require_kind("size", size, DecoderSize)
    n = require_integer("visual_tokens", visual_tokens, 0)
    require_choice("side", side, SIDES)
    eigen_cost = require_integer("eigen_cost", eigen_cost, 0)
    h, d = size.heads, size.head_dim
    s, other = (h, d) if side == "gram" else (d, h)
    return Flops(scoring=n * (h * d + 2 * s**2 * other + eigen_cost * s**3))
