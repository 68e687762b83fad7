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
# # 8. Bring your own scorer
#
# For anyone who has a better idea; ten minutes. A scorer is one function. Ours is ten lines long, and we measure it
# against [token entropy](../method/token-scores.md) and against chance.

# %%
import numpy as np
import torch

from entropyprune_ref import EntropyPrune, Llava
from entropyprune_ref.llava import pixels
from entropyprune_ref.scorers import RIVALS
from entropyprune_ref.scorers.entropy import EntropyScorer
from entropyprune_ref.scorers.view import LayerView
from entropyprune_ref.world.questions import ask
from entropyprune_ref.world.scenes import draw_scene

model = Llava.from_pretrained()

# %% [markdown]
# ## The idea
#
# Background patches look alike. A patch that differs from its image's average is likely to show something. So score
# each visual token by the distance of its hidden state from the mean over its image. `LayerView` shows what a scorer
# may look at; higher is kept first.


# %%
def unusual(view: LayerView) -> torch.Tensor:
    """Distance of each token's hidden state from the mean of its image."""
    scores = torch.zeros(view.image_index.shape, dtype=torch.float64)
    for row, index in enumerate(view.image_index):
        for image in index[index >= 0].unique():
            own = index == image
            states = view.hidden[row, own].double()
            scores[row, own] = (states - states.mean(0)).norm(dim=-1)
    return scores


# %% [markdown]
# ## Does it work?
#
# Forty images, a colour and a shape question each, 24 of 144 tokens kept at layer 1.

# %%
scenes = [draw_scene(42, index) for index in range(40)]
images = pixels(torch.from_numpy(np.stack([scene.image for scene in scenes])))
asked = {
    kind: [ask(scene, 42, index, (kind,))[0] for index, scene in enumerate(scenes)]
    for kind in ("color", "shape")
}


def accuracy(scorer) -> float:
    """Share of right answers over both kinds of question."""
    right = []
    for questions in asked.values():
        texts = [question.text for question in questions]
        answers = model.generate(
            images, texts, pruner=EntropyPrune(1, keep=24, scorer=scorer)
        ).texts
        right += [
            answer == question.answer
            for answer, question in zip(answers, questions, strict=True)
        ]
    return float(np.mean(right))


found = {
    "unusual (ours)": accuracy(unusual),
    "token entropy": accuracy(EntropyScorer()),
    "random": accuracy(RIVALS["random"]),
}
for name, share in found.items():
    print(f"{name:<16}{share:.0%}")

# %% [markdown]
# Eighty answers are few, and one small model proves nothing about others. If a scorer looks promising, run the whole
# evaluation with it, on several seeds, and report where it loses.

# %% [markdown]
# ## What was shown

# %%
assert found["unusual (ours)"] > found["random"]
assert found["token entropy"] > found["random"]
with torch.no_grad():
    output = model(
        images[:1],
        [asked["color"][0].text],
        pruner=EntropyPrune(1, keep=24, scorer=unusual),
    )
assert len(output.kept_visual()[0]) == 24

# %% [markdown]
# ## Exercises
#
# 1. Turn the scorer around, so that it keeps the most ordinary tokens. Is it worse than random?
# 2. Use keys instead of hidden states.
#
# <details markdown><summary>Answers</summary>
#
# 1. `lambda view: -unusual(view)`; the cell below measures it.
# 2. `view.keys` is `(batch, kv_heads, sequence, head_dim)`: bring the sequence first and flatten the heads.
#
# </details>


# %%
def unusual_keys(view: LayerView) -> torch.Tensor:
    """The same, of the keys of the layer before."""
    keys = view.keys.transpose(1, 2).flatten(2)
    return unusual(
        LayerView(keys, view.queries, view.keys, view.image_index, view.attended)
    )


ordinary, keyed = accuracy(lambda view: -unusual(view)), accuracy(unusual_keys)
print(f"most ordinary {ordinary:.0%}, unusual keys {keyed:.0%}")
assert ordinary < found["unusual (ours)"]
