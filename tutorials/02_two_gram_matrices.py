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
# # 2. Two Gram matrices, one spectrum
#
# For anyone who wonders where "up to 64×" comes from; ten minutes. Every matrix has two Gram matrices. They differ in
# size and [share their non-zero eigenvalues](../method/dual-gram.md). We see it, prove it in three lines, and measure
# what it saves on the machine that runs this.

# %%
import time

import matplotlib.pyplot as plt
import torch

from entropyprune_ref import covariance_spectrum, gram_spectrum, matrix_entropy

generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## See it
#
# The queries of one token: 8 heads with 32 features each. Features against features is a 32 × 32 matrix
# ([Eq. 2.1](../method/dual-gram.md#eq-2-1)), heads against heads an 8 × 8 matrix
# ([Eq. 2.2](../method/dual-gram.md#eq-2-2)).

# %%
queries = torch.randn(8, 32, generator=generator, dtype=torch.float64)
large, small = covariance_spectrum(queries), gram_spectrum(queries)
print("32 × 32, first 8:", large[:8].numpy().round(4))
print("8 × 8, all:      ", small.numpy().round(4))
print(f"they differ by at most {(large[:8] - small).abs().max():.0e}")
print(f"the other 24 are at most {large[8:].max():.0e}")

# %% [markdown]
# ## Prove it
#
# Let $\tilde Z^\top \tilde Z v = \lambda v$ with $\lambda > 0$. Multiply both sides by $\tilde Z$:
#
# $$\tilde Z \tilde Z^\top \, (\tilde Z v) = \lambda \, (\tilde Z v).$$
#
# So $\tilde Z v$ is an eigenvector of the other matrix with the same $\lambda$. It is not zero, because
# $\|\tilde Z v\|^2 = v^\top \tilde Z^\top \tilde Z v = \lambda \|v\|^2$. The same step leads back, hence
# [Eq. 2.3](../method/dual-gram.md#eq-2-3). Here is the map at work on the largest eigenvalue.

# %%
centred = queries - queries.mean(0)
values, vectors = torch.linalg.eigh(centred.T @ centred)
moved = centred @ vectors[:, -1]
residual = centred @ centred.T @ moved - values[-1] * moved
print(f"eigenvalue {values[-1]:.4f}")
print(f"largest entry of the residual {residual.abs().max():.0e}")

# %% [markdown]
# ## One eigenvalue is always zero
#
# The last of the eight eigenvalues was 0. That is centring: the centred heads add up to nothing, so the vector of ones
# is sent to zero. Eight heads have an entropy of at most $\log 7$.

# %%
ones = torch.ones(8, dtype=torch.float64)
product = centred @ centred.T @ ones
print(f"largest entry of the Gram matrix times ones: {product.abs().max():.0e}")

# %% [markdown]
# ## What the count promises
#
# The work of an eigendecomposition grows with the cube of the side, that of forming the matrix only with its square.
# LLaVA-1.5-7B has 32 heads of 128 features:
#
# $$\left(\frac{128}{32}\right)^3 = 64 \quad\text{(eigenvalues)}, \qquad
#   \frac{2 \cdot 32 \cdot 128^2}{2 \cdot 32^2 \cdot 128} = 4 \quad\text{(forming the matrix)}.$$
#
# The promise is therefore something between 4 and 64, if the constants are alike.
#
# ## What the clock says
#
# Sizes of the same proportion, from 4 heads of 16 features to 32 heads of 128, on stacks of 32 tokens. `seconds` takes
# the fastest of several runs, since everything else that a machine does can only make a run slower.


# %%
def seconds(work, repeats=5):
    """Time of the fastest run."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


sizes, ratios = (4, 8, 16, 32), {"eigenvalues alone": [], "whole entropy": []}
for heads in sizes:
    stack = torch.randn(32, heads, 4 * heads, generator=generator, dtype=torch.float64)
    sides = {"covariance": stack.mT @ stack, "gram": stack @ stack.mT}
    solving = {
        side: seconds(lambda m=matrix: torch.linalg.eigvalsh(m))
        for side, matrix in sides.items()
    }
    whole = {
        side: seconds(lambda s=side, z=stack: matrix_entropy(z, side=s))
        for side in sides
    }
    for name, times in zip(ratios, (solving, whole), strict=True):
        ratios[name].append(times["covariance"] / times["gram"])
    print(
        f"{heads:>2} × {4 * heads:<3}"
        + "".join(f"  {name} {values[-1]:5.1f}×" for name, values in ratios.items())
    )

# %%
# alt: Measured time of the covariance side over that of the Gram side, by size; guide lines mark 64 and 4.
figure, place = plt.subplots(figsize=(5.5, 3))
for (name, values), style in zip(ratios.items(), ("o-", "s--"), strict=True):
    place.plot(sizes, values, style, label=name)
for level, name in (
    (64, "count of the eigenvalues"),
    (4, "count of forming the matrix"),
):
    place.axhline(level, color="gray", linestyle=":")
    place.text(4, level * 1.06, name, color="dimgray", fontsize=8, va="bottom")
place.set_xscale("log", base=2)
place.set_yscale("log", base=2)
place.set_xticks(sizes, [f"{heads} × {4 * heads}" for heads in sizes])
place.set_yticks((1, 4, 16, 64), (1, 4, 16, 64))
place.set(xlabel="heads × features", ylabel="covariance / Gram, time")
place.set_ylim(top=128)
place.legend(frameon=False, loc="lower right")
figure.tight_layout()

# %% [markdown]
# The gain grows with the size, since small matrices are mostly overhead. It is a real gain, but not the 64 of the
# count: the constants are not alike, and the whole entropy is more than eigenvalues. Your machine will draw another
# curve; the [page on the dual Gram](../method/dual-gram.md) has a grid of sizes.

# %% [markdown]
# ## What was shown

# %%
assert torch.allclose(large[:8], small, atol=1e-14) and large[8:].max() < 1e-14
assert residual.abs().max() < 1e-11 and (centred @ centred.T @ ones).abs().max() < 1e-12
assert (
    abs(
        matrix_entropy(queries, side="gram")
        - matrix_entropy(queries, side="covariance")
    )
    < 1e-12
)
assert ratios["whole entropy"][-1] > 1  # at 32 × 128 the Gram side is the faster one

# %% [markdown]
# ## Exercises
#
# 1. The [Entropy Collapse Layer](../method/collapse-layer.md) needs the entropy of 576 tokens with 4,096 features each.
#    Which side is the smaller?
# 2. And for an image of 100 tokens with 6 features? What does `side="auto"` do?
# 3. What does the count promise for the eigenvalues at the 28 heads of Qwen2.5-VL-7B, with 128 features each?
#
# <details markdown><summary>Answers</summary>
#
# 1. The Gram side, 576 × 576: the tokens are the samples, and there are fewer of them than features.
# 2. The covariance side, 6 × 6, and `"auto"` takes it.
# 3. $(128 / 28)^3 = 95.5$, more than 64.
#
# </details>

# %%
tall = torch.randn(100, 6, generator=generator)
assert torch.equal(matrix_entropy(tall), matrix_entropy(tall, side="covariance"))
assert min(576, 4096) == 576 and round((128 / 28) ** 3, 1) == 95.5
