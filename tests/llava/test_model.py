"""The minimal LLaVA, unpruned: attention, batches, images, dtypes, states, decoding, words and files.

That the architecture is LLaVA's is tested in `tests/parity/test_transformers.py`, pruning in
`tests/llava/test_pruning.py`.
"""

import inspect
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from entropyprune_ref.llava import DecoderConfig, Llava, LlavaConfig, VisionConfig, Vocabulary, pixels
from entropyprune_ref.llava.attention import attend, causal_mask
from entropyprune_ref.llava.cache import LayerCache
from entropyprune_ref.llava.decoder import RMSNorm, rotary_angles, rotate
from entropyprune_ref.llava.vision import VisionTower
from entropyprune_ref.pruner import EntropyPrune
from tests.helpers import (
    IMAGE_TOKEN,
    ROUNDING,
    WORDS,
    Batch,
    batches,
    configs,
    embedded,
    make_batch,
    masked_states,
    random_llava,
    tiny_config,
)

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
seeds = st.integers(0, 2**16)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def prefill(model: Llava, batch: Batch, **options: object):
    images = batch.images if len(batch.images) else None
    return model(images, batch.ids, attended=batch.attended, **options)


# Attention


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(0, 3), st.booleans(), seeds
)
def test_attend_explicit_fused_and_grouped_attention_of_torch_are_equal(
    batch: int, kv_heads: int, groups: int, sequence: int, cached: int, causal: bool, seed: int
) -> None:
    """Written out, through the fused kernel, and PyTorch's own sharing of key/value heads."""
    queries = normal(batch, kv_heads * groups, sequence, 4, seed=seed)
    keys, values = (normal(batch, kv_heads, cached + sequence, 4, seed=seed + i) for i in (1, 2))
    seen = torch.ones(batch, cached + sequence, dtype=torch.bool)
    mask = causal_mask(seen, sequence, torch.device("cpu")) if causal else None
    explicit, fused = (attend(queries, keys, values, mask, kind) for kind in ("explicit", "fused"))
    expected = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(explicit, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(fused, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", ["explicit", "fused"])
@each_dtype
def test_attend_of_a_query_that_may_look_nowhere_is_finite(dtype: torch.dtype, kind) -> None:
    """Padding before any token; with strongly negative scores too, which must not overflow where they are masked."""
    queries = normal(1, 2, 3, 4, seed=0, dtype=dtype).abs() * 30
    keys, values = -queries, normal(1, 2, 3, 4, seed=1, dtype=dtype)
    mask = torch.tensor([[False, False, False], [False, True, False], [False, True, True]])[None, None]
    mixed = attend(queries, keys, values, mask, kind)
    assert torch.isfinite(mixed).all()
    assert torch.equal(mixed[:, :, 1], values[:, :, 1])


def test_causal_mask_on_the_meta_device_has_its_shape() -> None:
    seen = torch.ones(2, 5, dtype=torch.bool, device="meta")
    mask = causal_mask(seen, 3, torch.device("meta"))
    assert mask.is_meta and mask.shape == (2, 1, 3, 5)  # padding cannot be ruled out without values


def test_causal_mask_by_hand() -> None:
    """Two new tokens behind two cached ones, the first of which is padding."""
    attended = torch.tensor([[False, True, True, True]])
    assert causal_mask(attended, 2, torch.device("cpu")).int().tolist() == [[[[0, 1, 1, 0], [0, 1, 1, 1]]]]


@given(configs(), st.data())
def test_llava_explicit_and_fused_attention_are_equal(config: LlavaConfig, data: st.DataObject) -> None:
    """In the tower and in the decoder, with the same weights, in prefill and in decoding."""
    batch = data.draw(batches(config))
    explicit = random_llava(replace(config, attention="explicit"))
    fused = explicit.with_attention("fused")
    outs = [prefill(model, batch) for model in (explicit, fused)]
    seen = batch.attended
    torch.testing.assert_close(outs[1].logits[seen], outs[0].logits[seen], **ROUNDING)
    word = batch.ids[:, :1]
    steps = [model.step(word, out.cache) for model, out in zip((explicit, fused), outs, strict=True)]
    torch.testing.assert_close(steps[1], steps[0], **ROUNDING)


def test_with_attention_shares_the_weights_and_leaves_the_model_alone() -> None:
    explicit = random_llava(tiny_config())
    fused = explicit.with_attention("fused")
    assert fused.config == replace(explicit.config, attention="fused") and explicit.config.attention == "explicit"
    assert {layer.self_attn.attention for layer in (*fused.decoder.layers, *fused.vision_tower.layers)} == {"fused"}
    for mine, theirs in zip(explicit.parameters(), fused.parameters(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
        assert not mine.requires_grad and not theirs.requires_grad
    assert not fused.training and explicit.train().with_attention("fused").training
    learning = explicit.requires_grad_(True).with_attention("fused")
    assert all(weight.requires_grad for weight in (*learning.parameters(), *explicit.parameters()))


# Rotary embedding


@given(st.integers(1, 8).map(lambda half: 2 * half), seeds)
def test_rotate_keeps_norms_and_the_origin(head_dim: int, seed: int) -> None:
    """A rotation, by no angle at position 0. Angles are float32, so cosine and sine are a unit vector to 2^-23."""
    config = replace(tiny_config().decoder, head_dim=head_dim)
    positions = torch.arange(0, 4000, 500)[None]
    vectors = normal(1, 3, 8, head_dim, seed=seed)
    turned = rotate(vectors, rotary_angles(positions, config, torch.float64, torch.device("cpu")))
    torch.testing.assert_close(turned.norm(dim=-1), vectors.norm(dim=-1), rtol=1e-6, atol=0)
    assert torch.equal(turned[:, :, 0], vectors[:, :, 0])


def test_rotary_angles_by_hand() -> None:
    """Head size 4, base 10000: frequencies 1 and 1/100, each twice."""
    config = replace(tiny_config().decoder, head_dim=4)
    cosine, sine = rotary_angles(torch.tensor([[3]]), config, torch.float64, torch.device("cpu"))
    angles = torch.tensor([3.0, 0.03, 3.0, 0.03], dtype=torch.float64)
    torch.testing.assert_close(cosine[0, 0, 0], angles.cos(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(sine[0, 0, 0], angles.sin(), rtol=1e-6, atol=1e-7)


@given(configs(), st.integers(1, 200), st.data())
def test_llava_depends_on_relative_positions_only(config: LlavaConfig, shift: int, data: st.DataObject) -> None:
    """Moving all positions changes nothing, up to the float32 rounding of angles below 240, 240 x 2^-24 = 1.4e-5.

    At most five layers pass it on, as states do that are off by that share: logits of a few units move by as many
    times 1e-4. A sign or a frequency that is wrong moves them by whole units.
    """
    batch, model = data.draw(batches(config)), random_llava(config)
    here = prefill(model, batch, positions=batch.positions)
    there = prefill(model, batch, positions=batch.positions + shift)
    seen = batch.attended
    assert torch.equal(there.cache.next_positions, here.cache.next_positions + shift)
    torch.testing.assert_close(there.logits[seen], here.logits[seen], rtol=5e-4, atol=5e-4)
    assert torch.equal(here.logits, prefill(model, batch).logits)  # the default is to count what is attended


def test_positions_matter() -> None:
    """Stretching them apart is another prompt: the law above is not fulfilled by ignoring them."""
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1]], tiny_config(), 0)
    here, there = (prefill(model, batch, positions=batch.positions * factor).logits for factor in (1, 3))
    assert (here - there).abs().max() > 0.1


# Batches, images, padding


@given(configs(), st.data())
def test_llava_equals_the_layers_one_after_another(config: LlavaConfig, data: st.DataObject) -> None:
    """Embeddings placed token by token, layers on the whole sequence, the norm and the head: what `forward` does."""
    batch, model = data.draw(batches(config, min_images=0)), random_llava(config)
    out = prefill(model, batch, keep_trace=True)
    expected = masked_states(model, batch, torch.ones_like(batch.attended), 0)
    seen = batch.attended
    for got, want in zip(out.states, expected, strict=True):
        torch.testing.assert_close(got[seen], want[seen], **ROUNDING)
    logits = model.lm_head(model.decoder.norm(expected[-1]))
    torch.testing.assert_close(out.logits[seen], logits[seen], **ROUNDING)
    assert torch.equal(out.cache.next_positions, seen.sum(dim=1))
    assert out.kept.all() and out.view is None
    assert torch.equal(out.index, torch.arange(seen.shape[1]).expand_as(out.index))


@given(configs(), st.data())
def test_a_row_of_a_padded_batch_is_the_row_alone(config: LlavaConfig, data: st.DataObject) -> None:
    """Other rows, and padding anywhere with anything in it, change nothing beyond rounding."""
    batch, model = data.draw(batches(config)), random_llava(config)
    out = prefill(model, batch)
    for row in range(len(batch.ids)):
        single = prefill(model, batch.alone(row)).logits[0]
        torch.testing.assert_close(out.logits[row, batch.attended[row]], single, **ROUNDING)


@given(configs(), st.data())
def test_visual_tokens_stand_where_the_placeholders_of_their_image_are(
    config: LlavaConfig, data: st.DataObject
) -> None:
    """State 0, image by image in reading order, in every row and between any words."""
    batch, model = data.draw(batches(config)), random_llava(config)
    state = prefill(model, batch, keep_trace=True).states[0]
    torch.testing.assert_close(state[batch.attended], embedded(model, batch)[batch.attended], **ROUNDING)
    for row in range(len(batch.ids)):
        for image, picture in enumerate(batch.images_of(row)):
            visual = model.projector(model.vision_tower(picture[None]))[0]
            torch.testing.assert_close(state[row, batch.image_index[row] == image], visual, **ROUNDING)


@given(configs(), st.data())
def test_no_token_sees_a_later_one(config: LlavaConfig, data: st.DataObject) -> None:
    """Other words from some place on leave the logits before it as they were."""
    batch, model = data.draw(batches(config)), random_llava(config)
    place = data.draw(st.integers(0, batch.ids.shape[1] - 1), label="place")
    ids = batch.ids.clone()
    later = ~batch.visual & (torch.arange(ids.shape[1]) >= place)
    ids[later] = (ids[later] + 4) % 11  # never 3, the placeholder: words are 0 to 2 and 4 to 10
    ids[later & (ids == IMAGE_TOKEN)] = 5
    before = batch.attended & (torch.arange(ids.shape[1]) < place)
    here, there = prefill(model, batch).logits, prefill(model, replace(batch, ids=ids)).logits
    torch.testing.assert_close(there[before], here[before], **ROUNDING)


def test_the_last_layer_of_the_tower_is_read_by_pooled_alone() -> None:
    """LLaVA reads the penultimate state: gradients reach every other weight, and none there."""
    config = tiny_config()
    model = random_llava(config).requires_grad_(True)
    batch = make_batch([[2, -1, 1]], config, 0)
    prefill(model, batch).logits.square().sum().backward()
    unread = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    last = f"vision_tower.layers.{config.vision.layers - 1}."
    # a bias of the keys moves all scores of a query alike: its gradient is zero to rounding
    assert unread - {"vision_tower.layers.0.self_attn.k_proj.bias"} == {
        name for name, _ in model.named_parameters() if name.startswith((last, "vision_tower.post_layernorm."))
    }
    model.vision_tower.pooled(model.vision_tower.penultimate(batch.images)).square().sum().backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if name.startswith(last))


@pytest.mark.usefixtures("own_checks")
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_an_integer_mask_of_ones_and_zeros_will_do(dtype: torch.dtype) -> None:
    """As tokenizers make it; also pruned and in decoding, where masks are combined."""
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1], [1, -1]], tiny_config(), 0)
    for pruner in (None, EntropyPrune(1, 4)):
        whole = model(batch.images, batch.ids, attended=batch.attended, pruner=pruner)
        again = model(batch.images, batch.ids.int(), attended=batch.attended.to(dtype), pruner=pruner)
        assert torch.equal(again.logits, whole.logits) and again.attended.dtype == torch.bool
        word = batch.ids[:, :1]
        assert torch.equal(model.step(word, again.cache), model.step(word, whole.cache))


