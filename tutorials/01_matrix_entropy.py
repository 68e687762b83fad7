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
# # 1. Matrix entropy by hand
#
# For anyone who knows what an eigenvalue is; ten minutes. How many directions does a set of vectors really use? We
# count by hand, then let one function count, and end with the patches of an image. The definitions are those of the
# page on [matrix entropy](../method/matrix-entropy.md).

# %%
import math

import matplotlib.pyplot as plt
import torch

from entropyprune_ref import effective_rank, matrix_entropy, spectrum
from entropyprune_ref.world.scenes import PATCH_SIZE, draw_scene

# %% [markdown]
# ## Two rows
#
# Each row is one vector. First subtract the mean row ([Eq. 1.1](../method/matrix-entropy.md#eq-1-1)). What is left of
# two rows is always one vector and its opposite.

# %%
two = torch.tensor([[1.0, 2.0], [5.0, 0.0]])
centred = two - two.mean(0)
print(centred)

# %% [markdown]
# Then take the covariance $\Sigma = \tilde Z^\top \tilde Z / n$ and divide it by its trace, so that its eigenvalues add
# up to one ([Eqs. 1.2 and 1.3](../method/matrix-entropy.md#eq-1-2)). Here $\Sigma$ has the rows $(4, -2)$ and
# $(-2, 1)$, and its trace is 5.

# %%
covariance = centred.T @ centred / 2
density = covariance / covariance.trace()
print(density)

# %% [markdown]
# Each eigenvalue is the share of the variance along one direction. Two points lie on a line: one direction has it all.
# The entropy of the shares ([Eq. 1.4](../method/matrix-entropy.md#eq-1-4)) is
#
# $$H = -\sum_i \lambda_i \log \lambda_i = -1 \log 1 - 0 \log 0 = 0,$$
#
# where $0 \log 0$ counts as 0. One function does all of this.

# %%
print("shares ", spectrum(two).tolist())
print("entropy", matrix_entropy(two).item())

# %% [markdown]
# ## A cross
#
# Four points, two on each axis, all equally far out. Both axes have half of the variance, so $H = \log 2$. Its
# exponential is the effective rank ([Eq. 1.6](../method/matrix-entropy.md#eq-1-6)), and it reads as a count: two
# directions.

# %%
cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
print("entropy       ", matrix_entropy(cross).item(), "and log 2 is", math.log(2))
print("effective rank", effective_rank(cross).item())

# %% [markdown]
# ## Between one and two
#
# Let the second axis shrink to length $a$. The shares are now $1 / (1 + a^2)$ and $a^2 / (1 + a^2)$, and the effective
# rank falls smoothly from two to one. The rank of the matrix would say 2 all the way, and then jump; no threshold is
# needed here.

# %%
# alt: The effective rank of the cross rises smoothly from 1 to 2 as its second axis grows from length 0 to length 1.
lengths = torch.linspace(0, 1, 50)
# 50 crosses in one batch
crosses = cross * torch.stack((torch.ones(50), lengths), 1)[:, None]
ranks = effective_rank(crosses)

figure, place = plt.subplots(figsize=(5, 2.6))
place.plot(lengths.numpy(), ranks.numpy())
place.set(xlabel="length $a$ of the second axis", ylabel="effective rank")
figure.tight_layout()

# %% [markdown]
# ## What does not matter
#
# Only the shape of the cloud counts. Its size, its place, the direction it faces and the order of the points do not.

# %%
generator = torch.Generator().manual_seed(0)
cloud = torch.randn(12, 5, generator=generator, dtype=torch.float64)
rotation = torch.linalg.qr(
    torch.randn(5, 5, generator=generator, dtype=torch.float64)
).Q
changes = {
    "as it is": cloud,
    "seven times as large": 7 * cloud,
    "moved": cloud + torch.arange(5.0),
    "rotated": cloud @ rotation,
    "in another order": cloud.flip(0),
    "one axis stretched": cloud * torch.tensor([9.0, 1.0, 1.0, 1.0, 1.0]),
}
for change, changed in changes.items():
    print(f"{change:<21}{matrix_entropy(changed):.12f}")

