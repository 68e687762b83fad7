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
# For who wonders where the speed comes from; ten minutes. A matrix has two Gram matrices with
# [the same non-zero eigenvalues](../method/dual-gram.md). Here is the experiment, and what it saves on this machine.

# %%
import time

import matplotlib.pyplot as plt
import torch

from entropyprune_ref import covariance_spectrum, gram_spectrum, matrix_entropy

generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## The experiment
#
# One token: 8 heads with 32 features each. The covariance side is 32 × 32, the Gram side 8 × 8.

# %%
queries = torch.randn(8, 32, generator=generator, dtype=torch.float64)
large, small = covariance_spectrum(queries), gram_spectrum(queries)
print(large[:8].numpy().round(4))
print(small.numpy().round(4))
print(f"largest difference {float((large[:8] - small).abs().max()):.1e}")
print(f"the other 24: at most {float(large[8:].max()):.1e}")

# %% [markdown]
# ## Why
#
# If $\tilde Z v$ is not zero and $\tilde Z^\top \tilde Z v = \lambda v$, then
# $\tilde Z \tilde Z^\top (\tilde Z v) = \lambda (\tilde Z v)$: an eigenvector of one side becomes one of the
# other, with the same eigenvalue. Here it is, for the largest one.

# %%
centred = queries - queries.mean(0)
values, vectors = torch.linalg.eigh(centred.T @ centred)
moved = centred @ vectors[:, -1]
residual = centred @ centred.T @ moved - values[-1] * moved
print(f"largest entry of the residual: {float(residual.abs().max()):.1e}")

# %% [markdown]
# Centring costs one dimension: the vector of ones is sent to zero, so the Gram side always has a zero eigenvalue, and 8
# heads have an entropy of at most $\log 7$.

# %%
ones = torch.ones(8, dtype=torch.float64)
print(f"{float((centred @ centred.T @ ones).abs().max()):.1e}")

# %% [markdown]
# ## What it saves
#
# Eigenvalues cost the cube of the side. With heads of four times as many features as there are heads, that is 64
# times as much on the covariance side. Forming the matrix costs only four times as much. Measured here, on as many
# tokens as fit into a moment:


# %%
def seconds(work, repeats=3):
    """The fastest of some runs."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


sizes, solving, both = (4, 8, 16, 32), [], []
for heads in sizes:
    stack = torch.randn(32, heads, 4 * heads, generator=generator, dtype=torch.float64)
    gram, covariance = stack @ stack.mT, stack.mT @ stack
    solving.append(
        seconds(lambda c=covariance: torch.linalg.eigvalsh(c)) / seconds(lambda g=gram: torch.linalg.eigvalsh(g))
    )
    both.append(
        seconds(lambda s=stack: matrix_entropy(s, side="covariance"))
        / seconds(lambda s=stack: matrix_entropy(s, side="gram"))
    )

# %%
# alt: Measured ratios of time, covariance side over Gram side, against the number of heads, with a line at 64.
plt.figure(figsize=(5.5, 3))
plt.plot(sizes, solving, "o-", label="eigenvalues alone")
plt.plot(sizes, both, "s--", label="the whole entropy")
plt.axhline(64, color="gray", linestyle=":", label="ratio of the cubes")
plt.xscale("log", base=2)
plt.xticks(sizes, sizes)
plt.xlabel("heads (each with 4 times as many features)")
plt.ylabel("covariance / Gram, time")
plt.legend()
# %% [markdown]
# Timings differ between machines and with their load, and small matrices are all overhead. What is certain is the
# count.

# %% [markdown]
# ## What was shown

# %%
assert torch.allclose(large[:8], small, atol=1e-14) and large[8:].max() < 1e-14
assert float(residual.abs().max()) < 1e-11
assert abs(matrix_entropy(queries, side="gram") - matrix_entropy(queries, side="covariance")) < 1e-12
assert both[-1] > 1  # with 32 heads of 128 features the Gram side is the faster one

# %% [markdown]
# ## Exercises
#
# 1. For which sizes is the covariance side the smaller, and what does `side="auto"` do then?
# 2. The ratio of the cubes at the 28 heads of Qwen2.5-VL-7B, with 128 features each?
#
# <details markdown><summary>Answers</summary>
#
# 1. Where there are more samples than features, as with the hidden states of an image's tokens; it takes that side.
# 2. $(128 / 28)^3 = 95.5$, more than 64.
#
# </details>

# %%
tall = torch.randn(100, 6, generator=generator)
assert torch.equal(matrix_entropy(tall), matrix_entropy(tall, side="covariance"))
assert round((128 / 28) ** 3, 1) == 95.5