# Dtypes


@pytest.mark.parametrize("attention", ["explicit", "fused"])
@each_dtype
def test_llava_runs_in_every_dtype_and_errs_by_its_rounding(dtype: torch.dtype, attention) -> None:
    """In the norm over all logits the error is below 30 units of rounding: a few dozen roundings in a row, which add up
    like a random walk. Float64 itself is compared with the other kind of attention."""
    for seed in range(5):
        config = replace(tiny_config(), attention=attention)
        batch = make_batch([[2, -1, 1], [1, -1, 2, -1], [4, -1]], config, seed)
        other = random_llava(replace(config, attention="explicit"), seed)
        exact = prefill(other, batch).logits[batch.attended]
        model = random_llava(config, seed, dtype)
        out = prefill(model, replace(batch, images=batch.images.to(dtype)), keep_trace=True)
        for tensor in (out.logits, *out.states, *out.queries, out.cache.layers[0].keys, out.cache.layers[0].values):
            assert tensor.dtype == dtype and torch.isfinite(tensor).all()
        error = (out.logits[batch.attended].double() - exact).norm() / exact.norm()
        assert error < 30 * torch.finfo(dtype).eps


@each_dtype
def test_images_of_another_dtype_are_converted(dtype: torch.dtype) -> None:
    model, batch = random_llava(tiny_config(), 0, dtype), make_batch([[2, -1, 1]], tiny_config(), 0)
    assert torch.equal(
        prefill(model, batch).logits, prefill(model, replace(batch, images=batch.images.to(dtype))).logits
    )


