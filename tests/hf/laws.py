"""What must hold of one pruned prompt, whatever the model: checked at once on one draw, since models are not cheap."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from entropyprune_ref import EntropyPrune
from entropyprune_ref.hf import pruned
from entropyprune_ref.pruning import split_keep
from entropyprune_ref.scorers import HiddenNorm, LastTokenAttention, QueryNorm
from entropyprune_ref.scoring import CONVENTIONS, PAPER
from tests.hf.prompts import Prompt, fixed_prompt, prompts
from tests.hf.reference import Forced, masked_out, positioned, with_words
from tests.hf.tiny import SHAPES, WORDS, Shape, tiny_model

# Float64 through at most five decoder layers with sums of less than 200 terms: 200 x 2^-53 x 10 numbers of order ten.
TOLERANCE = 1e-12
STEPS = 2


@dataclass
class Case:
    """A model, a prompt for it, and a pruner."""

    name: str
    shape: Shape
    seed: int
    prompt: Prompt
    pruner: EntropyPrune
    attention: str = "sdpa"
    through: str = "generate"

    def model(self) -> Any:
        return tiny_model(self.name, self.shape, self.seed, attention=self.attention)

    def words(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randint(WORDS.start, WORDS.stop, (len(self.prompt.attended), STEPS), generator=generator)


def fixed_case(name: str) -> Case:
    """Three rows, padded, with several images, one and none."""
    pruner = EntropyPrune(2, ratio=0.6, convention=PAPER)
    return Case(name, SHAPES[0], 1, fixed_prompt(name), pruner, through="steps")


@st.composite
def cases(draw: st.DrawFn, name: str, max_rows: int = 2) -> Case:
    """Any shape, any prompt, any budget."""
    shape = draw(st.sampled_from(SHAPES), label="shape")
    prompt = draw(prompts(name, max_rows))
    layer = draw(st.integers(1, shape.layers - 1), label="prune layer")
    smallest = min(count for count in prompt.counts if count)
    kind = draw(st.sampled_from(["keep", "ratio", "average"]), label="budget")
    budget = {
        "keep": st.integers(0, smallest),
        "ratio": st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
        "average": st.integers(-(-max(prompt.counts) * layer // shape.layers), smallest),
    }
    # an average that is feasible at layer 1 lowers the prune layer, if all rows have as many visual tokens
    lowered = kind == "average" and len(set(prompt.counts) - {0}) == 1 and draw(st.booleans(), label="lowered")
    if lowered:
        budget["average"] = st.integers(-(-smallest // shape.layers), smallest)
    elif kind == "average" and -(-max(prompt.counts) * layer // shape.layers) > smallest:
        kind = "ratio"
    convention = draw(st.sampled_from([*CONVENTIONS.values(), None]), label="convention")
    scorer = draw(st.sampled_from([LastTokenAttention(), QueryNorm(), HiddenNorm()])) if convention is None else None
    pruner = EntropyPrune(
        layer,
        convention=convention,
        scorer=scorer,
        over_images=draw(st.sampled_from(["each", "all"]), label="over_images"),
        lower_prune_layer=lowered,
        **{kind: draw(budget[kind], label=kind)},
    )
    right = bool((~prompt.attended[:, -1]).any())
    return Case(
        name,
        shape,
        draw(st.integers(0, 2**16), label="model seed"),
        prompt,
        pruner,
        draw(st.sampled_from(["sdpa", "eager"]), label="attention"),
        "steps" if right else draw(st.sampled_from(["generate", "steps"]), label="through"),
    )


@dataclass
class Played:
    """What came out of a prompt and some forced words behind it: one set of logits a call of the model."""

    logits: list[Tensor]
    lengths: list[int]
    positions: list[Tensor]
    run: Any = None


@torch.no_grad()
def play(model: Any, prompt: Prompt, words: Tensor, through: str) -> Played:
    """Reads the prompt and says the words, with the cache."""
    logits: list[Tensor] = []
    seen: list[Tensor] = []
    handles = [
        model.lm_head.register_forward_hook(lambda module, args, output: logits.append(output)),
        model.get_decoder().register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
        ),
    ]
    try:
        if through == "generate":
            forced = Forced(torch.cat([words, words[:, :1]], dim=1), prompt.attended.shape[1])
            out = model.generate(
                **prompt.inputs,
                max_new_tokens=words.shape[1] + 1,
                do_sample=False,
                logits_processor=[forced],
                return_dict_in_generate=True,
            )
            cache = out.past_key_values
        else:
            cache = model(**positioned(prompt.inputs), use_cache=True).past_key_values
            for step in range(1, words.shape[1] + 1):
                inputs = positioned(with_words(prompt, words[:, :step]))
                step_inputs = {
                    "input_ids": inputs["input_ids"][:, -1:],
                    "attention_mask": inputs["attention_mask"],
                    "past_key_values": cache,
                }
                positions = inputs.get("position_ids")
                if positions is None:  # the library's own would have the length of the mask
                    grids = {name: value for name, value in inputs.items() if "pixel" not in name}
                    positions = model.model.get_rope_index(**grids)[0]
                model(**step_inputs, position_ids=positions[..., -1:])
    finally:
        for handle in handles:
            handle.remove()
    layers = len(model.get_decoder().layers)
    return Played(logits, [int(cache.get_seq_length(layer)) for layer in range(layers)], seen)


def entropies(queries: Tensor, released: bool, row_normalized: bool) -> Any:
    """Eq. 3.1, 3.2 or 3.3 with numpy alone, for `(tokens, heads, head_dim)`."""
    values = queries.double().numpy()
    values = values - values.mean(axis=1, keepdims=True)
    if row_normalized:
        values = values / np.linalg.norm(values, axis=2, keepdims=True)
    gram = values @ values.transpose(0, 2, 1)
    heads = gram.shape[-1]
    scale = heads if released else np.trace(gram, axis1=1, axis2=2)[:, None, None]
    levels = np.linalg.eigvalsh(gram / scale).clip(1e-10 if released else 1e-300)
    return -(levels * np.log(levels)).sum(axis=-1) / (np.log(heads) if released else 1.0)


def check_kept(case: Case, kept: Tensor, queries: Tensor) -> None:
    """Text stays, every image keeps its share, and no dropped token outscores a kept one."""
    index, pruner = case.prompt.image_index, case.pruner
    assert kept[index < 0].all()
    for row, count in enumerate(case.prompt.counts):
        if not count:
            continue
        keep = pruner.plan(count, case.shape.layers).keep
        images = [index[row] == image for image in range(int(index[row].max()) + 1)]
        shares = split_keep(keep, [int(image.sum()) for image in images])
        if pruner.over_images == "all":
            images, shares = [index[row] >= 0], [keep]
        for image, share in zip(images, shares, strict=True):
            assert int(kept[row, image].sum()) == share
            if pruner.convention is None:
                continue
            name = pruner.convention.name
            scores = entropies(queries[row, : len(image)][image], name == "released", name == "row_normalized")
            stays = kept[row, image].numpy()
            if stays.any() and not stays.all():
                # newlines tie, to rounding
                assert scores[stays].min() >= scores[~stays].max() - 1e-9


def length_left(prompt: Prompt, kept: Tensor) -> int:
    """How long the batch is behind the prune layer: as the row with most tokens left; as before if all are kept."""
    return kept.shape[1] if kept.all() else int((kept & prompt.attended).sum(dim=1).max())


def check(case: Case) -> float:
    """Asserts every law and returns the worst error of a logit."""
    model, words, prompt = case.model(), case.words(), case.prompt
    layer = case.pruner.plan(max(prompt.counts), case.shape.layers).prune_layer
    with pruned(model, case.pruner) as run:
        played = play(model, prompt, words, case.through)
    assert getattr(model.model, "rope_deltas", None) is None
    last = run.last
    assert torch.equal(last.image_index, prompt.image_index)
    assert torch.equal(last.attended, prompt.attended)
    kept = last.kept
    longer = torch.cat([kept, torch.ones_like(words, dtype=torch.bool)], dim=1)
    inputs = positioned(with_words(prompt, words))
    if case.through == "generate" and "second_per_grid_ts" in inputs:
        # `generate` puts the words where the longest axis of a video ends, the whole sequence where its picture does
        inputs["position_ids"] = torch.cat(play(model, prompt, words, "generate").positions, dim=-1)
    with torch.no_grad(), masked_out(model, inputs["attention_mask"].bool(), longer, layer) as seen:
        wanted = model(**inputs, use_cache=False).logits
    check_kept(case, kept, seen["queries"])

    before, left = kept.shape[1], length_left(prompt, kept)
    layers = range(case.shape.layers)
    assert played.lengths == [(before if number < layer else left) + STEPS for number in layers]
    assert len(played.logits) == STEPS + 1
    errors = []
    for row in range(len(kept)):
        places = (kept[row] if kept.all() else kept[row] & prompt.attended[row]).nonzero().squeeze(-1)
        got = played.logits[0][row]  # the last one only, in `generate`
        if case.through == "steps":
            assert len(got) == left
        places = places[-len(got) :]
        real = prompt.attended[row, places]
        errors.append((got[-len(places) :] - wanted[row, places])[real].abs().amax())
        for step in range(STEPS):
            assert played.logits[1 + step].shape[1] == 1
            errors.append((played.logits[1 + step][row, 0] - wanted[row, before + step]).abs().amax())
    worst = float(torch.stack(errors).amax())
    assert wanted.abs().max() > 0.1
    assert worst <= TOLERANCE, worst
    return worst
