"""What is not pruned in place is refused with words, before anything is run."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, StaticCache

from entropyprune_ref import EntropyPrune
from entropyprune_ref.hf import FAMILIES as TABLE
from entropyprune_ref.hf import pruned
from tests.hf.prompts import Part, fixed_prompt, make_prompt
from tests.hf.reference import positioned
from tests.hf.tiny import CLASSES, FAMILIES, tiny_model

PRUNER = EntropyPrune(2, ratio=0.5)


@pytest.fixture
def model() -> Iterator[Any]:
    """A model whose settings a test may change."""
    model = tiny_model("Llava")
    text = vars(model.get_decoder().config)
    before, whole = dict(text), dict(vars(model.config))
    yield model
    text.clear()
    text.update(before)
    vars(model.config).update(whole)
    model.eval()


def refused(model: Any, error: type[Exception], message: str, pruner: Any = PRUNER) -> None:
    with pytest.raises(error, match=message), pruned(model, pruner):
        pytest.fail("the block must not be entered")


def test_pruned_refuses_other_models_and_lists_the_families() -> None:
    text = LlamaForCausalLM(LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2))
    known = ", ".join(family.model for family in TABLE.values())
    assert len(TABLE) == 8 and {family.model for family in TABLE.values()} == {cls.__name__ for cls in CLASSES.values()}
    refused(text, TypeError, f"model must be one of {known}, got LlamaForCausalLM")
    refused(tiny_model("Llava").model, TypeError, "got LlavaModel")
    refused(torch.nn.Linear(2, 2), TypeError, "got Linear")
    refused(None, TypeError, "got NoneType")


def test_pruned_refuses_what_is_no_pruner(model: Any, own_checks: None) -> None:
    refused(model, TypeError, "pruner must be an EntropyPrune, got int", 3)


def test_pruned_refuses_a_layer_that_the_model_does_not_have(model: Any) -> None:
    message = r"pruner.layer must lie in \[1, 3\] for a model of 4 layers, got 4"
    refused(model, ValueError, message, EntropyPrune(4, keep=1))


def test_pruned_refuses_layers_that_get_features_of_the_vision_tower_behind_the_prune_layer() -> None:
    model, prompt = tiny_model("Qwen3VL"), fixed_prompt("Qwen3VL")
    config = model.config.vision_config
    before = config.deepstack_visual_indexes
    config.deepstack_visual_indexes = [0, 1]
    try:
        refused(model, ValueError, "pruner.layer must be at least 2: Qwen3VL.* got 1", EntropyPrune(1, keep=1))
        # where the layer is lowered only when the prompt is known
        lowered = EntropyPrune(3, average=4, lower_prune_layer=True)
        with pytest.raises(ValueError, match="must be at least 2"), pruned(model, lowered):
            model(**prompt.permuted([0]).inputs)
    finally:
        config.deepstack_visual_indexes = before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("is_causal", False, "text_config.is_causal = True, got False"),
        ("sliding_window", 4, "text_config.sliding_window = None, got 4"),
        ("attention_chunk_size", 4, "text_config.attention_chunk_size = None, got 4"),
        ("layer_types", ["full_attention"] * 3 + ["sliding_attention"], "layer_types with 'sliding_attention'"),
    ],
)
def test_pruned_refuses_other_than_full_causal_attention(model: Any, name: str, value: Any, message: str) -> None:
    setattr(model.get_decoder().config, name, value)
    refused(model, ValueError, message)


def test_pruned_refuses_decoder_layers_without_known_projections(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = model.get_decoder().layers[0].self_attn
    monkeypatch.delattr("transformers.models.llama.modeling_llama.apply_rotary_pos_emb")
    refused(model, ValueError, "self_attn.apply_rotary_pos_emb beside it, got LlamaDecoderLayer without")
    monkeypatch.undo()
    monkeypatch.setitem(attention._modules, "k_proj", None)
    attention._modules.pop("k_proj")
    refused(model, ValueError, "self_attn.k_proj, got LlamaDecoderLayer without")


def test_pruned_refuses_dropout_in_training(model: Any) -> None:
    prompt = fixed_prompt("Llava")
    model.train()
    with pruned(model, PRUNER) as run:  # nothing is random in it
        model(**positioned(prompt.inputs))
        assert not run.last.kept.all()
    model.config.text_config.attention_dropout = 0.1
    refused(model, ValueError, "without dropout, got training mode with attention_dropout = 0.1")
    with pytest.raises(ValueError, match="training mode"), pruned(model.eval(), PRUNER):
        model.train()(**positioned(prompt.inputs))


def test_pruned_refuses_a_compiled_model(model: Any) -> None:
    model._compiled_call_impl = lambda *args: None
    try:
        refused(model, ValueError, "model must not be compiled")
    finally:
        model._compiled_call_impl = None


def test_pruned_refuses_to_be_nested(model: Any) -> None:
    with pruned(model, PRUNER):
        refused(model, ValueError, "model must not be pruned twice")
        with pruned(tiny_model("VideoLlava"), PRUNER):  # another one may be
            pass
    with pruned(model, PRUNER):
        pass


def test_pruned_refuses_labels(model: Any) -> None:
    prompt = fixed_prompt("Llava")
    with pytest.raises(ValueError, match="labels must be None while the model is pruned"), pruned(model, PRUNER):
        model(**prompt.inputs, labels=prompt.inputs["input_ids"])


@pytest.mark.parametrize("way", ["keyword", "config", "default"])
def test_pruned_refuses_a_prompt_read_in_chunks(model: Any, way: str) -> None:
    prompt = fixed_prompt("Llava")
    config = copy.deepcopy(model.generation_config)
    config.prefill_chunk_size = 4
    more = {"keyword": {"prefill_chunk_size": 4}, "config": {"generation_config": config}, "default": {}}[way]
    before = model.generation_config
    if way == "default":
        model.generation_config = config
    try:
        with pytest.raises(ValueError, match=r"prefill_chunk_size must be None .*, got 4"), pruned(model, PRUNER):
            model.generate(**prompt.inputs, max_new_tokens=2, **more)
    finally:
        model.generation_config = before


@pytest.mark.parametrize("name", FAMILIES)
def test_pruned_refuses_placeholders_that_do_not_match_the_features(name: str) -> None:
    model, prompt = tiny_model(name), fixed_prompt(name).permuted([0])
    with torch.no_grad(), pruned(model, PRUNER):
        inputs = dict(prompt.inputs)
        inputs["input_ids"] = inputs["input_ids"].clone()
        inputs["input_ids"][0, 2] = 7
        with pytest.raises(ValueError, match=r"input_ids must hold one placeholder \(id 3\) for each of the"):
            model(**inputs)
        inputs = {key: value for key, value in prompt.inputs.items() if "pixel" not in key}
        with pytest.raises(ValueError, match="for each of the 0 image features that were given, got "):
            model(**inputs)


def test_pruned_refuses_an_image_torn_between_two_rows(model: Any) -> None:
    """The library counts placeholders over the whole batch, and would put half an image into each row."""
    prompt = make_prompt("Llava", [[Part("words", 1), Part("image", None), Part("words", 4)]] * 2)
    ids = prompt.inputs["input_ids"]
    ids[0, 3], ids[1, 0] = 7, 3
    with pytest.raises(ValueError, match="all placeholders of an image in one row"), pruned(model, PRUNER):
        model(**prompt.inputs)


def test_pruned_refuses_embeddings_in_place_of_ids(model: Any) -> None:
    embeddings = torch.zeros(1, 4, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match="input_ids must be given"), pruned(model, PRUNER):
        model(inputs_embeds=embeddings)


def test_pruned_refuses_masks_of_another_shape(model: Any) -> None:
    prompt = fixed_prompt("Llava")
    length = prompt.attended.shape[1]
    with torch.no_grad(), pruned(model, PRUNER):
        with pytest.raises(ValueError, match=rf"attention_mask must have shape \(3, {length}\), got \(3, 4\)"):
            model(**prompt.inputs | {"attention_mask": prompt.attended[:, :4]})
        whole = torch.ones(3, 1, length, length, dtype=torch.bool)
        with pytest.raises(ValueError, match=rf"must have shape \(batch, tokens\) .* got shape \(3, 1, {length}"):
            model(**prompt.inputs | {"attention_mask": whole})
        static = StaticCache(config=model.config.text_config, max_cache_len=length + 4)
        whole = torch.ones(3, 1, length, length + 4, dtype=torch.bool)  # every token sees those behind it
        with pytest.raises(ValueError, match="must be the causal mask of padded prompts"):
            model(**prompt.inputs | {"attention_mask": whole}, past_key_values=static)


def test_pruned_refuses_several_sequences_in_a_row(model: Any) -> None:
    """The library tells them apart by positions that begin anew, where there is neither a mask nor a cache."""
    prompt = make_prompt("Llava", [[Part("words", 1), Part("image", None), Part("words", 4)]])
    inputs = {name: value for name, value in prompt.inputs.items() if name != "attention_mask"}
    positions = torch.tensor([[*range(11), 0, 1, 2]])
    with torch.no_grad(), pruned(model, PRUNER):
        with pytest.raises(ValueError, match="position_ids must rise by one where there is no attention_mask"):
            model(**inputs, position_ids=positions, use_cache=False)
        with pytest.raises(ValueError, match="cu_seq_lens_q must be None while the model is pruned"):
            model(**inputs, cu_seq_lens_q=torch.tensor([0, 11, 14]))
        model(**inputs, position_ids=torch.arange(14)[None], use_cache=False)


@torch.no_grad()
def test_pruned_refuses_a_cache_that_was_changed_in_between(model: Any) -> None:
    prompt = make_prompt("Llava", [[Part("words", 1), Part("image", None), Part("words", 4)]])
    word = {"input_ids": torch.tensor([[7]])}
    with pruned(model, PRUNER):
        cache = model(**prompt.inputs, use_cache=True).past_key_values
        with pytest.raises(ValueError, match="past_key_values must hold 14 entries in layer 3"):
            model(**word, past_key_values=copy.deepcopy(cache))
        cache.layers[2].crop(-1)
        with pytest.raises(ValueError, match="must hold 9 entries in layer 2, where the prompt was pruned, got 8"):
            model(**word, past_key_values=cache)
    # pruned in another block, and its first layers have read the word by now
    with pytest.raises(ValueError, match="must hold 15 entries in layer 3"), pruned(model, PRUNER):
        model(**word, past_key_values=cache)


@torch.no_grad()
def test_pruned_refuses_another_layer_in_a_later_turn(model: Any) -> None:
    image, words = Part("image", None), Part("words", 3)
    first = make_prompt("Llava", [[words, image, image, words]])
    second = make_prompt("Llava", [[image, words]])
    cache = DynamicCache(config=model.config.text_config)
    with pruned(model, EntropyPrune(2, average=5, lower_prune_layer=True)):
        model(**first.inputs, past_key_values=cache)
        mask = torch.ones(1, 36, dtype=torch.int64)
        with pytest.raises(ValueError, match="must be pruned at the same layer, got 1 and 2"):
            model(**second.inputs | {"attention_mask": mask}, past_key_values=cache)


def test_last_is_an_error_before_the_model_has_run(model: Any) -> None:
    with pruned(model, PRUNER) as run, pytest.raises(ValueError, match="last must be read after the model has run"):
        _ = run.last


@torch.no_grad()
def test_a_pass_that_was_refused_leaves_the_block_usable(model: Any) -> None:
    prompt = fixed_prompt("Llava")
    with pruned(model, PRUNER) as run:
        wanted = model(**prompt.inputs).logits
        with pytest.raises(ValueError, match="average must be"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(PRUNER), "plans", lambda *_: (_ for _ in ()).throw(ValueError("average must be")))
            model(**prompt.inputs)
        assert torch.equal(model(**prompt.inputs).logits, wanted)
        assert not run.last.kept.all()
