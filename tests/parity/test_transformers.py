"""Agreement with Hugging Face's LLaVA: the same weights give the same numbers, with and without pruning.

Their code hard-codes float32 in two places of a float64 model: the mean square of `LlamaRMSNorm`, and the softmax of
eager attention. For float64 the `wide` fixture replaces the name `torch` in the modules that do so by a stand-in which
is PyTorch in everything except that its `float32` is `float64`; their lines run unchanged, with a wider upcast. Rotary
angles are float32 on both sides, by definition of the checkpoints (they say `torch.float`, which the stand-in leaves
alone).

Tolerances are those that the project promises, 1e-9 in float64 and 1e-4 in float32, on numbers of order one to ten. The
worst differences are printed when the file is done.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.clip import modeling_clip
from transformers.models.llama import modeling_llama

from entropyprune_ref import EntropyPrune, Llava
from tests.helpers import IMAGE_TOKEN, Batch, draw_weights, make_batch

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
SHAPES = {
    "square": {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 4},
    "grouped": {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 4},
    "one-key-head": {"hidden_size": 20, "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 4},
    "free-head-size": {"hidden_size": 21, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 10},
    "grouped-free-head-size": {"hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6},
}
LAYOUTS = {  # n: a run of n words, -1: an image
    "one image": [[2, -1, 3]],
    "several images": [[1, -1, 2, -1, -1, 1]],
    "rows of one, two and three images": [[1, -1, 1], [-1, 4, -1, 2], [1, -1, -1, 1, -1, 2]],
    "no image": [[5], [3]],
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
Record = Callable[[str, float], None]


class WideTorch:
    """PyTorch, except that its float32 is float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (modeling_llama, modeling_clip):
        monkeypatch.setattr(module, "torch", WideTorch())


@pytest.fixture(scope="module")
def record(request: pytest.FixtureRequest) -> Iterator[Record]:
    """Remembers the greatest of the numbers under each name, for the summary."""
    greatest: dict[str, float] = {}

    def remember(name: str, error: float) -> None:
        greatest[name] = max(error, greatest.get(name, 0.0))

    yield remember
    terminal = request.config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:  # a worker of pytest-xdist has none
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            terminal.ensure_newline()
            for name, error in sorted(greatest.items()):
                terminal.write_line(f"  worst difference from transformers, {name}: {error:.1e}")


