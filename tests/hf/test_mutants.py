"""Wrong pruners in place: each must be told from the right one by the laws, on a handful of fixed prompts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from entropyprune_ref.hf import hooks, masks, passes
from entropyprune_ref.pruner import EntropyPrune as Pruner
from entropyprune_ref.scorers import EntropyScorer
from tests.hf.laws import check, fixed_case
from tests.hf.tiny import FAMILIES, SHAPES

Patch = pytest.MonkeyPatch


def positions_renumbered(patch: Patch) -> None:
    """The tokens that are left stand at 0, 1, 2, ..."""
    real = passes._gathered

    def gathered(values: Tensor, index: Tensor | None) -> Tensor:
        if index is None or values.shape[-1] != head_dim():
            return real(values, index)
        return values[:, : index.shape[1]].expand(len(index), -1, -1)

    patch.setattr(passes, "_gathered", gathered)


def positions_of_the_neighbour(patch: Patch) -> None:
    """Every token that is left stands where its predecessor stood."""
    real = passes._gathered

    def gathered(values: Tensor, index: Tensor | None) -> Tensor:
        rotary = index is not None and values.shape[-1] == head_dim()
        return real(values.roll(1, dims=1) if rotary else values, index)

    patch.setattr(passes, "_gathered", gathered)


def decode_mask_cropped(patch: Patch) -> None:
    """Later steps see the end of the padding mask, cropped to the length of the cache."""
    real, enter = masks.create_causal_mask, passes.Passes._enter
    unpruned: list[Tensor] = []

    def remembering(self: Any, now: Any, hidden: Tensor, cache: Any) -> Tensor:
        unpruned.append(now.attended)
        return enter(self, now, hidden, cache)

    def cropped(**arguments: Any) -> Any:
        if arguments["inputs_embeds"].shape[1] == 1:
            arguments["attention_mask"] = unpruned[-1][:, -arguments["attention_mask"].shape[1] :]
        return real(**arguments)

    patch.setattr(passes.Passes, "_enter", remembering)
    patch.setattr(masks, "create_causal_mask", cropped)


def mask_of_the_whole_prompt(patch: Patch) -> None:
    """The padding mask of the prompt, cropped to the new length, in place of the gathered one."""
    real = masks.create_causal_mask

    def cropped(**arguments: Any) -> Any:
        mask = arguments["attention_mask"]
        arguments["attention_mask"] = mask.sort(dim=1, descending=True).values
        return real(**arguments)

    patch.setattr(masks, "create_causal_mask", cropped)


def queries_of_a_neighbour(patch: Patch) -> None:
    """The score of a token is made of the queries of the one before it."""
    real = EntropyScorer.__call__
    patch.setattr(
        EntropyScorer,
        "__call__",
        lambda self, view: real(self, replace(view, unrotated=view.unrotated.roll(1, dims=2))),
    )


def queries_of_the_layer_before(patch: Patch) -> None:
    """The queries of layer K - 2."""
    real = passes.Passes.at_projection

    def earlier(self: Any, layer: int, name: str, output: Tensor) -> None:
        if self.current is not None and layer == self.current.layer - 2:
            real(self, layer + 1, name, output)

    patch.setattr(passes.Passes, "at_projection", earlier)


def queries_bent(patch: Patch) -> None:
    """Queries are not those that the layer attends with."""
    real = passes.Passes.at_projection
    patch.setattr(
        passes.Passes,
        "at_projection",
        lambda self, layer, name, output: real(self, layer, name, output * output.abs().add(1)),
    )


def newline_lost(patch: Patch) -> None:
    """The last token of an image, a newline where there are any, counts as text."""
    real = hooks.image_index

    def lost(parts: Any, ids: Tensor, attended: Tensor, lengths: Any) -> Tensor:
        index = real(parts, ids, attended, lengths)
        last = (index >= 0) & (index != torch.nn.functional.pad(index, (0, 1), value=-1)[:, 1:])
        return index.masked_fill(last, -1)

    patch.setattr(hooks, "image_index", lost)


def boundary_shifted(patch: Patch) -> None:
    """The first image of a batch gives a token to the next."""
    real = hooks.feature_lengths

    def shifted(parts: Any, features: Any) -> dict[str, list[int]]:
        lengths = real(parts, features)
        for spans in lengths.values():
            if len(spans) > 1:
                spans[0], spans[1] = spans[0] - 1, spans[1] + 1
        return lengths

    patch.setattr(hooks, "feature_lengths", shifted)


def images_numbered_over_the_batch(patch: Patch) -> None:
    """Images are counted over all rows, not in each."""
    real = hooks.image_index

    def numbered(parts: Any, ids: Tensor, attended: Tensor, lengths: Any) -> Tensor:
        index = real(parts, ids, attended, lengths)
        before = index.amax(dim=1, keepdim=True).add(1).cumsum(dim=0).roll(1, dims=0)
        before[0] = 0
        return torch.where(index >= 0, index + before, -1)

    patch.setattr(hooks, "image_index", numbered)


def video_frames_swapped(patch: Patch) -> None:
    """Where a row has two images or frames, each is taken for the other."""
    real = hooks.image_index

    def swapped(parts: Any, ids: Tensor, attended: Tensor, lengths: Any) -> Tensor:
        index = real(parts, ids, attended, lengths)
        two = (index == 1).any(dim=1, keepdim=True)
        return torch.where(two & (index >= 0) & (index < 2), 1 - index, index)

    patch.setattr(hooks, "image_index", swapped)


def batch_rows_swapped(patch: Patch) -> None:
    """Every row drops what another one should."""
    real = Pruner.select
    patch.setattr(Pruner, "select", lambda self, scores, view, keep: real(self, scores, view, keep).roll(1, dims=0))


def lowest_kept(patch: Patch) -> None:
    """The tokens of lowest score stay."""
    real = Pruner.select
    patch.setattr(Pruner, "select", lambda self, scores, view, keep: real(self, -scores, view, keep))


def one_too_few(patch: Patch) -> None:
    """One token less than the budget."""
    real = Pruner.select
    patch.setattr(
        Pruner,
        "select",
        lambda self, scores, view, keep: real(self, scores, view, [max(0, number - 1) for number in keep]),
    )


def text_dropped(patch: Patch) -> None:
    """The first word of every row goes too."""
    real = Pruner.select

    def dropped(self: Any, scores: Tensor, view: Any, keep: list[int]) -> Tensor:
        first = (view.attended & (view.image_index < 0)).cumsum(dim=1) == 1
        return real(self, scores, view, keep) & ~(first & view.attended & (view.image_index < 0))

    patch.setattr(Pruner, "select", dropped)


def one_layer_late(patch: Patch) -> None:
    """Layer K still runs whole."""
    real = passes.Passes.at_layer
    patch.setattr(passes.Passes, "at_layer", lambda self, layer, hidden, inputs: real(self, layer - 1, hidden, inputs))


def order_lost(patch: Patch) -> None:
    """What is left stands in reverse order."""
    real = passes.gather_index
    patch.setattr(passes, "gather_index", lambda kept: tuple(part.flip(1) for part in real(kept)))


def filler_seen(patch: Patch) -> None:
    """The slots that make rows equally long are not masked out."""
    real = passes.gather_index

    def seen(kept: Tensor) -> tuple[Tensor, Tensor]:
        index, real_slots = real(kept)
        return index, torch.ones_like(real_slots)

    patch.setattr(passes, "gather_index", seen)


def kept_forgotten(patch: Patch) -> None:
    """What was kept is forgotten, so that later steps see the padding mask."""
    real = passes.Passes._enter

    def forgetful(self: Any, now: Any, hidden: Tensor, cache: Any) -> Tensor:
        left = real(self, now, hidden, cache)
        if cache is not None and now.index is not None:
            past = self.past[cache]
            self.past[cache] = replace(past, attended=torch.ones_like(past.attended))
        return left

    patch.setattr(passes.Passes, "_enter", forgetful)


def rope_deltas_left_behind(patch: Patch) -> None:
    """What the model remembers of the positions of the last prompt stays on it."""
    real = hooks._kept_attribute

    def kept(owner: Any, name: str) -> Any:
        return real(owner, name if name != "rope_deltas" else "no such attribute")

    patch.setattr(hooks, "_kept_attribute", kept)


MUTANTS = (
    positions_renumbered,
    positions_of_the_neighbour,
    decode_mask_cropped,
    mask_of_the_whole_prompt,
    queries_of_a_neighbour,
    queries_of_the_layer_before,
    queries_bent,
    newline_lost,
    boundary_shifted,
    images_numbered_over_the_batch,
    video_frames_swapped,
    batch_rows_swapped,
    lowest_kept,
    one_too_few,
    text_dropped,
    one_layer_late,
    order_lost,
    filler_seen,
    kept_forgotten,
    rope_deltas_left_behind,
)


def families_for(mutant: Callable[[Patch], None]) -> list[str]:
    """Where a mutant is tried: in three families of different kinds; in all that have the part, if there is time."""
    names = [name for name in FAMILIES if mutant is not rope_deltas_left_behind or name.startswith("Qwen")]
    first = MUTANTS.index(mutant) % 3
    return names if settings().max_examples >= 500 or len(names) == 3 else names[first::3]


def head_dim() -> int:
    return SHAPES[0].head_dim


@pytest.mark.parametrize(
    ("mutant", "name"),
    [(mutant, name) for mutant in MUTANTS for name in families_for(mutant)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_wrong_pruners_are_caught(mutant: Callable[[Patch], None], name: str, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        check(fixed_case(name))
