"""The picture of the start page: the method on one image."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from _model import curves, images, model, scenes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from entropyprune_ref import EntropyPrune, collapse_layer
from entropyprune_ref.world.scenes import PATCH_SIZE

SCENE, KEEP, IMAGES = 1, 32, 128


def method() -> Figure:
    """An image, what is kept of it, and the curve that says where to prune."""
    scene, found = scenes(SCENE + 1)[SCENE], collapse_layer(curves(True, IMAGES))
    with torch.no_grad():
        output = model()(
            images(SCENE + 1)[SCENE:], ["how many things are there"], pruner=EntropyPrune(found.layer or 1, keep=KEEP)
        )
    kept = output.kept_visual()[0].tolist()
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.4, 2.6), width_ratios=(1, 1, 1.5))
    shown = scene.image // 8 * 8  # noise in steps that the eye does not tell apart weighs half
    side = shown.shape[0] // PATCH_SIZE
    mask = np.zeros(side * side, dtype=bool)
    mask[kept] = True
    whole = np.kron(mask.reshape(side, side), np.ones((PATCH_SIZE, PATCH_SIZE)))[..., None] > 0
    left.imshow(shown)
    left.set_title(f"{side * side} visual tokens", fontsize=9)
    middle.imshow(np.where(whole, shown, 255 - (255 - shown) // 48 * 8))
    for token in kept:
        row, column = divmod(token, side)
        corner = (column * PATCH_SIZE - 0.5, row * PATCH_SIZE - 0.5)
        middle.add_patch(Rectangle(corner, PATCH_SIZE, PATCH_SIZE, fill=False, edgecolor="#d55e00", linewidth=0.7))
    middle.set_title(f"the {KEEP} of highest entropy", fontsize=9)
    for place in (left, middle):
        place.set(xticks=[], yticks=[])
        for edge in place.spines.values():
            edge.set_visible(False)
    mean = curves(True, IMAGES).mean(0).numpy()
    right.plot(mean, marker="o", markersize=4)
    if found.layer is not None:
        right.axvspan(found.layer - 1, found.layer, color="C1", alpha=0.18, linewidth=0)
        right.text(
            found.layer + 0.1, mean.max(), f"collapse: prune at layer {found.layer}", color="C1", va="top", fontsize=9
        )
    right.set(xlabel="state", ylabel="entropy, nats", xticks=range(len(mean)))
    return figure