@pytest.fixture(params=TOLERANCE, ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Float32 is compared with their code as it is installed, float64 with its upcasts widened."""
    if request.param == torch.float64:
        request.getfixturevalue("wide")
    return request.param


def their_config(shape: dict[str, int], layers: int = 4) -> LlavaConfig:
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=12,
            intermediate_size=20,
            num_hidden_layers=3,
            num_attention_heads=3,
            image_size=12,
            patch_size=4,
            projection_dim=8,
            layer_norm_eps=0.02,  # neither epsilon is the usual one, and both can be felt
        ),
        text_config=LlamaConfig(
            vocab_size=31,
            intermediate_size=18,
            num_hidden_layers=layers,
            max_position_embeddings=128,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            **{"rms_norm_eps": 0.01, **shape},
        ),
        image_token_index=IMAGE_TOKEN,
        image_seq_length=9,
    )


def their_model(
    shape: dict[str, int], dtype: torch.dtype = torch.float64, attention: str = "eager", seed: int = 0
) -> LlavaForConditionalGeneration:
    """A random model of theirs."""
    model = LlavaForConditionalGeneration(their_config(shape)).eval().to(dtype)
    model.set_attn_implementation(attention)
    draw_weights(model, seed)
    model.generation_config.eos_token_id = None
    return model


def their_inputs(batch: Batch, dtype: torch.dtype) -> dict[str, Tensor]:
    """The batch as their forward takes it; their padding must not hold placeholders."""
    inputs = {"input_ids": batch.ids.masked_fill(~batch.attended, 0), "attention_mask": batch.attended.long()}
    return inputs | ({"pixel_values": batch.images.to(dtype)} if len(batch.images) else {})


def our_inputs(batch: Batch, dtype: torch.dtype) -> dict[str, Tensor | None]:
    pixels = batch.images.to(dtype) if len(batch.images) else None
    return {"images": pixels, "questions": batch.ids, "attended": batch.attended}


def worst(ours: Tensor, theirs: Tensor) -> float:
    return (ours - theirs).abs().max().item()


@torch.no_grad()
def compare(
    shape: dict[str, int], layout: list[list[int]], dtype: torch.dtype, padding: str, attention: str, record: Record
) -> None:
    """Logits and every state of one forward pass, at every token that is not padding."""
    theirs = their_model(shape, dtype, attention)
    ours = Llava.from_transformers(theirs)
    assert ours.dtype == dtype and not any(weight.requires_grad for weight in ours.parameters())
    batch = make_batch(layout, ours.config, 0, padding)
    expected = theirs(**their_inputs(batch, dtype), position_ids=batch.positions, output_hidden_states=True)
    got = ours(**our_inputs(batch, dtype), keep_trace=True)
    seen, tolerance = batch.attended, TOLERANCE[dtype]
    assert len(got.states) == len(expected.hidden_states) == 5
    # their last state has gone through the final norm
    states = [*got.states[:-1], ours.decoder.norm(got.states[-1])]
    errors = [worst(a[seen], b[seen]) for a, b in zip(states, expected.hidden_states, strict=True)]
    error = worst(got.logits[seen], expected.logits[seen])
    record(f"logits, {dtype}", error)
    record(f"hidden states, {dtype}", max(errors))
    assert expected.logits[seen].abs().max() > 1
    assert max(errors) < tolerance and error < tolerance


@every_layout
@every_shape
def test_logits_and_states_equal_those_of_transformers(
    shape: dict[str, int], layout: list[list[int]], dtype: torch.dtype, record: Record
) -> None:
    compare(shape, layout, dtype, "left", "eager", record)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", ["left", "right", "anywhere"])
def test_logits_and_states_equal_those_of_transformers_wherever_padding_stands(
    dtype: torch.dtype, padding: str, attention: str, record: Record
) -> None:
    layout = LAYOUTS["rows of one, two and three images"]
    compare(SHAPES["grouped-free-head-size"], layout, dtype, padding, attention, record)


def test_the_upcast_of_transformers_is_what_the_stand_in_widens(record: Record) -> None:
    """Without it, their float64 model is off by the rounding of float32: the stand-in is needed, and is all that is."""
    theirs = their_model(SHAPES["square"])
    ours = Llava.from_transformers(theirs)
    batch = make_batch(LAYOUTS["one image"], ours.config, 0)
    with torch.no_grad():
        expected = theirs(**their_inputs(batch, torch.float64)).logits
    error = worst(ours(**our_inputs(batch, torch.float64)).logits, expected)
    record("logits, torch.float64 with their float32 inside", error)
    assert TOLERANCE[torch.float64] < error < TOLERANCE[torch.float32]


@every_shape
@torch.no_grad()
def test_visual_tokens_and_the_pooled_vector_equal_those_of_transformers(
    shape: dict[str, int], dtype: torch.dtype, record: Record
) -> None:
    """The tower on its own, CLIP's pooled vector included, which LLaVA does not read."""
    theirs = their_model(shape, dtype)
    ours = Llava.from_transformers(theirs)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    tower = theirs.model.vision_tower(pixels, output_hidden_states=True)
    projected = torch.stack(list(theirs.get_image_features(pixels).pooler_output))
    penultimate = ours.vision_tower.penultimate(pixels)
    errors = [
        worst(penultimate, tower.hidden_states[-2]),
        worst(ours.vision_tower.pooled(penultimate), tower.pooler_output),
        worst(ours.projector(ours.vision_tower(pixels)), projected),
    ]
    record(f"vision tower and projector, {dtype}", max(errors))
    assert max(errors) < TOLERANCE[dtype]


@every_layout
@every_shape
def test_greedy_generation_equals_that_of_transformers(
    shape: dict[str, int], layout: list[list[int]], dtype: torch.dtype
) -> None:
    """Ten words with the cache, padded at the left as they require."""
    theirs = their_model(shape, dtype)
    ours = Llava.from_transformers(theirs)
    batch = make_batch(layout, ours.config, 0, "left")
    expected = theirs.generate(**their_inputs(batch, dtype), max_new_tokens=10, do_sample=False)
    got = ours.generate(**our_inputs(batch, dtype), max_new_tokens=10).tokens
    assert got.tolist() == expected[:, batch.ids.shape[1] :].tolist()
    assert len(set(got.flatten().tolist())) > 1


@every_shape
def test_greedy_generation_ends_where_that_of_transformers_ends(shape: dict[str, int], wide: None) -> None:
    """With the second word of the first row as the end of every answer: rows end at different steps, or not at all."""
    theirs = their_model(shape)
    ours = Llava.from_transformers(theirs)
    batch = make_batch(LAYOUTS["rows of one, two and three images"], ours.config, 0, "left")
    inputs = our_inputs(batch, torch.float64)
    end = int(ours.generate(**inputs, max_new_tokens=2).tokens[0, 1])
    expected = theirs.generate(
        **their_inputs(batch, torch.float64), max_new_tokens=10, do_sample=False, eos_token_id=end, pad_token_id=end
    )
    got = ours.generate(**inputs, max_new_tokens=10, end=end).tokens
    assert got.tolist() == expected[:, batch.ids.shape[1] :].tolist()


def numpy_token_entropy(queries: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eq. 3.1 with numpy alone, for `(heads, tokens, head_dim)`."""
    centred = queries - queries.mean(axis=0)
    gram = np.einsum("htd,gtd->thg", centred, centred)
    levels = np.linalg.eigvalsh(gram / np.trace(gram, axis1=1, axis2=2)[:, None, None]).clip(1e-300)
    return -(levels * np.log(levels)).sum(axis=-1)


class TheirPrunedModel:
    """EntropyPrune composed from their decoder layers, rotary embedding and cache, for one prompt without padding."""

    def __init__(self, model: LlavaForConditionalGeneration, layer: int, keep: int) -> None:
        self.model, self.language = model, model.model.language_model
        self.layer, self.keep, self.cache = layer, keep, DynamicCache()

    def run(self, hidden: Tensor, positions: Tensor, layers: range) -> Tensor:
        """Their layers with a causal mask of our own making over what their cache holds."""
        past, new = self.cache.get_seq_length(layers.start) if len(layers) else 0, hidden.shape[1]
        later = torch.arange(past + new)[None, :] > torch.arange(past, past + new)[:, None]
        mask = torch.zeros(1, 1, new, past + new, dtype=hidden.dtype).masked_fill(later, torch.finfo(hidden.dtype).min)
        rotary = self.language.rotary_emb(hidden, position_ids=positions)
        for index in layers:
            layer = self.language.layers[index]
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary, past_key_values=self.cache)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.lm_head(self.language.norm(hidden))

    def prefill(self, embeddings: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the kept tokens, and which they are."""
        length, total = embeddings.shape[1], len(self.language.layers)
        positions = torch.arange(length)[None]
        before = self.run(embeddings, positions, range(self.layer - 1))
        hidden = self.run(before, positions, range(self.layer - 1, self.layer))
        last = self.language.layers[self.layer - 1]
        queries = last.self_attn.q_proj(last.input_layernorm(before))
        queries = queries.view(length, -1, last.self_attn.head_dim).transpose(0, 1)[None]
        rotary = self.language.rotary_emb(hidden, position_ids=positions)
        queries, _ = modeling_llama.apply_rotary_pos_emb(queries, queries, *rotary)
        places = torch.nonzero(visual).flatten()
        entropy = numpy_token_entropy(queries[0, :, places].double().numpy())
        best = places[np.argsort(-entropy, kind="stable")[: self.keep].copy()]
        left = torch.cat([torch.nonzero(~visual).flatten(), best]).sort().values
        hidden = self.run(hidden[:, left], positions[:, left], range(self.layer, total))
        return self.logits(hidden), left

    def step(self, word: Tensor, position: int) -> Tensor:
        """Logits of the next word; layers before and behind the pruning hold caches of different length."""
        hidden, positions = self.language.embed_tokens(word), torch.tensor([[position]])
        for layers in (range(self.layer), range(self.layer, len(self.language.layers))):
            hidden = self.run(hidden, positions, layers)
        return self.logits(hidden)


@pytest.mark.parametrize(("layer", "share"), [(1, 0.5), (2, 0.25), (3, 0.0), (3, 1.0)])
@every_shape
@torch.no_grad()
def test_pruned_prefill_and_decoding_equal_a_composition_of_the_layers_of_transformers(
    shape: dict[str, int], dtype: torch.dtype, layer: int, share: float, record: Record
) -> None:
    """A padded batch of ours against their layers on each of its rows: tokens kept, logits, and five decoding steps."""
    theirs = their_model(shape, dtype)
    ours = Llava.from_transformers(theirs)
    batch = make_batch(LAYOUTS["rows of one, two and three images"], ours.config, 0)
    pruner = EntropyPrune(layer, ratio=1 - share, over_images="all")
    out = ours(**our_inputs(batch, dtype), pruner=pruner)
    words = torch.randint(31, (3, 5), generator=torch.Generator().manual_seed(1))
    steps = torch.cat([ours.step(word, out.cache) for word in words.split(1, dim=1)], dim=1)
    errors = []
    for row in range(3):
        alone = batch.alone(row)
        visual, length = alone.visual[0], alone.ids.shape[1]
        reference = TheirPrunedModel(theirs, layer, keep=int(share * int(visual.sum())))
        embeddings = theirs(**their_inputs(alone, dtype), output_hidden_states=True).hidden_states[0]
        logits, left = reference.prefill(embeddings, visual)
        assert torch.nonzero(out.kept[row, batch.attended[row]]).flatten().tolist() == left.tolist()
        errors.append(worst(out.logits[row, out.attended[row]], logits[0]))
        for number in range(5):
            expected = reference.step(words[row : row + 1, number : number + 1], length + number)
            errors.append(worst(steps[row, number], expected[0, 0]))
        lengths = [reference.cache.get_seq_length(index) for index in range(4)]
        assert lengths == [length + 5] * layer + [len(left) + 5] * (4 - layer)
    record(f"pruned logits and decoding steps, {dtype}", max(errors))
    assert max(errors) < TOLERANCE[dtype]


def test_from_transformers_copies_weights() -> None:
    """Changing theirs afterwards does not change ours."""
    theirs = their_model(SHAPES["square"])
    ours = Llava.from_transformers(theirs)
    before = ours.lm_head.weight.clone()
    with torch.no_grad():
        theirs.lm_head.weight.zero_()
    assert torch.equal(ours.lm_head.weight, before) and before.abs().sum() > 0


def test_from_transformers_translates_every_size() -> None:
    config = Llava.from_transformers(their_model(SHAPES["grouped-free-head-size"])).config
    decoder, vision = config.decoder, config.vision
    assert (decoder.hidden, decoder.layers, decoder.mlp, decoder.vocabulary) == (16, 4, 18, 31)
    assert (decoder.heads, decoder.kv_heads, decoder.head_dim) == (4, 2, 6)
    assert (vision.hidden, vision.layers, vision.heads, vision.mlp) == (12, 3, 3, 20)
    assert (vision.image_size, vision.patch_size, vision.patches, config.image_token) == (12, 4, 9, IMAGE_TOKEN)


def test_from_transformers_takes_any_placeholder() -> None:
    config = their_config(SHAPES["grouped"])
    config.image_token_id = 9
    assert Llava.from_transformers(LlavaForConditionalGeneration(config)).config.image_token == 9


@pytest.mark.parametrize("theta", [100.0, 1e6])
@torch.no_grad()
def test_rotary_base_and_norm_epsilon_are_taken_over(theta: float, wide: None) -> None:
    shape = SHAPES["grouped"] | {"rope_parameters": {"rope_theta": theta, "rope_type": "default"}, "rms_norm_eps": 0.1}
    theirs = their_model(shape)
    ours = Llava.from_transformers(theirs)
    batch = make_batch(LAYOUTS["one image"], ours.config, 0)
    expected = theirs(**their_inputs(batch, torch.float64)).logits
    assert worst(ours(**our_inputs(batch, torch.float64)).logits, expected) < 1e-9
    assert ours.config.decoder.rope_theta == theta and ours.config.decoder.norm_eps == 0.1


@torch.no_grad()
def test_tied_embeddings_are_taken_over(wide: None) -> None:
    config = their_config(SHAPES["grouped"])
    config.tie_word_embeddings = True
    theirs = LlavaForConditionalGeneration(config).eval().double()
    ours = Llava.from_transformers(theirs)
    batch = make_batch(LAYOUTS["one image"], ours.config, 0)
    expected = theirs(**their_inputs(batch, torch.float64)).logits
    assert worst(ours(**our_inputs(batch, torch.float64)).logits, expected) < 1e-9
    assert torch.equal(ours.lm_head.weight, ours.decoder.embed_tokens.weight)


def test_from_transformers_refuses_a_text_only_llama() -> None:
    llama = LlamaForCausalLM(
        LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    )
    with pytest.raises(ValueError, match=r"model must be a LlavaForConditionalGeneration .*'llava'\), got 'llama'"):
        Llava.from_transformers(llama)


def test_from_transformers_refuses_what_is_not_a_model_of_theirs() -> None:
    with pytest.raises(ValueError, match=r"model must be a LlavaForConditionalGeneration .*, got 'Linear'"):
        Llava.from_transformers(torch.nn.Linear(2, 2))


TINY = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
OTHERS = {  # message: where in the configuration, what there
    r"text_config.model_type = 'llama', got 'qwen2'": ("text_config", Qwen2Config(vocab_size=9, **TINY)),
    r"vision_config.model_type = 'clip_vision_model', got 'siglip_vision_model'": (
        "vision_config",
        SiglipVisionConfig(image_size=8, patch_size=4, **TINY),
    ),
    r"vision_feature_layer = -2, got -1": ("vision_feature_layer", -1),
    r"vision_feature_layer = -2, got \[-2, -1\]": ("vision_feature_layer", [-2, -1]),
    r"vision_feature_select_strategy = 'default', got 'full'": ("vision_feature_select_strategy", "full"),
    r"projector_hidden_act = 'gelu', got 'relu'": ("projector_hidden_act", "relu"),
    r"multimodal_projector_bias = True, got False": ("multimodal_projector_bias", False),
    r"text_config.hidden_act = 'silu', got 'gelu'": ("text_config.hidden_act", "gelu"),
    r"vision_config.hidden_act = 'quick_gelu', got 'gelu'": ("vision_config.hidden_act", "gelu"),
    r"text_config.attention_bias = False, got True": ("text_config.attention_bias", True),
    r"text_config.mlp_bias = False, got True": ("text_config.mlp_bias", True),
    r"vision_config.num_channels = 3, got 1": ("vision_config.num_channels", 1),
    r"text_config.rope_parameters.rope_type = 'default', got 'linear'": (
        "text_config.rope_parameters",
        {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0},
    ),
    r"text_config.is_causal = True, got False": ("text_config.is_causal", False),
    r"text_config.sliding_window = None, got 4": ("text_config.sliding_window", 4),
    r"text_config.attention_chunk_size = None, got 4": ("text_config.attention_chunk_size", 4),
    r"text_config.layer_types = None, got \['full_attention', 'sliding_attention'\]": (
        "text_config.layer_types",
        ["full_attention", "sliding_attention"],
    ),
}


@pytest.mark.parametrize(("message", "change"), OTHERS.items(), ids=[place for place, _ in OTHERS.values()])
def test_from_transformers_refuses_another_architecture(message: str, change: tuple[str, object]) -> None:
    """Each option that the reference does not have is named, instead of being ignored."""
    model = their_model(SHAPES["square"])
    (*path, name), value = change[0].split("."), change[1]
    setattr(getattr(model.config, path[0]) if path else model.config, name, value)
    with pytest.raises(ValueError, match=f"model must have {message}"):
        Llava.from_transformers(model)


def test_from_transformers_takes_full_attention_said_layer_by_layer() -> None:
    model = their_model(SHAPES["square"])
    model.config.text_config.layer_types = ["full_attention"] * 4
    assert Llava.from_transformers(model).config.decoder.layers == 4


def test_from_transformers_refuses_what_has_no_weights_or_no_head() -> None:
    model = their_model(SHAPES["square"])
    with pytest.raises(
        TypeError, match="model must be a LlavaForConditionalGeneration with its weights, got LlavaConfig"
    ):
        Llava.from_transformers(model.config)
    with pytest.raises(ValueError, match="with its lm_head, got LlavaModel without"):
        Llava.from_transformers(model.model)


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
@pytest.mark.parametrize(("layers", "tensor"), [(2, r"layers\.2\."), (9, r"layers\.[34]\.")])
def test_from_transformers_refuses_another_number_of_layers_than_the_configuration_says(
    part: str, layers: int, tensor: str
) -> None:
    model = their_model(SHAPES["square"])
    getattr(model.config, part).num_hidden_layers = layers
    with pytest.raises(ValueError, match=f"tensors of its configuration, got a difference in [a-z_.]*{tensor}"):
        Llava.from_transformers(model)


def test_from_transformers_refuses_weights_of_two_dtypes() -> None:
    model = their_model(SHAPES["square"])
    model.model.language_model.float()
    with pytest.raises(
        ValueError, match=r"all weights in one dtype, got torch.float\d\d \(.*\) and torch.float\d\d \("
    ):
        Llava.from_transformers(model)
