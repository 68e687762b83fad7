"""Everything `generate` can do, on a pruned model: the same as the whole sequence with dropped tokens masked out.

The reference generates without a cache, so that every step reads the whole sequence again.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from entropyprune_ref import EntropyPrune
from entropyprune_ref.hf import pruned
from tests.hf.prompts import Prompt, fixed_prompt
from tests.hf.reference import Forced, masked_out, positioned, with_words
from tests.hf.tiny import FAMILIES, IMAGE, VIDEO, WORDS, tiny_model

every_family = pytest.mark.parametrize("name", FAMILIES)
PRUNER = EntropyPrune(2, ratio=0.6)
TOLERANCE = 1e-11  # log probabilities, through three steps
SILENT = {"suppress_tokens": [IMAGE, VIDEO], "max_new_tokens": 4, "return_dict_in_generate": True}
MODES = {
    "greedy": {"do_sample": False, "output_scores": True},
    "sampling": {"do_sample": True, "top_k": 5, "output_scores": True},
    "beams": {"do_sample": False, "num_beams": 3, "output_scores": True},
}


@torch.no_grad()
def generated(model: Any, prompt: Prompt, **more: Any) -> Any:
    torch.manual_seed(0)
    return model.generate(**prompt.inputs, **(SILENT | more))


def assert_same(ours: Any, theirs: Any) -> None:
    assert ours.sequences.tolist() == theirs.sequences.tolist()
    for mine, other in zip(ours.scores, theirs.scores, strict=True):
        finite = other.isfinite()
        assert torch.equal(mine.isfinite(), finite)
        assert (mine[finite] - other[finite]).abs().max() < TOLERANCE


@every_family
@pytest.mark.parametrize("mode", MODES)
def test_pruned_generation_equals_generation_with_dropped_tokens_masked_out(name: str, mode: str) -> None:
    model, prompt = tiny_model(name), fixed_prompt(name)
    with pruned(model, PRUNER) as run:
        ours = generated(model, prompt, **MODES[mode])
    copies = 3 if mode == "beams" else 1
    assert torch.equal(run.last.image_index, prompt.image_index.repeat_interleave(copies, dim=0))
    kept = run.last.kept[::copies]
    with masked_out(model, prompt.attended, kept, PRUNER.layer):
        theirs = generated(model, prompt, use_cache=False, **MODES[mode])
    assert_same(ours, theirs)
    assert len(set(ours.sequences[:, prompt.attended.shape[1] :].flatten().tolist())) > 1


@every_family
def test_pruned_generation_without_a_cache_prunes_alike_at_every_step(name: str) -> None:
    model, prompt = tiny_model(name), fixed_prompt(name)
    with pruned(model, PRUNER) as run:
        cached = generated(model, prompt, **MODES["greedy"])
        kept = run.last.kept
        assert_same(generated(model, prompt, use_cache=False, **MODES["greedy"]), cached)
        assert torch.equal(run.last.kept[:, : kept.shape[1]], kept)
        assert run.last.kept.shape[1] == kept.shape[1] + 3


@pytest.mark.parametrize(("name", "attention"), [*((name, "sdpa") for name in FAMILIES), ("LlavaNext", "eager")])
def test_pruned_generation_with_a_static_cache_is_that_with_a_growing_one(name: str, attention: str) -> None:
    model, prompt = tiny_model(name, attention=attention), fixed_prompt(name)
    with pruned(model, PRUNER):
        growing = generated(model, prompt, **MODES["greedy"])
        static = generated(model, prompt, cache_implementation="static", **MODES["greedy"])
    assert_same(static, growing)
    assert type(static.past_key_values).__name__ == "StaticCache"
    lengths = [int(static.past_key_values.get_seq_length(layer)) for layer in range(4)]
    assert lengths == [growing.past_key_values.get_seq_length(layer) for layer in range(4)]
    assert lengths[1] > lengths[2]


@every_family
@torch.no_grad()
def test_a_second_turn_on_the_same_cache_goes_on_from_the_pruned_prompt(name: str) -> None:
    """Several words at once behind a prompt and an answer, as a chat does it."""
    model, prompt = tiny_model(name), fixed_prompt(name)
    if "second_per_grid_ts" in prompt.inputs:
        # words behind a slow video stand elsewhere in a later step than in the whole sequence, unpruned too
        prompt.inputs["second_per_grid_ts"] = torch.tensor([0.25])
    logits: list[Tensor] = []
    words = torch.randint(WORDS.start, WORDS.stop, (3, 7), generator=torch.Generator().manual_seed(0))
    length = prompt.attended.shape[1]
    with pruned(model, PRUNER) as run:
        first = generated(model, prompt, logits_processor=[Forced(words[:, :4], length)], do_sample=False)
        kept = run.last.kept
        handle = model.lm_head.register_forward_hook(lambda module, args, output: logits.append(output))
        turn = with_words(prompt, words[:, :6])
        turn = {key: value for key, value in turn.items() if "pixel" not in key and key != "image_sizes"}
        model.generate(
            **turn,
            past_key_values=first.past_key_values,
            max_new_tokens=2,
            do_sample=False,
            logits_processor=[Forced(words[:, 6:].repeat(1, 2), length + 6)],
        )
        handle.remove()
    whole = positioned(with_words(prompt, words))
    with masked_out(model, whole["attention_mask"].bool(), torch.cat([kept, torch.ones_like(words).bool()], 1), 2):
        wanted = model(**whole, use_cache=False).logits
    got = torch.stack([step[:, -1] for step in logits], dim=1)
    assert (got - wanted[:, -2:]).abs().max() < TOLERANCE