def test_rms_norm_of_half_precision_is_computed_in_float32_and_rounded_before_the_weight() -> None:
    """In float16 the square of 300 overflows; in bfloat16 some of 64 numbers tell the two orders of rounding apart."""
    norm = RMSNorm(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0]))
    assert norm.half()(torch.tensor([[300.0, -300.0]], dtype=torch.float16)).tolist() == [[1.0, -2.0]]
    norm = RMSNorm(2, eps=0.0).to(torch.bfloat16)
    with torch.no_grad():
        norm.weight.fill_(1.2890625)  # 165/128, exact in the eight bits of bfloat16
    hidden = torch.arange(1, 65, dtype=torch.float32).reshape(32, 2).to(torch.bfloat16)
    root = hidden.float().square().mean(dim=-1, keepdim=True).sqrt()
    expected = ((hidden.float() / root).bfloat16().double() * 1.2890625).bfloat16()
    assert torch.equal(norm(hidden), expected)
    assert not torch.equal((hidden.float() / root * 1.2890625).bfloat16(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attend_of_half_precision_takes_the_softmax_in_float32(dtype: torch.dtype) -> None:
    """Weights that are rounded once, as those of the public checkpoints: half precision would round powers and sums."""
    queries, keys = torch.zeros(1, 1, 1, 64, dtype=dtype), torch.zeros(1, 1, 64, 64, dtype=dtype)
    queries[..., 0], keys[0, 0, :, 0] = 8.0, torch.linspace(0, 3, 64).to(dtype)
    logits = keys[0, 0, :, 0].double()  # 8 x the first feature / sqrt(64): exact
    values = torch.eye(64, dtype=dtype)[None, None]
    weights = attend(queries, keys, values, None, "explicit")[0, 0, 0].double()
    # in float32 each weight is off by a few units of 2^-24 before it is rounded once: half a unit of its last bit
    error = (weights / logits.softmax(0) - 1).abs().max()
    assert error <= torch.finfo(dtype).eps * 0.5 + 1e-5


class SoftmaxInputs(TorchDispatchMode):
    """Notes the dtype of what enters every softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.ops.aten._softmax.default:
            self.dtypes.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", DTYPES)
def test_attend_hands_the_softmax_float32_at_least(dtype: torch.dtype) -> None:
    """On a CPU the kernel is wide inside and rounds once whatever it gets, so that no value could tell."""
    queries = torch.ones(1, 1, 2, 4, dtype=dtype)
    with SoftmaxInputs() as seen:
        assert attend(queries, queries, queries, None, "explicit").dtype == dtype
    assert seen.dtypes == [torch.float64 if dtype == torch.float64 else torch.float32]


# States and queries


@given(configs(), st.data())
def test_states_and_queries_are_those_of_every_layer(config: LlavaConfig, data: st.DataObject) -> None:
    """L + 1 states, from the embeddings to what the norm of the head reads; L queries, normed, projected and turned."""
    batch, model = data.draw(batches(config)), random_llava(config)
    out = prefill(model, batch, keep_trace=True)
    decoder, (rows, length) = config.decoder, batch.ids.shape
    assert len(out.states) == decoder.layers + 1 and len(out.queries) == decoder.layers
    assert {tuple(state.shape) for state in out.states} == {(rows, length, decoder.hidden)}
    assert {tuple(queries.shape) for queries in out.queries} == {(rows, decoder.heads, length, decoder.head_dim)}
    assert torch.equal(model.lm_head(model.decoder.norm(out.states[-1])), out.logits)
    angles = rotary_angles(out.positions, decoder, torch.float64, torch.device("cpu"))
    for layer, state, queries in zip(model.decoder.layers, out.states, out.queries, strict=False):
        mean_square = state.square().mean(dim=-1, keepdim=True) + decoder.norm_eps
        flat = (state / mean_square.sqrt() * layer.input_layernorm.weight) @ layer.self_attn.q_proj.weight.mT
        expected = rotate(flat.reshape(rows, length, decoder.heads, decoder.head_dim).transpose(1, 2), angles)
        torch.testing.assert_close(queries, expected, **ROUNDING)


def test_the_eps_of_the_norms_is_llama_s_and_clip_s_unless_it_is_given() -> None:
    defaults = [{field.name: field.default for field in fields(kind)} for kind in (DecoderConfig, VisionConfig)]
    assert [default["norm_eps"] for default in defaults] == [1e-6, 1e-5]


def test_the_class_embedding_is_drawn_at_the_scale_of_a_unit_vector() -> None:
    """Of 10,000 numbers: their mean square is 1e-4 to a few per cent."""
    torch.manual_seed(0)
    tower = VisionTower(VisionConfig(hidden=10_000, heads=1, mlp=1, layers=2, image_size=8, patch_size=8))
    assert tower.class_embedding.square().mean().item() == pytest.approx(1e-4, rel=0.1)


def test_states_and_queries_are_kept_on_request_only() -> None:
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1]], tiny_config(), 0)
    plain, traced = prefill(model, batch), prefill(model, batch, keep_trace=True)
    assert plain.states == [] and plain.queries == []
    assert torch.equal(plain.logits, traced.logits)
    reading = model.read(batch.images, batch.ids, 2)
    assert reading.trace.states == [] and len(model.read(batch.images, batch.ids, 2, keep_trace=True).trace.states) == 2
    hidden = reading.trace.hidden
    mask = causal_mask(reading.prompt.attended, hidden.shape[1], model.device)
    assert model.decoder(hidden, reading.prompt.positions, mask, [2]).states == []


# Decoding


@given(configs(), st.data())
def test_decoding_with_the_cache_equals_the_whole_sequence_at_once(config: LlavaConfig, data: st.DataObject) -> None:
    """Five words one by one behind prompts padded anywhere; against the layers on everything, without a cache."""
    batch, model = data.draw(batches(config, min_images=0)), random_llava(config)
    generator = torch.Generator().manual_seed(1)
    words = torch.randint(config.decoder.vocabulary, (len(batch.ids), 5), generator=generator)
    out = prefill(model, batch)
    steps = torch.cat([model.step(word, out.cache) for word in words.split(1, dim=1)], dim=1)
    states = masked_states(model, batch, torch.ones_like(batch.attended), 0, words)[-1][:, -5:]
    torch.testing.assert_close(steps, model.lm_head(model.decoder.norm(states)), **ROUNDING)
    assert out.cache.lengths() == [batch.ids.shape[1] + 5] * config.decoder.layers


def test_positions_given_for_padding_do_not_matter() -> None:
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [1, -1]], config, 0, "left")
    tokens = torch.tensor([[4], [5]])
    logits = []
    for anything in (0, 99):
        positions = torch.where(batch.attended, batch.positions, anything)
        out = model(batch.images, batch.ids, attended=batch.attended, positions=positions)
        logits += [out.last_logits(), model.step(tokens, out.cache)[:, 0]]
    for one, other in zip(logits[:2], logits[2:], strict=True):
        torch.testing.assert_close(one, other, **ROUNDING)


def test_a_prompt_of_one_word_goes_on_at_position_one() -> None:
    attended = torch.tensor([[True, False], [True, True]])
    out = random_llava(tiny_config())(None, torch.tensor([[4, 5], [4, 5]]), attended=attended)
    assert out.cache.next_positions.tolist() == [1, 2]
    early = replace(out, attended=torch.tensor([[True, False], [True, True]]))
    assert torch.equal(early.last_logits(), out.logits[[0, 1], [0, 1]])


def test_positions_before_the_first_word_are_none_below_zero() -> None:
    ids, attended = torch.tensor([[4, 4, 5]]), torch.tensor([[False, False, True]])
    assert random_llava(tiny_config()).read(None, ids, 2, attended).prompt.positions.tolist() == [[0, 0, 0]]


def test_a_cache_that_has_seen_nothing_is_empty() -> None:
    assert len(LayerCache()) == 0


def test_one_reading_can_be_resumed_many_times() -> None:
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [1, -1]], config, 0)
    reading = model.read(batch.images, batch.ids, 1, batch.attended, batch.positions)
    lengths, kept = reading.cache.lengths(), batch.attended.clone()
    kept[:, ::2] &= ~batch.visual[:, ::2]
    first, whole, second = model.resume(reading, kept), model.resume(reading), model.resume(reading, kept)
    assert reading.cache.lengths() == lengths and len(reading.cache.spans) == 1
    assert torch.equal(first.logits, second.logits) and first.cache.lengths() == second.cache.lengths()
    model.step(torch.tensor([[4], [5]]), first.cache)
    assert second.cache.lengths() != first.cache.lengths() and torch.equal(
        model.step(torch.tensor([[4], [5]]), whole.cache),
        model.step(torch.tensor([[4], [5]]), model.resume(reading).cache),
    )


def test_decoder_gives_queries_and_keys_of_the_tokens_it_was_given_not_of_the_cache() -> None:
    decoder = random_llava(tiny_config()).decoder
    hidden = torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions, seen = torch.arange(5)[None], torch.ones(1, 5, dtype=torch.bool)
    whole = decoder(hidden, positions, causal_mask(seen, 5, hidden.device), range(3))
    cache = [LayerCache() for _ in range(3)]
    parts = [
        decoder(hidden[:, a:b], positions[:, a:b], causal_mask(seen[:, :b], b - a, hidden.device), range(3), cache)
        for a, b in ((0, 2), (2, 5))
    ]
    for name in ("queries", "keys"):
        joined = torch.cat([getattr(part, name) for part in parts], dim=2)
        torch.testing.assert_close(joined, getattr(whole, name), **ROUNDING)


@pytest.mark.parametrize("padding", ["left", "right", "anywhere"])
def test_generate_takes_the_likeliest_word_every_time(padding: str) -> None:
    config = tiny_config()
    model, batch = random_llava(config), make_batch([[2, -1, 1], [1, -1, 2, -1], [4, -1]], config, 0, padding)
    answer = model.generate(batch.images, batch.ids, attended=batch.attended, max_new_tokens=6, end=99)
    for row in range(3):
        alone, tokens = batch.alone(row), []
        for _ in range(6):
            more = torch.tensor([tokens], dtype=torch.int64)
            state = masked_states(model, alone, torch.ones_like(alone.attended), 0, more)[-1][0, -1]
            tokens.append(int(model.lm_head(model.decoder.norm(state)).argmax()))
        assert answer.tokens[row].tolist() == tokens


def test_generate_builds_no_graph() -> None:
    model, batch = random_llava(tiny_config()).requires_grad_(True), make_batch([[2, -1, 1]], tiny_config(), 0)
    assert prefill(model, batch).logits.requires_grad
    assert not model.generate(batch.images, batch.ids, max_new_tokens=2).prefill.logits.requires_grad


def test_generate_stops_when_every_row_has_ended_and_pads_with_the_end() -> None:
    """A model that is certain of what follows every word: 4, 5, 6, ..., 11, 11."""
    config = replace(tiny_config(hidden=12), vocabulary=())
    model = random_llava(config)
    with torch.no_grad():
        model.decoder.embed_tokens.weight.copy_(torch.eye(12) * 100)
        for layer in model.decoder.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.down_proj.weight.zero_()
        model.decoder.norm.weight.fill_(1)
        model.lm_head.weight.copy_(torch.eye(12)[torch.tensor([*range(11), 10]) - 1])  # word j follows word j - 1
        model.lm_head.weight[11] += torch.eye(12)[11]
    ids = torch.tensor([[0, 4], [0, 7]])
    assert model.generate(None, ids, max_new_tokens=3).tokens.tolist() == [[5, 6, 7], [8, 9, 10]]
    assert model.generate(None, ids, max_new_tokens=9, end=9).tokens.tolist() == [[5, 6, 7, 8, 9], [8, 9, 9, 9, 9]]
    assert model.generate(None, ids, max_new_tokens=9, end=9).texts == []
    assert model.generate(None, ids, max_new_tokens=1, end=5).tokens.tolist() == [[5], [8]]


def test_same_call_same_bits() -> None:
    model, batch = random_llava(tiny_config()), make_batch([[2, -1, 1], [1, -1]], tiny_config(), 0)
    first, second = prefill(model, batch, keep_trace=True), prefill(model, batch, keep_trace=True)
    assert torch.equal(first.logits, second.logits)
    assert all(map(torch.equal, (*first.states, *first.queries), (*second.states, *second.queries)))


# Words


def test_vocabulary_prompt_by_hand() -> None:
    """Beginning, "user", the visual tokens, the question, "assistant"."""
    words = Vocabulary(WORDS)
    assert words.prompt("what color is circle", 3) == [1, 4, 3, 3, 3, 6, 7, 8, 9, 5]
    assert words.prompt("what", 0) == [1, 4, 6, 5]
    assert (words.pad, words.bos, words.eos, words.image) == (0, 1, 2, IMAGE_TOKEN)


@given(st.lists(st.sampled_from(WORDS[6:]), min_size=1), seeds)
def test_vocabulary_reads_words_whatever_their_case_and_punctuation(words: list[str], seed: int) -> None:
    vocabulary = Vocabulary(WORDS)
    spoken = ", ".join(word.upper() if seed >> i & 1 else word.title() for i, word in enumerate(words))
    assert vocabulary.encode(f"  {spoken}?\n") == [WORDS.index(word) for word in words]
    assert vocabulary.decode(vocabulary.encode(spoken)) == " ".join(words)


def test_vocabulary_decode_ends_at_the_end_and_leaves_special_tokens_out() -> None:
    assert Vocabulary(WORDS).decode([1, 10, 3, 11, 2, 9]) == "red blue"
    assert Vocabulary(WORDS).decode([2]) == ""


def test_special_tokens_cannot_be_written_as_words() -> None:
    """`<eos>` in a question is the unknown word "eos", not the end of the sequence."""
    with pytest.raises(ValueError, match="got 'eos'"):
        Vocabulary(WORDS).encode("what <eos>")


def test_questions_as_text_are_ids_padded_at_the_left() -> None:
    config = tiny_config()
    model, images = random_llava(config), make_batch([[1, -1], [1, -1]], config, 0).images
    texts = ["What color?", "what color is circle"]
    ids = torch.tensor([[0, 0, 1, 4, *[3] * 9, 6, 7, 5], [1, 4, *[3] * 9, 6, 7, 8, 9, 5]])
    attended = torch.arange(16) >= torch.tensor([[2], [0]])
    written, given_ids = model(images, texts), model(images, ids, attended=attended)
    assert torch.equal(written.prompt.ids, ids) and torch.equal(written.prompt.attended, attended)
    assert torch.equal(written.logits, given_ids.logits)


def test_generate_answers_in_words() -> None:
    """The likeliest words one by one, spelled out, up to the end and without what is no word."""
    config = tiny_config()
    model, images = random_llava(config, 1), make_batch([[1, -1], [1, -1]], config, 0).images
    questions = ["what color", "what color is circle"]
    answer = model.generate(images, questions, max_new_tokens=4)
    for row, question in enumerate(questions):
        ids = torch.tensor([Vocabulary(WORDS).prompt(question, config.vision.patches)])
        words: list[str] = []
        while len(words) < 4 and "<eos>" not in words:
            more = torch.tensor([[WORDS.index(word) for word in words]], dtype=torch.int64)
            logits = model(images[row : row + 1], torch.cat([ids, more], dim=1)).logits[0, -1]
            words.append(WORDS[int(logits.argmax())])
        spelled = words[: words.index("<eos>")] if "<eos>" in words else words
        assert answer.texts[row] == " ".join(word for word in spelled if not word.startswith("<"))
    assert len(answer.texts) == 2 and any(answer.texts)


def test_pixels_put_colours_first_and_leave_rows_and_columns() -> None:
    images = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).reshape(2, 4, 5, 3)
    values = pixels(images)
    assert values.shape == (2, 3, 4, 5)
    for image, color, row, column in ((0, 0, 0, 1), (1, 2, 3, 4), (1, 1, 2, 0)):
        assert values[image, color, row, column] == images[image, row, column, color] / 127.5 - 1


def test_pixels_lie_between_minus_one_and_one() -> None:
    """Channels first; 0 is -1 and 255 is 1."""
    image = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    assert pixels(image).tolist() == [[[[-1.0]], [[1.0]], [[pytest.approx(-0.6, abs=1e-6)]]]]
    assert pixels(image).dtype == torch.float32


# Files


@each_dtype
def test_save_and_load_give_the_same_model(dtype: torch.dtype, tmp_path: Path) -> None:
    """Bits, dtype and configuration; ready to evaluate, without gradients."""
    model, path = random_llava(tiny_config(), 0, dtype), tmp_path / "model.safetensors"
    model.save(path)
    again = Llava.from_pretrained(path)
    assert again.config == model.config and again.dtype == dtype
    assert not again.training and not any(weight.requires_grad for weight in again.parameters())
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    batch = make_batch([[2, -1, 1]], tiny_config(), 0)
    assert torch.equal(prefill(again, batch).logits, prefill(model, batch).logits)


def test_save_takes_weights_that_are_views(tmp_path: Path) -> None:
    model = random_llava(tiny_config())
    weight = model.lm_head.weight
    model.lm_head.weight = torch.nn.Parameter(weight.mT.contiguous().mT, requires_grad=False)
    assert not model.lm_head.weight.is_contiguous()
    model.save(tmp_path / "model.safetensors")
    assert torch.equal(Llava.from_pretrained(tmp_path / "model.safetensors").lm_head.weight, weight)


def test_save_leaves_what_was_there_if_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file under the final name is always whole: it is written beside it, then moved."""
    path = tmp_path / "model.safetensors"
    random_llava(tiny_config(), 0).save(path)
    whole = path.read_bytes()

    def fails_half_way(tensors: object, name: str, metadata: object) -> None:
        Path(name).write_bytes(whole[:100])
        raise OSError("disk full")

    monkeypatch.setattr("entropyprune_ref.llava.weights.save_file", fails_half_way)
    with pytest.raises(OSError, match="disk full"):
        random_llava(tiny_config(), 1).save(path)
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]


@given(configs())
def test_config_survives_json(config: LlavaConfig) -> None:
    assert LlavaConfig.from_json(config.to_json()) == config


def test_config_sizes_by_hand() -> None:
    config = tiny_config()
    assert (config.vision.grid, config.vision.patches) == (3, 9)
    size = config.decoder
    assert (size.layers, size.hidden, size.heads, size.kv_heads, size.head_dim, size.mlp) == (3, 12, 4, 2, 6, 10)
    assert (size.vocabulary, size.mlp_matrices) == (12, 3)


def test_sizes_by_default_are_those_of_the_bundled_model() -> None:
    config = Llava.from_pretrained().config
    assert config.vision == VisionConfig()
    default = LlavaConfig(vision=config.vision, decoder=config.decoder, vocabulary=config.vocabulary)
    assert config == default
    assert inspect.signature(Llava.generate).parameters["max_new_tokens"].default == 8
