"""Contract of section 5 as a whole: a prefill that is pruned on the way, judged end to end on small random decoders.

Selection and arithmetic are judged apart. What a candidate kept is held against exact scores, with room for their
rounding. Its logits are held against the strongest oracle there is for what it kept: the full forward pass in float64
in which dropped tokens are masked out as keys from the prune layer on.

A candidate is called as `PRUNED_PREFILL.call` says, always with all of these, on one prompt without a batch axis:

- `weights`: arrays by the names of Hugging Face checkpoints (`layers.0.self_attn.q_proj.weight`,
  `layers.0.mlp.gate_proj.weight`, `layers.0.input_layernorm.weight`, ..., `norm.weight`, `lm_head.weight`);
- `embeddings`: `(sequence, hidden)`, state 0; `positions`: `(sequence,)`, rotary positions. Causal is who comes
  earlier in the sequence, whatever the positions; what stands in padding is arbitrary in both;
- `prune_layer`: the first layer that runs pruned, at least 1; `keep`: visual tokens that remain, over all images;
- `image_index`: `(sequence,)`, the image that a visual token belongs to (0, 1, ...), -1 for words and padding;
  `attended`: `(sequence,)`, False for padding, which may stand anywhere;
- `sizes`: a dictionary of `layers`, `hidden`, `heads`, `kv_heads`, `head_dim`, `mlp`, `vocabulary`, `rope_theta` and
  `norm_eps`;
- `kept`: `None`, or the indices of the sequence that are to remain, words among them, whatever the scores say;
- `continuation`: `None`, or `(steps, hidden)`, embeddings of tokens that are decoded one after the other, at the
  positions behind the largest of the prompt.

It returns the indices of what remains, ascending (all words, and `keep` visual tokens), and one row of logits for each
of them and for each token of the continuation. Which convention of token entropy it implements is said to `check`.

Rotary angles may be those of float32, as in public checkpoints, also where the weights are float64. So a check in
float64 resolves what is wrong by more than that, and does not tell whether the rest is computed in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...pruning import select_tokens, split_keep
from ...scoring import token_entropy
from ..inputs.case import Setting
from ..inputs.prompts import Prompt, build, prompts, real
from ..plain.decoder import Run, masked_run, pruned_run
from ..tolerances import decoder_allowance, disputed, token_score_error
from ..trial.arrays import take
from ..trial.memory import remembered
from ..trial.trial import Broken, Trial
from .contract import Contract, Inputs, Law, Named
from .masked import masked_prefill

STATEMENTS = {
    "injected prefill": "with the selection given, logits are those of the full pass that masks dropped tokens out",
    "injected decoding": "decoded tokens see the whole prompt before the prune layer and what remains from it on",
    "given positions": "tokens keep the rotary positions that were given, and decoding goes on behind the largest",
    "mask": "no token attends to padding, wherever it stands, before the prune layer or after",
    "grouped queries": "consecutive query heads share a key/value head, and scores are over all query heads",
    "remaining indices": "what remains is given as indices of the sequence: integers, each once, ascending",
    "text stays": "no word is dropped",
    "padding": "padding does not remain, and does not count",
    "budget": "exactly `keep` visual tokens remain",
    "own selection": "the visual tokens that remain have the highest entropy of queries of layer prune_layer - 1",
    "several images": "every image keeps its share of the budget (Eq. 5.4), its own highest scores",
    "real sizes": "all of it holds for deep decoders, long prompts and far positions",
    "views": "weights and embeddings are read as what they are, however they lie in memory",
    "no image": "a prompt without an image is not pruned",
    "keep all": "a prefill that keeps all is the prefill without pruning",
    "keep none": "a prefill that keeps none goes on with the words alone",
    "end to end": "indices, selection and logits hold together, for every prompt and decoder",
}


@dataclass
class Answer:
    """What a candidate answered to a prompt, and what it is judged by.

    Attributes:
        trial: Trial of the candidate.
        prompt: Prompt that it was given.
        kept: `(remaining,)`, indices, in range and ascending.
        logits: `(remaining + steps, vocabulary)`, finite.
    """

    trial: Trial
    prompt: Prompt
    kept: Tensor
    logits: Tensor

    @cached_property
    def runs(self) -> tuple[Run, Run, list[Run]]:
        """The exact run for what remains, the plain run in what is computed in, and exact runs of shaken weights."""
        return remembered(self.trial, self._run, *self.kept.tolist())

    def _run(self) -> tuple[Run, Run, list[Run]]:
        prompt, dtype = self.prompt, self.trial.setting.computes_in
        remaining = prompt.remaining(self.kept)
        shaken = [prompt.shaken(dtype, seed).run(masked_run, remaining) for seed in range(2)]
        exact = prompt.to(torch.float64).run(masked_run, remaining)
        return exact, prompt.to(dtype).run(pruned_run, remaining), shaken

    def broken(self, law: str, message: str) -> Broken:
        """A law that does not hold, whichever was being tried."""
        return self.trial.broken(law, f"{message}, got {self.kept.tolist()}", statement=STATEMENTS[law])


def answered(trial: Trial, *, inject: bool) -> Answer:
    """Calls the candidate on the case of a trial.

    Raises:
        Broken: It returned no pair, no ascending indices of the sequence, or not a row of logits for each.
    """
    prompt = build(trial.case, trial.setting.dtype)
    result = trial.call(
        prompt.weights,
        prompt.embeddings,
        prompt.positions,
        prompt.prune_layer,
        prompt.keep,
        image_index=prompt.image_index,
        attended=prompt.attended,
        sizes=prompt.sizes,
        kept=prompt.injected if inject else None,
        continuation=prompt.continuation if len(prompt.continuation) else None,
    )
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise trial.broken("kind", f"result must be a pair (kept, logits), got {type(result).__name__}")
    try:
        shape = tuple(take(result[0]).shape)
    except Exception:
        shape = ()  # refused below, with a reason
    if len(shape) != 1:
        shape = (len(prompt.injected),)
    answer = Answer(trial, prompt, trial.tensor(result[0], shape, floating=False, name="kept"), torch.empty(0))
    last = len(prompt.attended) - 1
    if bool(((answer.kept < 0) | (answer.kept > last)).any()):
        raise answer.broken("remaining indices", f"kept must lie in 0 ... {last}")
    if bool((answer.kept.diff() <= 0).any()):
        raise answer.broken("remaining indices", "kept must be strictly ascending")
    rows = len(answer.kept) + len(prompt.continuation)
    answer.logits = trial.tensor(result[1], (rows, int(prompt.sizes["vocabulary"])), name="logits")
    return answer


Judge = Callable[[Answer], None]


def _as_given(answer: Answer) -> None:
    """What was injected remains."""
    given = answer.prompt.injected.tolist()
    if answer.kept.tolist() != given:
        raise answer.broken(answer.trial.law, f"kept must be as given, {given}")


def _all_text(answer: Answer) -> None:
    """Every word remains."""
    missing = sorted(set(torch.nonzero(answer.prompt.text).flatten().tolist()) - set(answer.kept.tolist()))
    if missing:
        raise answer.broken("text stays", f"words at {missing} must remain")


def _no_padding(answer: Answer) -> None:
    """No padding remains."""
    padding = answer.kept[~answer.prompt.attended[answer.kept]].tolist()
    if padding:
        raise answer.broken("padding", f"padding at {padding} must not remain")


def _budget(answer: Answer) -> None:
    """As many visual tokens remain as were asked for, and as many of each image as are its share."""
    prompt = answer.prompt
    kept = [int((prompt.image_index[answer.kept] == image).sum()) for image in range(prompt.images)]
    if sum(kept) != prompt.keep:
        raise answer.broken("budget", f"{prompt.keep} visual tokens must remain, not {sum(kept)}")
    shares = split_keep(prompt.keep, prompt.image_sizes)
    if kept != shares:
        message = f"of images of {prompt.image_sizes} tokens {shares} must remain, not {kept}"
        raise answer.broken("several images", message)


def _selection(answer: Answer) -> None:
    """No token of an image was kept or dropped against its score by more than rounding explains."""
    prompt, setting = answer.prompt, answer.trial.setting
    if not prompt.images:
        return
    exact, plain, shaken = answer.runs
    visual = torch.nonzero(prompt.image_index >= 0).flatten()
    queries = torch.stack([run.queries[visual].double() for run in (exact, plain, *shaken)])
    scores, of_plain, *of_shaken = token_entropy(queries, setting.convention)
    error = token_score_error(queries[0], setting.convention, setting.computes_in)
    error += float(decoder_allowance(scores, of_plain, of_shaken, setting.computes_in))
    for image, share in enumerate(split_keep(prompt.keep, prompt.image_sizes)):
        own = prompt.image_index[visual] == image
        places, levels = visual[own], scores[own]
        kept = torch.nonzero(torch.isin(places, answer.kept)).flatten()
        wrong = disputed(levels, kept, share, error)
        if bool(wrong.any()):
            best = places[select_tokens(levels, share)].tolist()
            message = f"of image {image} {best} must remain (entropies {levels.tolist()} of {places.tolist()}, each "
            message += f"within {error:.3g}), not {places[kept].tolist()}"
            raise answer.broken(answer.trial.law, message)


def _arithmetic(answer: Answer) -> None:
    """The logits are those of the masked full pass for what the candidate kept."""
    exact, plain, shaken = answer.runs
    dtype = answer.trial.setting.computes_in
    allowed = decoder_allowance(exact.logits, plain.logits, [run.logits for run in shaken], dtype)
    answer.trial.close(answer.logits, exact.logits, allowed, unit="(a logit)")


def _law(name: str, family: str, *judges: Judge, inject: bool = False, **options: Any) -> Law:
    """A law on prompts of a family, or on those of real sizes; indices and shapes are judged on every call."""

    def cases(setting: Setting) -> Any:
        return prompts(family, **options) if family else real(setting)

    def judge(trial: Trial) -> None:
        answer = answered(trial, inject=inject)
        for part in judges:
            part(answer)

    return Law(name, STATEMENTS[name], cases, judge, first=6)


_GIVEN = (_as_given, _arithmetic)
_CHOSEN = (_all_text, _no_padding, _budget, _selection)


def _asked(run: Callable[..., Any], inputs: Inputs) -> dict[str, Any]:
    """Calls as the contract says, with inputs by name."""
    options = {"kept": None, **inputs}
    order = [options.pop(name) for name in ("weights", "embeddings", "positions", "prune_layer", "keep")]
    options["attended"] = options["attended"].bool()
    kept, logits = run(*order, **options)
    return {"kept": kept, "logits": logits}


def _example() -> tuple[tuple[Any, ...], dict[str, Any]]:
    names = ("image_index", "attended", "sizes", "kept", "continuation")
    return ({}, torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), 1, 1), dict.fromkeys(names)


PRUNED_PREFILL = Contract(
    "pruned_prefill",
    "pruned_prefill(weights, embeddings, positions, prune_layer, keep, *, image_index, attended, sizes, kept=None, "
    "continuation=None) -> (kept, logits): (sequence, hidden) and (sequence,) -> (remaining,) indices and "
    "(remaining + steps, vocabulary)",
    Named(
        "A whole pruned prefill of a tiny Llama decoder, and decoding after it (section 5). A layer: RMS norm, causal "
        "attention of scale 1 / sqrt(d_h), residual; RMS norm, silu(gate) * up through down, residual. At the end norm "
        "and lm_head. Rotary embedding turns the pair (i, i + d_h / 2) by position * rope_theta^(-2 i / d_h); "
        "consecutive query heads share a key head. Visual tokens are scored by token_entropy of the queries of layer "
        "K - 1.",
        {
            "weights": "float64, matrices (outputs, inputs): layers.<i>.input_layernorm, .self_attn.{q,k,v,o}_proj, "
            ".post_attention_layernorm, .mlp.{gate,up,down}_proj; norm; lm_head; each with .weight behind it",
            "sizes": "of the decoder: layers, hidden, heads, kv_heads, head_dim, mlp, vocabulary, rope_theta, norm_eps",
            "embeddings": "(sequence, hidden), float64: state 0",
            "positions": "(sequence,), rotary positions",
            "image_index": "(sequence,), the number of the image that a token belongs to, -1 for text and padding",
            "attended": "(sequence,), 0 for padding, else 1",
            "continuation": "(steps, hidden), float64: embeddings of the tokens that are decoded afterwards",
            "prune_layer": "K, the first layer that runs pruned",
            "keep": "visual tokens to keep, over all images; images keep in proportion (Eq. 5.4)",
            "kept": "(left,), the places that are to be left; absent where the selection is one's own",
        },
        {
            "kept": "(left,), ascending places in the sequence of the tokens that are left",
            "logits": "(left + steps, vocabulary): after prefill, then one row for each decoded token",
        },
        _asked,
        masked_prefill,
        ("kept",),
    ),
    _example,
    (
        _law("injected prefill", "ordinary", *_GIVEN, inject=True),
        _law("real sizes", "", *_CHOSEN, _arithmetic),
        _law("injected decoding", "ordinary", *_GIVEN, inject=True, steps=True),
        _law("given positions", "given positions", *_GIVEN, inject=True, steps=True),
        _law("mask", "padded", *_GIVEN, inject=True, steps=True),
        _law("grouped queries", "grouped queries", *_CHOSEN, _arithmetic),
        _law("remaining indices", "mixed"),
        _law("text stays", "mixed", _all_text),
        _law("padding", "padded", *_CHOSEN),
        _law("budget", "ordinary", _budget),
        _law("own selection", "ordinary", *_CHOSEN),
        _law("several images", "several images", *_CHOSEN),
        _law("no image", "no image", *_CHOSEN, _arithmetic, steps=True),
        _law("views", "ordinary", *_CHOSEN, _arithmetic, steps=True, view=True),
        _law("keep all", "ordinary", *_CHOSEN, _arithmetic, keep="all", steps=True),
        _law("keep none", "ordinary", *_CHOSEN, _arithmetic, keep="none", steps=True),
        _law("end to end", "mixed", *_CHOSEN, _arithmetic, steps=True),
    ),
    dtypes=(torch.float64, torch.float32),
)