# %% [markdown]
# Only the last one differs: stretching one axis changes the shape.
#
# ## The patches of an image
#
# Now something larger: an image of the bundled [little world](../reference/world.md), cut into patches of 8 × 8 pixels
# in three colours: 144 vectors of 192 numbers. How many directions do they use? Noise of the same size is there for
# comparison.

# %%
image = torch.from_numpy(draw_scene(42, 7).image).double() / 255
patches = (
    image.unfold(0, PATCH_SIZE, PATCH_SIZE)
    .unfold(1, PATCH_SIZE, PATCH_SIZE)
    .reshape(-1, 3 * PATCH_SIZE**2)
)
noise = torch.rand(patches.shape, generator=generator, dtype=torch.float64)
count, numbers = patches.shape
print(f"{count} patches of {numbers} numbers, so at most {min(count - 1, numbers)}")
print(
    f"the image uses {effective_rank(patches):.1f}, noise {effective_rank(noise):.1f}"
)

# %%
# alt: An image with a few small coloured shapes. The eigenvalues of its patches fall steeply, those of noise slowly.
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.7))
left.imshow(image.numpy())
left.axis("off")
right.semilogy(
    range(1, 101), spectrum(patches)[:100].numpy(), label="patches of the image"
)
right.semilogy(
    range(1, 101), spectrum(noise)[:100].numpy(), linestyle="--", label="noise"
)
right.set(xlabel="eigenvalue", ylabel="share of the variance")
right.legend(frameon=False)
figure.tight_layout()

# %% [markdown]
# Most patches show grey background, and a few directions say nearly everything about them. EntropyPrune asks this one
# question twice: of the hidden states of all visual tokens, to find out
# [*when* to prune](04_entropy_collapse_layer.md), and of the heads of a single token, to find out
# [*what* to prune](03_a_token_score.md).

# %% [markdown]
# ## What was shown

# %%
assert torch.equal(covariance, torch.tensor([[4.0, -2.0], [-2.0, 1.0]]))
assert matrix_entropy(two) < 1e-12
assert math.isclose(matrix_entropy(cross).item(), math.log(2), rel_tol=1e-12)
shares = torch.stack(
    (
        1 / (1 + lengths.double() ** 2),
        lengths.double() ** 2 / (1 + lengths.double() ** 2),
    ),
    1,
)
assert torch.allclose(ranks, torch.special.entr(shares).sum(1).exp())
entropies = [matrix_entropy(changed).item() for changed in changes.values()]
assert (
    max(entropies[:-1]) - min(entropies[:-1]) < 1e-12
    and entropies[0] - entropies[-1] > 0.1
)
assert effective_rank(patches) < 15 and effective_rank(noise) > 90

# %% [markdown]
# ## Exercises
#
# 1. Three points at the corners of an equilateral triangle: what is their entropy?
# 2. What is the largest entropy that ten vectors of a thousand numbers can have?
# 3. Five equal vectors have no variance, and $\rho$ would be $0 / 0$. What does the function say?
#
# <details markdown><summary>Answers</summary>
#
# 1. The triangle looks the same after a third of a turn, so no direction of the plane can have more variance than
#    another: $\log 2$, as the cross.
# 2. Centring leaves nine dimensions, so $\log 9$. Ten orthogonal vectors of equal length reach it.
# 3. Zero, and never NaN: vectors that do not differ use no direction.
#
# The cell below checks all three.
#
# </details>

# %%
corners = torch.arange(3, dtype=torch.float64) * 2 * math.pi / 3
triangle = torch.stack((corners.cos(), corners.sin()), 1)
assert math.isclose(matrix_entropy(triangle).item(), math.log(2), rel_tol=1e-12)
assert math.isclose(
    matrix_entropy(torch.eye(10, 1000)).item(), math.log(9), rel_tol=1e-12
)
assert matrix_entropy(torch.full((5, 3), 0.1)) == 0
