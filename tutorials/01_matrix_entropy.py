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
# For everybody; ten minutes. From a matrix of two rows to the patches of an image, with one function:
# [matrix entropy](../method/matrix-entropy.md).

# %%
import math

import matplotlib.pyplot as plt
import torch

from entropyprune_ref import density_matrix, effective_rank, matrix_entropy, spectrum
from entropyprune_ref.shapes.world import PATCH_SIZE, draw_scene

# %% [markdown]
# ## Two rows
#
# Two vectors differ in one direction only. Centred, they are opposite points on one line: one eigenvalue has all the
# variance, and there is no entropy.

# %%
two = torch.tensor([[1.0, 2.0, 3.0], [2.0, 0.0, 3.0]])
print(spectrum(two, "covariance"))
print(matrix_entropy(two))

# %% [markdown]
# ## Four points of a cross
#
# Two points on each axis, all equally far out. The density matrix is half the identity: both eigenvalues are one half,
# and the entropy is $\log 2$. Its exponential, the effective rank, says it in a count: two directions.

# %%
cross = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
print(density_matrix(cross))
print(matrix_entropy(cross).item(), math.log(2), effective_rank(cross).item())

# %% [markdown]
# ## Squeezing the cross
#
# Now let one axis shrink. The share of the variance along it falls with the square, and so does the effective rank,
# from two directions to one. No threshold had to say when a direction stops counting.

# %%
# alt: The effective rank of a cross rises from 1 to 2 as its second axis grows from nothing to the length of the first.
lengths = torch.linspace(0, 1, 50)
squeezed = torch.stack([cross * torch.tensor([1.0, float(length)]) for length in lengths])
ranks = effective_rank(squeezed)  # a batch: one number for each of the 50 matrices
plt.figure(figsize=(5, 2.6))
plt.plot(lengths, ranks)
plt.xlabel("length of the second axis")
plt.ylabel("effective rank")
# %% [markdown]
# ## What does not matter
#
# Scale, a common shift, a rotation of the features and the order of the rows leave it as it is.

# %%
generator = torch.Generator().manual_seed(0)
features = torch.randn(12, 5, generator=generator, dtype=torch.float64)
rotation = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64)).Q
for changed in (7 * features, features + 3, features @ rotation, features.flip(0)):
    print(f"{matrix_entropy(changed) - matrix_entropy(features):+.1e}")

# %% [markdown]
# ## The patches of an image
#
# An image of the little world, cut into patches of 8 × 8 pixels with three colours: 144 samples of 192 features. Most
# of it is grey background, so a few directions hold most of the variance. How many?

# %%
image = torch.from_numpy(draw_scene(42, 7).image).double() / 255
patches = image.unfold(0, PATCH_SIZE, PATCH_SIZE).unfold(1, PATCH_SIZE, PATCH_SIZE).reshape(-1, 3 * PATCH_SIZE**2)
noise = torch.rand(patches.shape, generator=generator, dtype=torch.float64)
print(f"{tuple(patches.shape)}: effective rank {effective_rank(patches):.1f} of at most {min(143, 192)}")
print(f"noise of the same size: {effective_rank(noise):.1f}")

# %%
# alt: An image with small coloured shapes; the eigenvalues of its patches fall steeply, those of noise slowly.
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8))
left.imshow(image)
left.axis("off")
right.semilogy(spectrum(patches)[:100], label="patches of the image")
right.semilogy(spectrum(noise)[:100], label="noise")
right.set(xlabel="eigenvalue", ylabel="share of the variance")
right.legend()
# %% [markdown]
# ## What was shown

# %%
assert matrix_entropy(two) < 1e-12
assert math.isclose(matrix_entropy(cross).item(), math.log(2), rel_tol=1e-12)
assert bool((ranks.diff() >= 0).all()) and math.isclose(ranks[-1].item(), 2.0, rel_tol=1e-12)
assert abs(matrix_entropy(features @ rotation) - matrix_entropy(features)) < 1e-12
assert effective_rank(patches) < 30 < effective_rank(noise)

# %% [markdown]
# ## Exercises
#
# 1. Three points at the corners of an equilateral triangle: what is the entropy?
# 2. What is the largest entropy that ten vectors of a thousand features can have?
#
# <details markdown><summary>Answers</summary>
#
# 1. By symmetry the variance is the same along both axes of the plane: $\log 2$.
# 2. Centring leaves nine dimensions: $\log 9$, for vectors that are pairwise orthogonal and equally long.
#
# </details>

# %%
angles = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64) * 2 * math.pi / 3
triangle = torch.stack((angles.cos(), angles.sin()), 1)
assert math.isclose(matrix_entropy(triangle).item(), math.log(2), rel_tol=1e-12)
assert math.isclose(matrix_entropy(torch.eye(10, 1000)).item(), math.log(9), rel_tol=1e-12)
