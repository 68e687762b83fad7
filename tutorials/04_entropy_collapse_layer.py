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
# # 4. Find the Entropy Collapse Layer
#
# For anyone who has to decide *when* to prune; ten minutes. We follow the visual tokens of one image through the
# bundled model, then those of many images, then through a model that has learned nothing. The last is the surprise.
# Definitions are on the page on the [Entropy Collapse Layer](../method/collapse-layer.md).

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from entropyprune_ref import Llava, collapse_layer, layer_entropy
from entropyprune_ref.collapse import other_definitions, random_sharpness
from entropyprune_ref.demo.where import entropy_curves
from entropyprune_ref.llava import pixels
from entropyprune_ref.world.scenes import draw_scene

model = Llava.from_pretrained()
print(
    model.config.decoder.layers,
    "decoder layers,",
    model.config.vision.patches,
    "visual tokens",
)

# %% [markdown]
# ## One image, state by state
#
# *State* $i$ is what enters decoder layer $i$; the last state leaves the model. `keep_trace=True` returns them all, and
# `image_index` says which positions belong to an image.

# %%
image = pixels(torch.from_numpy(draw_scene(42, 7).image)[None])
with torch.no_grad():
    output = model(image, ["how many things are there"], keep_trace=True)
visual = output.prompt.image_index[0] >= 0
states = torch.stack([state[0, visual] for state in output.states])
print(tuple(states.shape), "states, tokens, features")

# %% [markdown]
# Each state gives one matrix entropy, with the tokens as rows ([Eq. 4.1](../method/collapse-layer.md#eq-4-1)). The
# Entropy Collapse Layer is the state into which it falls most ([Eq. 4.3](../method/collapse-layer.md#eq-4-3)).

# %%
curve = layer_entropy(states)
print(curve.numpy().round(2))
print(collapse_layer(curve))

# %% [markdown]
# It names the first state *after* the drop, which is also the first layer that runs pruned.
#
# ## Many images
#
# One image says little, so here are 64. The drop is averaged over them before the largest is taken. *Consistency* is
# the share of images that give the same layer when taken alone, and the interval comes from resampling the images.

# %%
images = np.stack([draw_scene(42, index).image for index in range(64)])
curves = {"trained": entropy_curves(model, images)}
print(collapse_layer(curves["trained"]))

# %% [markdown]
# ## A model that has learned nothing
#
# The same architecture with random weights. If the collapse came from learning, there would be none.

# %%
torch.manual_seed(0)
untrained = Llava(model.config).eval()
curves["random weights"] = entropy_curves(untrained, images)
print(collapse_layer(curves["random weights"]))

# %%
# alt: Entropy by state for 64 images and their mean. Trained, it falls most into state 2; random weights, into state 4.
figure, axes = plt.subplots(1, 2, figsize=(7, 2.8))
for place, (name, values) in zip(axes, curves.items(), strict=True):
    place.plot(values.T.numpy(), color="C0", alpha=0.15, linewidth=0.6)
    place.plot(values.mean(0).numpy(), color="C0", marker="o", markersize=4)
    layer = collapse_layer(values).layer
    place.axvspan(layer - 1, layer, color="C1", alpha=0.2, linewidth=0)
    place.set(xlabel="state", title=name)
axes[0].set_ylabel("entropy, nats")
figure.tight_layout()

# %% [markdown]
# There is one, it is later, and *every* image agrees on it: no fewer than in the trained model. So neither a drop
# nor agreement on it proves that anything was learned. Nor does the sharpness ([Eq.
# 4.4](../method/collapse-layer.md#eq-4-4)) prove it. The curve has six drops, and the largest of six is always
# somewhat sharp. Draw six independent normal numbers instead of the drops, many times over:

# %%
by_chance = random_sharpness(6)
chance = [by_chance.quantile(share).item() for share in (0.5, 0.75)]
print(f"sharpness of pure chance: median {chance[0]:.2f}")
print(f"one in four is above {chance[1]:.2f}")
for name, values in curves.items():
    sharpness = collapse_layer(values).sharpness
    above = (by_chance > sharpness).double().mean()
    print(f"{name}: {sharpness:.2f}, and {above:.0%} of chance is above that")

# %% [markdown]
# A sharpness is worth only what chance would not reach. Whether a layer is a good one to prune at is a question for
# [accuracy](05_prune_a_llava.md), not for the curve.

# %% [markdown]
# ## When there is none
#
# A detector must be able to say no. It does on a flat and on a rising curve. And a drop into the very last state is a
# drop, but leaves no layer to prune.

# %%
made = {
    "flat": torch.tensor([2.0, 2.0, 2.0, 2.0]),
    "rising": torch.tensor([1.0, 1.5, 2.0, 2.2]),
    "late": torch.tensor([2.0, 2.0, 2.0, 1.0]),
}
for name, values in made.items():
    print(f"{name}: {collapse_layer(values)}\n")

# %% [markdown]
# ## Other definitions
#
# The paper speaks of "a sharp and consistent drop". We know of no detector by its authors; the mean drop is our reading
# *(inferred)*, and other rules fit the words as well. On the curves of the trained model those that find a layer
# agree; on a curve with two drops they do not.

# %%
two_drops = torch.tensor([4.0, 3.0, 3.0, 1.5, 1.4, 0.6])
for name, values in {"trained": curves["trained"], "two drops": two_drops}.items():
    print(
        f"{name:<10}",
        {"mean_drop": collapse_layer(values).layer, **other_definitions(values)},
    )

# %% [markdown]
# ## What was shown

# %%
found = {name: collapse_layer(values) for name, values in curves.items()}
assert found["trained"].layer == 2 and found["trained"].interval == (2, 2)
assert found["random weights"].consistency == 1 >= found["trained"].consistency
assert found["random weights"].layer > found["trained"].layer
assert 1.9 < chance[0] < 2.2 and chance[1] > 2.5  # a sharpness of two is unremarkable
assert (
    not collapse_layer(made["flat"]).found and not collapse_layer(made["rising"]).found
)
assert collapse_layer(made["late"]).found and not collapse_layer(made["late"]).prunable
assert collapse_layer(two_drops).layer != other_definitions(two_drops)["relative_drop"]

# %% [markdown]
# ## Exercises
#
# 1. In the trained model, which layers do single images give?
# 2. Does the question change the curve? Ask another one about the same image.
# 3. Make a curve on which the largest mean drop and the largest relative drop disagree.
#
# <details markdown><summary>Answers</summary>
#
# 1. Run `collapse_layer` on each curve alone and count: the cell below does.
# 2. No. The visual tokens stand before the question, and attention is causal: they cannot see it.
# 3. A large drop from a high entropy, then a smaller one from a low entropy, such as 8, 6, 1.5, 1.5, 0.2.
#
# </details>

# %%
alone = [collapse_layer(values).layer for values in curves["trained"]]
print({layer: alone.count(layer) for layer in sorted(set(alone))})
assert alone.count(2) / len(alone) == found["trained"].consistency

with torch.no_grad():
    asked = model(image, ["what color is the circle"], keep_trace=True)
other = layer_entropy(
    torch.stack([state[0, asked.prompt.image_index[0] >= 0] for state in asked.states])
)
assert torch.allclose(other, curve, atol=1e-4)

disagree = torch.tensor([8.0, 6.0, 1.5, 1.5, 0.2])
assert (
    collapse_layer(disagree).layer == 2
    and other_definitions(disagree)["relative_drop"] == 4
)
