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
# # 7. Check a fast implementation
#
# For anyone who writes the fast version; ten minutes. We write one, have it checked, break it on purpose, and read
# what the [oracle](../guides/check-your-implementation.md) says.

# %%
import time

import torch

from entropyprune_ref import token_entropy
from entropyprune_ref.oracle import check

# %% [markdown]
# ## A faster token entropy
#
# The reference computes in float64. Where float32 is precise enough, half the time will do: centre, form the Gram
# matrix, eigenvalues, entropy. `torch.compile` may fuse what it can; here it only traces, so that no compiler is
# needed. `fullgraph` and the limit make sure that the compiled function is what runs: by default `torch.compile` falls
# back to plain Python after eight compilations, and the check would then be of something else.


# %%
@torch.compile(backend="aot_eager", dynamic=True, fullgraph=True, recompile_limit=200)
def fast(queries):
    """Token entropy in the dtype of its input."""
    rows = queries - queries.mean(-2, keepdim=True)
    gram = rows @ rows.mT
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    levels = torch.linalg.eigvalsh(gram / torch.where(trace > 0, trace, 1.0)).clamp(
        min=0
    )
    return -torch.special.xlogy(levels, levels).sum(-1)


queries = torch.randn(576, 32, 128, generator=torch.Generator().manual_seed(0))
off = (fast(queries) - token_entropy(queries)).abs().max().item()
print(f"largest difference to the reference: {off:.1e}")

# %% [markdown]
# ## Is it right?
#
# One agreement on one random input proves little. The oracle draws inputs that hurt, small ones and those of real
# models, laid out in memory as models hand them over, and holds the function to laws. How far it may be off follows
# from what it computes in, float32: for inputs of 16 bits too, unless it says `computes_in=torch.bfloat16`.

# %%
start = time.perf_counter()
report = check(
    "token_entropy", lambda stack: fast(stack), dtype=torch.float32, size="quick"
)
print(report)
print(f"{time.perf_counter() - start:.0f} s")

# %% [markdown]
# ## Break it on purpose
#
# A guard that looks harmless: a small number added to the trace, against division by zero.


# %%
def guarded(queries):
    """The same, with an epsilon in the wrong place."""
    rows = queries - queries.mean(-2, keepdim=True)
    gram = rows @ rows.mT
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    levels = torch.linalg.eigvalsh(gram / (trace + 1e-6)).clamp(min=0)
    return -torch.special.xlogy(levels, levels).sum(-1)


broken = check("token_entropy", guarded, dtype=torch.float32, size="quick")
print(broken.failures[0])

# %% [markdown]
# The smallest case that fails has queries of quite ordinary size, but *few* of them, and they lie close together. What
# counts is the trace of the centred queries, to which the epsilon was added: where that trace is small, the score is
# off. With 32 heads of 128 features it is large, and the random input from above would never have shown the bug. The
# report names the law, gives the smallest case, and a snippet to paste.

# %%
off = (guarded(queries) - token_entropy(queries)).abs().max().item()
print(f"difference on the first input: {off:.1e}")
# one token, two heads, one feature: centred, one direction, entropy 0
close = torch.tensor([[[0.66], [0.27]]])
off_close = (guarded(close) - token_entropy(close)).abs().max().item()
print(f"difference on two close heads: {off_close:.1e}")

# %% [markdown]
# ## A bug with a name
#
# Forget to centre, and the oracle says so: the answer is that of a known-wrong implementation.


# %%
def uncentred(queries):
    """Without the centring over heads."""
    levels = torch.linalg.svdvals(queries.double()).square()
    levels = levels / levels.sum(-1, keepdim=True).clamp(min=1e-300)
    return -torch.special.xlogy(levels, levels).sum(-1)


named = check("token_entropy", uncentred, size="quick")
print(named.failures[0].message)
print("resembles:", named.failures[0].resembles)

# %% [markdown]
# ## What was shown

# %%
assert report.passed
assert not broken.passed and "scale" in {failure.law for failure in broken.failures}
assert float((guarded(queries) - token_entropy(queries)).abs().max()) < 2e-6
assert float((guarded(close) - token_entropy(close)).abs().max()) > 1e-5
assert "no centring" in named.failures[0].resembles

# %% [markdown]
# ## Exercises
#
# 1. Does the guarded version pass if `scale` is expected to fail?
# 2. What does the oracle say of the reference itself?
#
# <details markdown><summary>Answers</summary>
#
# 1. Only if every law that breaks is listed, each with a reason.
# 2. It passes; it is held to the same laws in every test run.
#
# </details>

# %%
excuses = {
    failure.law: "small queries do not occur here" for failure in broken.failures
}
assert check(
    "token_entropy",
    guarded,
    dtype=torch.float32,
    size="quick",
    expected_failures=excuses,
).passed
assert check("token_entropy", token_entropy, size="quick").passed
