# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. A token score by hand
#
# For anyone who wants to know *which* tokens are kept; ten minutes. EntropyPrune gives every visual token one number.
# We compute that number with pencil and paper for a token with three heads, ask why it should mean anything, and then
# read it off a real image. Definitions are on the page on [token scores](../method/token-scores.md).

# %%
import math

import matplotlib.pyplot as plt
import torch

from entropyprune_ref import (
    PAPER,
    RELEASED,
    ROW_NORMALIZED,
    Llava,
    select_tokens,
    token_entropy,
)
from entropyprune_ref.llava import pixels
from entropyprune_ref.world.scenes import draw_scene

# %% [markdown]
# ## What a head asks for
#
# In every decoder layer each *head* turns a token's hidden state into a *query*: a vector that is compared with the
# keys of all tokens before it. The query says what this head is looking for at this place. A token has as many queries
# as the layer has heads. Here are three heads with two features each.

# %%
queries = torch.tensor([[3.0, 1.0], [1.0, 3.0], [-1.0, -1.0]], dtype=torch.float64)

# %% [markdown]
# ## Step 1: centre over heads
#
# The mean query is $(1, 1)$: what all heads have in common. Subtract it, and what is left is where they differ.

# %%
rows = queries - queries.mean(0)
print(rows)

# %% [markdown]
# ## Step 2: heads against heads
#
# The product of every row with every row is the *Gram matrix*,
#
# $$\tilde Z \tilde Z^\top = \begin{pmatrix} 4 & 0 & -4 \\ 0 & 4 & -4 \\ -4 & -4 & 8 \end{pmatrix},$$
#
# with trace $4 + 4 + 8 = 16$. Divide by the trace, so that the eigenvalues add up to one.

# %%
gram = rows @ rows.T
print(gram)
print("trace", gram.trace().item())

# %% [markdown]
# ## Step 3: eigenvalues
#
# Three vectors lead to the eigenvalues. The heads add up to nothing, so $(1, 1, 1)$ is sent to zero: centring always
# costs one. $(1, -1, 0)$ is sent to $(4, -4, 0)$, four times itself. $(1, 1, -2)$ is sent to $(12, 12, -24)$, twelve
# times itself. Over the trace that makes the shares $12/16 = 3/4$, $4/16 = 1/4$ and $0$.

# %%
shares = torch.linalg.eigvalsh(gram).flip(0) / gram.trace()
print(shares.numpy().round(12))

# %% [markdown]
# ## Step 4: entropy
#
# $$H = -\tfrac34 \log \tfrac34 - \tfrac14 \log \tfrac14 = \log 4 - \tfrac34 \log 3 = 0.562.$$
#
# That is the score by the convention `PAPER` ([Eq. 3.1](../method/token-scores.md#eq-3-1)). Its exponential, 1.75,
# reads as a count: these heads ask for one and three quarters different things, of at most two that three centred
# heads can.

# %%
by_hand = math.log(4) - 0.75 * math.log(3)
score = token_entropy(queries[None]).item()  # a stack of one token
print(f"by hand {by_hand:.6f}, by token_entropy {score:.6f}")
print(f"as a count {math.exp(score):.2f}")

# %% [markdown]
# ## The other two conventions
#
# The released code divides by the number of heads, 3, not by the trace. The eigenvalues become 4, 4/3 and 0 (raised to
# $10^{-10}$), and the sum is divided by $\log 3$ ([Eq. 3.3](../method/token-scores.md#eq-3-3)). Its score is negative,
# because eigenvalues above 1 have a positive logarithm: it depends on how *long* the queries are. Doubled, `PAPER`
# stands still and `RELEASED` falls.

# %%
levels = [4.0, 4 / 3, 1e-10]
released = -sum(level * math.log(level) for level in levels) / math.log(3)
print(f"released by hand {released:.6f}")
for name, convention in {
    "paper": PAPER,
    "row-normalised": ROW_NORMALIZED,
    "released": RELEASED,
}.items():
    once, twice = (
        token_entropy(factor * queries[None], convention).item() for factor in (1, 2)
    )
    print(f"{name:<15} {once:8.4f}   queries twice as long {twice:8.4f}")

