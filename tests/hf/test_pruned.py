"""What a user of `pruned` may rely on besides the one great law: nothing changes but what is pruned."""

import copy
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.masking_utils import flash_attention_mask

import entropyprune_ref.hf
from entropyprune_ref import EntropyPrune, Llava
from entropyprune_ref.hf import pruned
from entropyprune_ref.scorers import RIVALS, LayerView
from tests.hf.laws import cases, length_left, play
from tests.hf.prompts import Part, Prompt, fixed_prompt, make_prompt
from tests.hf.reference import masked_out, positioned
from tests.hf.tiny import FAMILIES, SHAPES, tiny_model

every_family = pytest.mark.parametrize("name", FAMILIES)
few = settings(max_examples=max(4, settings().max_examples // 10))
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
PRUNER = EntropyPrune(2, ratio=0.6)


def called(model: Any, prompt: Prompt, **more: Any) -> Any:
    with torch.no_grad():
        return model(**positioned(prompt.inputs), **more)


@every_family
@few
@given(st.data())
def test_pruning_in_place_that_keeps_all_is_no_pruning_bit_for_bit(name: str, data: st.DataObject) -> None:
    """Logits, states, caches, later steps and generated words."""
    case = data.draw(cases(name))
    model, prompt, words = case.model(), case.prompt, case.words()
    results = []
    for pruner in (EntropyPrune(case.pruner.layer, ratio=0, scorer=case.pruner.scorer), None):
        if pruner is None:
            played = play(model, prompt, words, case.through)
            out = called(model, prompt, output_hidden_states=True, use_cache=True)
        else:
            with pruned(model, pruner) as run:
                played = play(model, prompt, words, case.through)
                out = called(model, prompt, output_hidden_states=True, use_cache=True)
                assert run.last.kept.all()
        results.append([*played.logits, *played.positions, out.logits, *out.hidden_states])
        results[-1] += [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
        if hasattr(model.model, "rope_deltas"):
            model.model.rope_deltas = None
    assert len(results[0]) == len(results[1])
    assert all(map(torch.equal, *results))


@every_family
@few
@given(st.data())
def test_permuting_the_batch_permutes_what_is_pruned_in_place(name: str, data: st.DataObject) -> None:
    """Rows do not depend on each other: not on the images, the padding or the budgets of their neighbours."""
    case = data.draw(cases(name, max_rows=3))
    model, prompt = case.model(), case.prompt
    order = data.draw(st.permutations(range(len(prompt.rows))))
    with pruned(model, case.pruner) as run:
        first, kept, index = called(model, prompt).logits, run.last.kept, run.last.index
        other = called(model, prompt.permuted(order)).logits
        assert torch.equal(run.last.kept, kept[order])
        assert torch.equal(run.last.index, index[order])
    real = index[order] >= 0
    assert (other - first[order])[real].abs().max() < 1e-12


@every_family
def test_positions_of_later_steps_are_those_of_the_unpruned_model(name: str) -> None:
    """Decoding goes on behind the whole prompt, although the later caches are shorter."""
    model, prompt = tiny_model(name), fixed_prompt(name)
    words = torch.full((3, 3), 7)
    with pruned(model, PRUNER) as run:
        ours = play(model, prompt, words, "generate")
    theirs = play(model, prompt, words, "generate")
    assert len(ours.positions) == 4
    assert all(map(torch.equal, ours.positions, theirs.positions))
    positions = run.last.positions
    assert positions is not None
    assert torch.equal(positions, theirs.positions[0][-3:] if positions.ndim == 3 else theirs.positions[0])
    left = length_left(prompt, run.last.kept)
    assert left < prompt.attended.shape[1]
    assert ours.lengths == [prompt.attended.shape[1] + 3] * 2 + [left + 3] * 2


@every_family
def test_states_that_the_model_puts_out_are_whole_before_the_prune_layer_and_short_behind_it(name: str) -> None:
    model, prompt = tiny_model(name), fixed_prompt(name)
    with pruned(model, PRUNER) as run:
        states = called(model, prompt, output_hidden_states=True).hidden_states
    length, left = prompt.attended.shape[1], run.last.index.shape[1]
    assert [state.shape[1] for state in states] == [length] * 3 + [left] * 2
    with masked_out(model, prompt.attended, run.last.kept, 2):
        wanted = called(model, prompt, output_hidden_states=True, use_cache=False).hidden_states
    for got, want in zip(states[:3], wanted[:3], strict=True):
        assert (got - want)[prompt.attended].abs().max() < 1e-12
    rows, slots = (run.last.index >= 0).nonzero(as_tuple=True)
    places = run.last.index[rows, slots]
    for got, want in zip(states[3:], wanted[3:], strict=True):
        assert (got[rows, slots] - want[rows, places]).abs().max() < 1e-12


@every_family
def test_the_view_shows_what_the_layer_before_the_prune_layer_attends_with(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries and keys after rotary embedding, in every family: taken again where the attention function gets them."""
    model, prompt = tiny_model(name), fixed_prompt(name)
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    real = AttentionInterface()["sdpa"]

    def spy(module: Any, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
        if hasattr(module, "q_proj") and module in attentions:
            seen[attentions.index(module)] = query, key
        return real(module, query, key, *args, **kwargs)

    attentions = [layer.self_attn for layer in model.get_decoder().layers]
    with pruned(model, PRUNER, keep_view=True) as run:
        called(model, prompt)
        view = run.last.view
    assert view is not None and view.unrotated is not None
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", spy)
    states = called(model, prompt, output_hidden_states=True).hidden_states
    real_tokens = prompt.attended
    for got, want in zip((view.queries, view.keys), seen[1], strict=True):
        assert (got - want).transpose(1, 2)[real_tokens].abs().max() < 1e-12
    assert (view.hidden - states[2])[real_tokens].abs().max() < 1e-12
    # a rotation keeps the length of every head
    assert (view.unrotated.norm(dim=-1) - view.queries.norm(dim=-1)).abs().max() < 1e-6
    assert (view.unrotated - view.queries).transpose(1, 2)[real_tokens].abs().max() > 0.01


@pytest.mark.parametrize("name", ["LlavaNext", "Qwen3VL"])
@pytest.mark.parametrize("scorer", RIVALS)
def test_every_scorer_chooses_in_place_what_it_says_of_the_view(name: str, scorer: str) -> None:
    model, prompt = tiny_model(name), fixed_prompt(name)
    pruner = EntropyPrune(2, ratio=0.5, scorer=RIVALS[scorer], over_images="all")
    with pruned(model, pruner, keep_view=True) as run:
        called(model, prompt)
    view = run.last.view
    assert isinstance(view, LayerView)
    scores = RIVALS[scorer](view)
    assert torch.equal(scores, run.last.scores)
    for row, count in enumerate(prompt.counts):
        visual = prompt.image_index[row] >= 0
        best = scores[row, visual].sort(descending=True, stable=True).indices[: count - count // 2]
        wanted = torch.zeros(count, dtype=torch.bool).scatter(0, best, True)
        assert run.last.kept[row, visual].sum() == count - -(-count // 2)
        assert torch.equal(run.last.kept[row, visual], wanted) or count % 2


@given(st.data())
@torch.no_grad()
def test_llava_1_5_pruned_in_place_is_the_bundled_model_with_its_weights(data: st.DataObject) -> None:
    """Tokens kept, logits of the prompt and of the steps behind it; two programs of the same method."""
    case = data.draw(cases("Llava"))
    model, prompt, words = case.model(), case.prompt, case.words()
    ours = Llava.from_transformers(model)
    wanted = ours(
        prompt.inputs.get("pixel_values"), prompt.inputs["input_ids"], attended=prompt.attended, pruner=case.pruner
    )
    steps = torch.stack([ours.step(word, wanted.cache)[:, 0] for word in words.split(1, dim=1)], dim=1)
    with pruned(model, case.pruner) as run:
        played = play(model, prompt, words, "steps")
    assert torch.equal(run.last.kept, wanted.kept)
    assert torch.equal(run.last.image_index, wanted.prompt.image_index)
    for row in range(len(prompt.rows)):
        places = wanted.index[row][wanted.attended[row]]
        slots = run.last.index[row] >= 0
        assert run.last.index[row][slots & prompt.attended[row, run.last.index[row]]].tolist() == places.tolist()
        theirs = wanted.logits[row][wanted.attended[row]]
        mine = played.logits[0][row][slots & prompt.attended[row, run.last.index[row]]]
        assert (mine - theirs).abs().max() < 1e-9
    assert (torch.cat(played.logits[1:], dim=1) - steps).abs().max() < 1e-9


def test_newlines_tie_exactly_and_the_earlier_is_kept() -> None:
    """At layer 1 the line breaks of an image have equal queries before rotary embedding, whatever their positions."""
    model = tiny_model("LlavaNext", SHAPES[0])
    prompt = make_prompt("LlavaNext", [[Part("words", 3), Part("image", (24, 12)), Part("words", 2)]])
    # behind the 9 tokens of the whole image: 6 rows of 3 patches and a newline
    newlines = [3 + 9 + 4 * row + 3 for row in range(6)]
    with pruned(model, EntropyPrune(1, keep=5), keep_view=True) as run:
        called(model, prompt)
    scores = run.last.scores[0, newlines]
    assert len(set(scores.tolist())) == 1
    view = run.last.view
    assert view is not None
    assert (view.queries[0, :, newlines[0]] - view.queries[0, :, newlines[1]]).abs().max() > 0.01
    for keep in range(1, 33):
        with pruned(model, EntropyPrune(1, keep=keep)) as run:
            called(model, prompt)
        stays = run.last.kept[0, newlines].tolist()
        assert stays == sorted(stays, reverse=True)


def test_images_of_a_later_turn_are_pruned_too() -> None:
    """Text first, then an image, then another, on one cache: as if the whole had been read at once and masked."""
    model = tiny_model("Llava")
    image, words = Part("image", None), Part("words", 3)
    turns = [
        make_prompt("Llava", [row, row], seed) for seed, row in enumerate([[words], [image, words], [image, words]])
    ]
    cache = DynamicCache(config=model.config.text_config)
    kept, logits, read = [], [], 0
    with torch.no_grad(), pruned(model, PRUNER) as run:
        for turn in turns:
            length = turn.attended.shape[1]
            out = model(
                **turn.inputs | {"attention_mask": torch.ones(2, read + length, dtype=torch.int64)},
                past_key_values=cache,
                position_ids=torch.arange(read, read + length)[None],
            )
            read += length
            kept.append(run.last.kept)
            logits.append(out.logits[:, -1])
    whole = {name: torch.cat([turn.inputs[name] for turn in turns], dim=1) for name in ("input_ids", "attention_mask")}
    pixels = torch.stack([turn.inputs["pixel_values"] for turn in turns[1:]], dim=1).flatten(0, 1)
    with torch.no_grad(), masked_out(model, whole["attention_mask"].bool(), torch.cat(kept, dim=1), 2):
        wanted = model(**whole, pixel_values=pixels, use_cache=False).logits
    ends = [2, 2 + 12, 2 + 24]
    assert (torch.stack(logits, dim=1) - wanted[:, ends]).abs().max() < 1e-12
    left = 3 + 2 * (3 + 3)
    assert [cache.get_seq_length(layer) for layer in range(4)] == [27, 27, left, left]


@every_family
def test_prompts_without_an_image_stay_whole_in_place(name: str) -> None:
    model = tiny_model(name)
    prompt = make_prompt(name, [[Part("words", 5)], [Part("words", 3)]])
    prompt.inputs.pop("mm_token_type_ids", None)
    plain = called(model, prompt).logits
    with pruned(model, PRUNER) as run:
        assert torch.equal(called(model, prompt).logits, plain)
        assert run.last.kept.all() and (run.last.image_index == -1).all() and not run.last.scores.any()
        assert [plan.keep for plan in run.last.plan] == [0, 0]
        assert run.last.index.tolist() == [list(range(5))] * 2


DTYPES = {torch.float32: 2e-4, torch.bfloat16: 0.15, torch.float16: 0.02}
"""Worst difference of logits of order one to five: some hundred roundings of the dtype."""


@every_family
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pruned_in_place_is_masked_out_in_every_dtype(name: str, attention: str, dtype: torch.dtype) -> None:
    model, prompt = tiny_model(name, dtype=dtype, attention=attention), fixed_prompt(name, dtype=dtype)
    with pruned(model, PRUNER) as run:
        logits = called(model, prompt).logits
    assert logits.dtype == dtype
    with masked_out(model, prompt.attended, run.last.kept, 2):
        wanted = called(model, prompt, use_cache=False).logits
    rows, slots = (run.last.index >= 0).nonzero(as_tuple=True)
    error = (logits[rows, slots] - wanted[rows, run.last.index[rows, slots]]).abs().max()
    assert error < DTYPES[dtype]


@every_family
def test_flash_attention_gets_no_positions_with_gaps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for it, which takes a padding mask, and takes gaps in positions for the ends of packed sequences."""
    model, prompt = tiny_model(name), fixed_prompt(name).permuted([0])
    sdpa = AttentionInterface()["sdpa"]
    positions: dict[int, Any] = {}

    def flash(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any) -> Any:
        assert attention_mask is None or attention_mask.ndim == 2
        if module in attentions:
            positions[attentions.index(module)] = kwargs.get("position_ids")
            length = key.shape[2]
            order = torch.arange(length)
            allowed = (order[None] <= order[length - query.shape[2] :, None])[None, None]
            if attention_mask is not None:
                allowed = allowed & attention_mask[:, None, None, :].bool()
            return sdpa(module, query, key, value, allowed, **kwargs | {"is_causal": False})
        return sdpa(module, query, key, value, attention_mask, **kwargs)

    attentions = [layer.self_attn for layer in model.get_decoder().layers]
    monkeypatch.setitem(AttentionInterface._global_mapping, "packed_stand_in", flash)
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, "packed_stand_in", flash_attention_mask)
    words = torch.full((1, 2), 7)
    with pruned(model, PRUNER):
        wanted = play(model, prompt, words, "generate").logits
        model.set_attn_implementation("packed_stand_in")
        try:
            got = play(model, prompt, words, "generate").logits
        finally:
            model.set_attn_implementation("sdpa")
    assert all((mine - other).abs().max() < 1e-12 for mine, other in zip(got, wanted, strict=True))
    assert positions[2] is None and positions[3] is None


def test_gradients_flow_through_what_is_left_with_activation_checkpointing_too() -> None:
    """Of the logits of a pruned prompt, with respect to the word embeddings: those of the masked model."""
    model, prompt = tiny_model("Llava"), fixed_prompt("Llava")
    weight = model.get_input_embeddings().weight
    gradients = []

    def loss(logits: Tensor, index: Tensor) -> Tensor:
        rows, slots = (run.last.index >= 0).nonzero(as_tuple=True)
        return logits[rows, index[rows, slots]].square().sum()

    inputs = positioned(prompt.inputs)
    try:
        weight.requires_grad_(True)
        for checkpointing in (False, True):
            if checkpointing:
                model.train().activation_checkpointing_enable()
            with pruned(model, PRUNER) as run:
                logits = model(**inputs, use_cache=False).logits
                value = loss(logits, torch.arange(logits.shape[1]).expand(3, -1))
                gradients += torch.autograd.grad(value, weight)
        with masked_out(model.eval(), prompt.attended, run.last.kept, 2):
            gradients += torch.autograd.grad(loss(model(**inputs, use_cache=False).logits, run.last.index), weight)
    finally:
        model.activation_checkpointing_disable()
        weight.requires_grad_(False)
        model.eval()
    scale = gradients[2].abs().max()
    assert scale > 1
    assert all((gradient - gradients[2]).abs().max() < 1e-12 * scale for gradient in gradients)


def snapshot(model: Any) -> dict[str, Any]:
    """All attributes of all modules, hooks among them, by identity and content."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                found |= {f"{name}.{key}.{part}": id(item) for part, item in value.items()}
            else:
                found[f"{name}.{key}"] = copy.copy(value) if isinstance(value, dict) else id(value)
    return found


@every_family
@pytest.mark.parametrize("fails", [False, True])
def test_after_the_block_the_model_is_as_before(name: str, fails: bool) -> None:
    """No hook, no attribute, the same bits; after an exception in the middle of the decoder too."""
    model, prompt = tiny_model(name), fixed_prompt(name)
    before = called(model, prompt, output_hidden_states=True).logits  # the library installs hooks of its own here
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    attributes = snapshot(model)

    def broken(view: LayerView) -> Tensor:
        raise RuntimeError("the scorer is broken")

    pruner = EntropyPrune(2, ratio=0.6, scorer=broken if fails else None)
    if fails:
        with pytest.raises(RuntimeError, match="the scorer is broken"), pruned(model, pruner):
            model.generate(**prompt.inputs, max_new_tokens=2, do_sample=False)
    else:
        with pruned(model, pruner):
            model.generate(**prompt.inputs, max_new_tokens=2, do_sample=False)
            called(model, prompt.permuted([1, 0]))
    assert snapshot(model) == attributes
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(called(model, prompt).logits, before)
    with pruned(model, PRUNER) as run:
        called(model, prompt)
        assert not run.last.kept.all()


@pytest.mark.parametrize(
    ("version", "message"), [(None, "which is not installed"), ("5.4.0", "5.23 or newer, got 5.4.0")]
)
def test_hf_names_the_extra_where_transformers_is_missing_or_old(
    version: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", installed)
    spec = importlib.util.find_spec("entropyprune_ref.hf")
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match=message) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert "entropyprune-ref[interop]" in str(caught.value)


def test_hf_does_not_know_the_bundled_model() -> None:
    folder = Path(entropyprune_ref.hf.__file__).parent
    assert not [path.name for path in folder.glob("*.py") if "llava import" in path.read_text()]
