"""Which token of a prompt belongs to which image."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .families import Anatomy


def with_features(parts: Anatomy, inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns the inputs of `parts.base` with pixels replaced by their features.

    `generate` does the same before the first step, and the model does it inside when it is called with pixels: here it
    happens early, so that both ways show how many visual tokens an image has.
    """
    given = inputs.get("mm_encoder_outputs")
    features: dict[str, Any] = dict(given or {})
    inputs = dict(inputs)
    for modality, pixels in (("image", "pixel_values"), ("video", "pixel_values_videos")):
        if modality not in parts.family.visual or inputs.get(pixels) is None:
            continue
        encode = getattr(parts.base, f"get_{modality}_features")
        names = inspect.signature(encode).parameters
        arguments = {name: inputs[name] for name in names if inputs.get(name) is not None}
        features[modality] = encode(**arguments, return_dict=True)
        inputs[pixels] = None
    if given is None and not features:
        return inputs
    return {**inputs, "mm_encoder_outputs": features}


def feature_lengths(parts: Anatomy, features: Mapping[str, Any] | None) -> dict[str, list[int]]:
    """Returns how many visual tokens every image and every video (or frame) of a batch has, in reading order."""
    return {
        modality: [image.numel() // parts.hidden for image in output.pooler_output]
        for modality, output in (features or {}).items()
        if output is not None and output.pooler_output is not None
    }


def image_index(
    parts: Anatomy,
    ids: Int[Tensor, "batch sequence"],
    attended: Bool[Tensor, "batch sequence"],
    lengths: Mapping[str, list[int]],
) -> Int[Tensor, "batch sequence"]:
    """Returns the number of the image that each token belongs to, counted in its row in reading order; -1 for text.

    Raises:
        ValueError: Placeholders that do not match the features: too few or too many, or an image torn between two rows.
    """
    owner = torch.full_like(ids, -1)
    known = 0
    for modality in parts.family.visual:
        spans = lengths.get(modality, [])
        places = ids == parts.token_id(modality)
        found, wanted = int(places.sum()), sum(spans)
        if found != wanted:
            raise ValueError(
                f"input_ids must hold one placeholder (id {parts.token_id(modality)}) for each of the {wanted} "
                f"{modality} features that were given, got {found}"
            )
        numbers = torch.arange(known, known + len(spans), device=ids.device)
        owner[places] = numbers.repeat_interleave(torch.tensor(spans, dtype=torch.int64, device=ids.device))
        known += len(spans)
    index = torch.full_like(ids, -1)
    used: set[int] = set()
    for row, owners in enumerate(owner.tolist()):
        in_order = [number for number in dict.fromkeys(owners) if number >= 0]
        torn = used.intersection(in_order)
        if torn:
            raise ValueError(
                f"input_ids must hold all placeholders of an image in one row, got one that ends in row {row} only"
            )
        used.update(in_order)
        renumbered = {number: place for place, number in enumerate(in_order)}
        index[row] = torch.tensor([renumbered.get(number, -1) for number in owners], device=ids.device)
    return index.masked_fill(~attended, -1)
