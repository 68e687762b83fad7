"""Everything `generate` can do, on a pruned model: the same as the whole sequence with dropped tokens masked out.

The reference generates without a cache, so that every step reads the whole sequence again.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import StaticCache

from entropyprune_ref import EntropyPrune
from entropyprune_ref.hf import pruned
from tests.hf.prompts import Part, Prompt, fixed_prompt, make_prompt
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


@pytest.mark.parametrize("name", ["Llava", "LlavaNext", "Qwen2_5_VL"])
def test_words_that_are_guessed_and_taken_back_leave_pruned_generation_as_it_is(name: str) -> None:
    """Speculative decoding reads several words at once, and crops the cache where they are not the answer's."""
    model, prompt = tiny_model(name), fixed_prompt(name).permuted([0])
    with pruned(model, PRUNER):
        one_by_one = generated(model, prompt, do_sample=False, max_new_tokens=12)
        guessed = generated(model, prompt, do_sample=False, max_new_tokens=12, prompt_lookup_num_tokens=3)
    assert guessed.sequences.tolist() == one_by_one.sequences.tolist()


@torch.no_grad()
def test_an_emptied_cache_is_a_new_one() -> None:
    """What was pruned in it before does not count: a text is read whole, and so is what follows it."""
    model, prompt = tiny_model("Llava"), fixed_prompt("Llava")
    text = make_prompt("Llava", [[Part("words", 5)]] * 3).inputs | {"max_new_tokens": 4, "do_sample": False}
    cache = StaticCache(config=model.config.text_config, max_cache_len=40)
    wanted = model.generate(**text)
    with pruned(model, PRUNER):
        generated(model, prompt, past_key_values=cache)
        cache.reset()
        assert torch.equal(model.generate(**text, past_key_values=cache), wanted)


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


@pytest.mark.parametrize("way", ["keywords", "config", "positional"])
def test_steps_are_not_compiled_while_the_model_is_pruned(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the library compiles them for a static cache; hooks must run at every step."""
    model, prompt = tiny_model("Llava"), fixed_prompt("Llava")
    seen: list[bool] = []
    real = type(model)._valid_auto_compile_criteria

    def spy(self: Any, model_kwargs: Any, generation_config: Any) -> bool:
        seen.append(generation_config.disable_compile)
        return real(self, model_kwargs, generation_config)

    monkeypatch.setattr(type(model), "_valid_auto_compile_criteria", spy)
    config = copy.deepcopy(model.generation_config)
    config.max_new_tokens = 3
    inputs = dict(prompt.inputs)
    with torch.no_grad(), pruned(model, PRUNER):
        if way == "keywords":
            model.generate(**inputs, max_new_tokens=3)
        elif way == "config":
            model.generate(**inputs, generation_config=config)
        else:
            model.generate(inputs.pop("input_ids"), config, **inputs)
    assert seen and all(seen)
    assert not config.disable_compile
