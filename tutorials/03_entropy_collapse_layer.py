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
# # 3. Find the Entropy Collapse Layer
#
# For who wants to prune at the right place; ten minutes. The bundled model, its untrained twin, and curves that have
# [no collapse](../method/collapse-layer.md) at all.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from entropyprune_ref import Llava, collapse_layer, layer_entropy
from entropyprune_ref.collapse import other_definitions
from entropyprune_ref.demo import entropy_curves
from entropyprune_ref.llava import pixels
from entropyprune_ref.shapes.world import draw_scene

model = Llava.from_pretrained()

# %% [markdown]
# ## One image, state by state
#
# `keep_trace=True` returns every state. State $i$ enters layer $i$; the last one leaves the model. The visual tokens
# are those that belong to an image.

# %%
image = draw_scene(42, 7).image
with torch.no_grad():
    output = model(pixels(torch.from_numpy(image)[None]), ["how many things are there"], keep_trace=True)
visual = output.prompt.image_index[0] >= 0
states = torch.stack([state[0, visual] for state in output.states])
curve = layer_entropy(states)
print(tuple(states.shape), curve.numpy().round(2))
print(collapse_layer(curve))

# %% [markdown]
# ## Many images, trained and untrained
#
# One image says little. Here are 64, in the bundled model and in the same architecture with random weights.

# %%
images = np.stack([draw_scene(42, index).image for index in range(64)])
torch.manual_seed(0)
untrained = Llava(model.config).eval()
curves = {"trained": entropy_curves(model, images), "random weights": entropy_curves(untrained, images)}
for name, values in curves.items():
    print(f"{name}: {collapse_layer(values)}")

# %%
# alt: Entropy against state for 64 images and their mean. Trained: a fall at state 2. Random weights: flatter.
figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True)
for place, (name, values) in zip(axes, curves.items(), strict=True):
    place.plot(values.T, color="tab:blue", alpha=0.15, linewidth=0.6)
    place.plot(values.mean(0), color="tab:blue", marker="o")
    place.axvline(collapse_layer(values).layer, color="tab:red", linestyle="--")
    place.set(xlabel="state", title=name)
axes[0].set_ylabel("entropy, nats")
# %% [markdown]
# Random weights have a drop as well, and *every* image agrees on it. So agreement proves nothing by itself. Look at
# where the drop is, and how sharp.

# %% [markdown]
# ## When there is none
#
# A detector must be able to say no.

# %%
for name, values in {
    "flat": [2.0, 2.0, 2.0, 2.0],
    "rising": [1.0, 1.5, 2.0, 2.2],
    "into the last state": [2.0, 2.0, 2.0, 1.0],
}.items():
    print(f"{name}: {collapse_layer(torch.tensor(values))}")

# %% [markdown]
# ## Other definitions
#
# The paper does not publish its rule. Others could be meant by the same words, and they do not always agree.

# %%
two_drops = torch.tensor([4.0, 3.0, 3.0, 1.5, 1.4, 0.6])
print("mean drop:", collapse_layer(two_drops).layer)
print(other_definitions(two_drops))

# %% [markdown]
# ## What was shown

# %%
found = {name: collapse_layer(values) for name, values in curves.items()}
assert found["trained"].layer == 2
assert found["random weights"].consistency == 1.0 and found["random weights"].layer > 2
assert found["trained"].sharpness > found["random weights"].sharpness
assert not collapse_layer(torch.tensor([1.0, 1.5, 2.0, 2.2])).found
assert not collapse_layer(torch.tensor([2.0, 2.0, 2.0, 1.0])).prunable

# %% [markdown]
# ## Exercises
#
# 1. How many of the 64 trained curves, taken alone, give layer 2?
# 2. Make a curve on which the mean drop and the relative drop disagree.
#
# <details markdown><summary>Answers</summary>
#
# 1. `consistency` is their share; the cell below counts them.
# 2. A large drop from a high entropy, then a smaller one from a low entropy: 8, 6, 1.5, 1.5, 0.2.
#
# </details>

# %%
alone = [collapse_layer(curve).layer for curve in curves["trained"]]
print(f"{alone.count(2)} of {len(alone)}")
assert alone.count(2) / len(alone) == found["trained"].consistency
disagree = torch.tensor([8.0, 6.0, 1.5, 1.5, 0.2])
assert collapse_layer(disagree).layer == 2 and other_definitions(disagree)["relative_drop"] == 4
