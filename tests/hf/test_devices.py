"""Other attention kernels, and weights that are elsewhere: pruned in place all the same."""

from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from transformers import AttentionInterface

from entropyprune_ref import EntropyPrune
from entropyprune_ref.hf import pruned
from tests.hf.laws import play
from tests.hf.prompts import fixed_prompt
from tests.hf.tiny import CLASSES, FAMILIES, tiny_model

PRUNER = EntropyPrune(2, ratio=0.6)
WORDS = torch.full((3, 2), 7)


@pytest.mark.parametrize("name", ["LlavaNext-Mistral", "LlavaOnevision"])
@pytest.mark.filterwarnings(
    "ignore:_compile flag on create_block_mask", "ignore:.*torch.jit.script_method. is deprecated"
)
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_pruned_in_place_with_flex_attention(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not compiled, which takes minutes: the same kernel, written out. The library has none for the other families."""
    model, prompt = tiny_model(name), fixed_prompt(name)
    flex, calls = AttentionInterface()["flex_attention"], []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[1].shape[2])
        return flex(*args, **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, "flex_attention", counted)
    with pruned(model, PRUNER) as run:
        wanted, kept = play(model, prompt, WORDS, "generate"), run.last.kept
        model.set_attn_implementation({"text_config": "flex_attention"})
        try:
            with torch.compiler.set_stance("force_eager"):
                got = play(model, prompt, WORDS, "generate")
        finally:
            model.set_attn_implementation("sdpa")
    assert torch.equal(run.last.kept, kept)
    length, left = prompt.attended.shape[1], run.last.index.shape[1]
    assert calls == [length] * 2 + [left] * 2 + [1] * 8
    for mine, other in zip(got.logits, wanted.logits, strict=True):
        assert (mine - other).abs().max() < 1e-12


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore:The following device_map keys do not match any submodules")
def test_pruned_in_place_with_weights_on_the_disk(name: str, tmp_path: Path) -> None:
    """A checkpoint whose vision tower and layers before, at and behind the prune layer are loaded when they are run."""
    whole = tiny_model(name, dtype=torch.float32)
    prompt = fixed_prompt(name, dtype=torch.float32)
    whole.save_pretrained(tmp_path / "checkpoint")
    places = {f"model.{part}": "disk" for part, _ in whole.model.named_children() if part != "language_model"}
    if name == "LlavaOnevision":
        places["model.vision_tower"] = "cpu"  # accelerate cannot load its pooling head from the disk
    places |= {f"model.{part}": "cpu" for part, _ in whole.model.named_parameters(recurse=False)}  # newlines
    places |= {f"model.language_model.{part}": "cpu" for part in ("embed_tokens", "norm", "rotary_emb")}
    places |= {f"model.language_model.layers.{layer}": "disk" if layer else "cpu" for layer in range(4)}
    model = CLASSES[FAMILIES[name][0]].from_pretrained(
        tmp_path / "checkpoint",
        device_map=places | {"lm_head": "cpu"},
        offload_folder=tmp_path / "offload",
        dtype=torch.float32,
    )
    model.generation_config.eos_token_id = None
    layers = model.get_decoder().layers
    assert [layer.self_attn.q_proj.weight.is_meta for layer in layers] == [False, True, True, True]
    with pruned(whole, PRUNER) as run:
        wanted, kept = play(whole, prompt, WORDS, "generate"), run.last.kept
    with pruned(model, PRUNER) as run:
        got = play(model, prompt, WORDS, "generate")
    assert torch.equal(run.last.kept, kept)
    assert all((mine - other).abs().max() < 1e-4 for mine, other in zip(got.logits, wanted.logits, strict=True))
    assert got.lengths == wanted.lengths
    assert not any(module._forward_pre_hooks for module in model.modules()) and "generate" not in vars(model)
    assert isinstance(layers[2]._hf_hook, accelerate.hooks.ModelHook)