# %% [markdown]
# ## Why should spread-out heads mark a useful token?
#
# The idea, as we read it *(inferred)*: heads specialise. If a token carries something that many of them can use, they
# ask for different things, and their queries spread over many directions. A plain patch of background gives the heads
# little to disagree about, and what is left after centring lies along a few directions. High entropy then means
# content.
#
# That is a *hypothesis* about trained models. Nothing in the formula makes it true: random weights have entropies, too.
# It can only be measured. Here are the scores of the 144 patches of one image, from layer 0 of the bundled model.

# %%
model = Llava.from_pretrained()
scene = draw_scene(42, 3)
with torch.no_grad():
    output = model(
        pixels(torch.from_numpy(scene.image)[None]),
        ["how many things are there"],
        keep_trace=True,
    )
visual = output.prompt.image_index[0] >= 0
heads_of_tokens = output.queries[0][0][:, visual].transpose(0, 1)
scores = token_entropy(heads_of_tokens)
print(
    tuple(heads_of_tokens.shape), "tokens, heads, features; scores", tuple(scores.shape)
)

# %%
# alt: An image with a few coloured shapes, and a map of its patches' scores: patches with a shape score high.
figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 2.8))
left.imshow(scene.image)
bright = right.imshow(scores.reshape(12, 12).numpy())
figure.colorbar(bright, ax=right, label="nats")
left.set_title("image", fontsize=9)
right.set_title("token entropy, layer 0", fontsize=9)
for place in (left, right):
    place.set(xticks=[], yticks=[])

# %% [markdown]
# Do patches with a shape score higher? The scene knows which patches those are.

# %%
things = torch.from_numpy(scene.patches_of(scene.things))
higher = (scores[things][:, None] > scores[~things]).double().mean().item()
with_shape, without = scores[things].mean(), scores[~things].mean()
print(f"mean score {with_shape:.3f} with a shape, {without:.3f} without")
print(
    f"a patch with a shape scores higher in {higher:.0%} of all pairs (by chance 50 %)"
)

# %% [markdown]
# So on this image the score points to content. Keeping the best $k$ is then only sorting
# ([Eq. 5.2](../method/pruning.md#eq-5-2)):

# %%
kept = select_tokens(scores, 32)
by_chance = 32 * things.double().mean()
print(f"of {things.sum()} patches with a shape, {things[kept].sum()} are kept")
print(f"32 at random would keep {by_chance:.1f}")

# %% [markdown]
# ## What was shown

# %%
assert torch.allclose(
    gram, torch.tensor([[4.0, 0, -4], [0, 4, -4], [-4, -4, 8]], dtype=torch.float64)
)
assert math.isclose(score, by_hand, rel_tol=1e-12) and round(score, 3) == 0.562
assert math.isclose(
    token_entropy(queries[None], RELEASED).item(), released, rel_tol=1e-9
)
assert math.isclose(token_entropy(2 * queries[None]).item(), score, rel_tol=1e-12)
assert token_entropy(2 * queries[None], RELEASED) < token_entropy(
    queries[None], RELEASED
)
assert higher > 0.6
assert things[kept].sum() > by_chance

# %% [markdown]
# ## Exercises
#
# 1. All three heads ask for the same thing. What is the score?
# 2. Add $(5, -7)$ to all three queries. What happens?
# 3. What is the highest score that a token with three heads can have, and which queries reach it?
#
# <details markdown><summary>Answers</summary>
#
# 1. Nothing is left after centring: the score is 0 by definition.
# 2. Nothing: the vector is part of the mean, and centring removes it.
# 3. $\log 2$, since centring leaves two directions: three queries at the corners of an equilateral triangle.
#
# </details>

# %%
assert token_entropy(torch.ones(1, 3, 2)) == 0
assert math.isclose(
    token_entropy(queries[None] + torch.tensor([5.0, -7.0])).item(),
    score,
    rel_tol=1e-12,
)
corners = torch.arange(3, dtype=torch.float64) * 2 * math.pi / 3
triangle = torch.stack((corners.cos(), corners.sin()), 1)
assert math.isclose(token_entropy(triangle[None]).item(), math.log(2), rel_tol=1e-12)
