"""`entropyprune-ref flops`: what a prompt costs, pruned and not, by any counting rule."""

from typing import Any

import click

from ..flops import (
    CLIP_VIT_L_14_336,
    DECODERS,
    FORMULAS,
    LLAVA_1_5_7B_PROJECTOR,
    LLAVA_1_5_13B_PROJECTOR,
    prefill_flops,
    pruned_prefill_flops,
    reduction,
)
from ..flops.parts import ATTENTION
from ..flops.prompt import LM_HEAD
from ..pruning import average_tokens, prune_plan
from ._shared import dump, json_option, say, show

PROJECTORS = {"llava-1.5-7b": LLAVA_1_5_7B_PROJECTOR, "llava-1.5-13b": LLAVA_1_5_13B_PROJECTOR}


@click.command()
@click.option("--model", type=click.Choice(list(DECODERS)), default="llava-1.5-7b", show_default=True, help="Decoder.")
@click.option("--text", required=True, type=int, help="Text tokens in the prompt.")
@click.option("--visual", default=576, show_default=True, help="Visual tokens in the prompt.")
@click.option("--layer", type=int, help="Prune layer, the first that runs pruned.")
@click.option("--average", type=float, help="Budget: visual tokens per layer, averaged over all layers.")
@click.option("--keep", type=int, help="Budget: visual tokens kept from the prune layer on.")
@click.option("--ratio", type=float, help="Budget: share of the visual tokens that is dropped at the prune layer.")
@click.option("--attention", type=click.Choice(ATTENTION), help="Pairs of tokens that count.  [default: full]")
@click.option("--lm-head", type=click.Choice(LM_HEAD), help="Positions with the language head.  [default: none]")
@click.option("--vision", is_flag=True, help="Count the vision tower and the projector too (LLaVA-1.5 only).")
@click.option("--scoring", is_flag=True, help="Count the cost of the method itself too.")
@click.option(
    "--formula", type=click.Choice(list(FORMULAS)), help="Count as another paper does; totals in its own unit."
)
@json_option
def flops(
    model: str,
    text: int,
    visual: int,
    layer: int | None,
    average: float | None,
    keep: int | None,
    ratio: float | None,
    attention: str | None,
    lm_head: str | None,
    vision: bool,
    scoring: bool,
    formula: str | None,
    as_json: bool,
) -> None:
    """Count the FLOPs of a prompt exactly, in named terms; with a budget, pruned too.

    For example: entropyprune-ref flops --text 81 --layer 2 --average 128 --attention none
    """
    budgets = {"--average": average, "--keep": keep, "--ratio": ratio}
    given = [name for name, value in budgets.items() if value is not None]
    if len(given) > 1 or (layer is None) != (not given):
        raise click.UsageError(
            f"--layer and one of {', '.join(budgets)} must be given together, or none of them, "
            f"got {' '.join(given + ['--layer'] * (layer is not None))}"
        )
    size = DECODERS[model]
    plan = None
    if layer is not None:
        plan = prune_plan(
            visual_tokens=visual, layers=size.layers, prune_layer=layer, average=average, keep=keep, ratio=ratio
        )
    record: dict[str, Any] = {"model": model, "text_tokens": text, "visual_tokens": visual}
    if plan is not None:
        mean = average_tokens(plan.keep, visual_tokens=visual, layers=size.layers, prune_layer=plan.prune_layer)
        record |= {"prune_layer": plan.prune_layer, "keep": plan.keep, "average": float(mean)}
    if formula is not None:
        if attention or lm_head or vision or scoring:
            raise click.UsageError("--formula must not be given beside --attention, --lm-head, --vision or --scoring")
        rule = FORMULAS[formula]
        counted: dict[str, dict[str, int]] = {
            "unpruned": {"total": rule.prefill(size, text_tokens=text, visual_tokens=visual)}
        }
        if plan is not None:
            total = rule.pruned_prefill(
                size, text_tokens=text, visual_tokens=visual, prune_layer=plan.prune_layer, keep=plan.keep
            )
            counted["pruned"] = {"total": total}
        unit = "FLOPs" if rule.flops_per_multiply_add == 2 else "multiply-adds"
        record |= {"formula": formula, "source": rule.source, "unit": unit}
    else:
        if scoring and plan is None:
            raise click.UsageError("--scoring must be given with a budget: without one no token is scored")
        if vision and model not in PROJECTORS:
            raise click.UsageError(f"--vision must be used with {' or '.join(PROJECTORS)}, got {model}")
        options: dict[str, Any] = {"attention": attention or "full", "lm_head": lm_head or "none"}
        tower = {"vision": CLIP_VIT_L_14_336, "projector": PROJECTORS[model]} if vision else {}
        prompt = {"text_tokens": text, "visual_tokens": visual, **options, **tower}
        count = prefill_flops(size, **prompt)
        counted = {"unpruned": {**count.terms, "total": count.total}}
        if plan is not None:
            count = pruned_prefill_flops(size, prune_layer=plan.prune_layer, keep=plan.keep, scoring=scoring, **prompt)
            counted["pruned"] = {**count.terms, "total": count.total}
        record |= {**options, "unit": "FLOPs"}
    record |= counted
    if plan is not None:
        record["reduction"] = float(reduction(counted["unpruned"]["total"], counted["pruned"]["total"]))
    if as_json:
        dump(record)
    else:
        _print(record, counted)


def _print(record: dict[str, Any], counted: dict[str, dict[str, int]]) -> None:
    terms = [term for term in counted["unpruned"] if any(column[term] for column in counted.values())]
    rows = [[term.replace("_", " "), *(f"{column[term]:,}" for column in counted.values())] for term in terms]
    title = f"{record['model']}, {record['visual_tokens']} visual and {record['text_tokens']} text tokens"
    if "formula" in record:
        say(f"Counted as in {record['source']}.")
    show(title, [record["unit"], *counted], rows)
    if "reduction" in record:
        say(
            f"{record['keep']} visual tokens from layer {record['prune_layer']} on, {record['average']:.2f} per layer "
            f"on average: {record['reduction']:.2%} fewer {record['unit']}."
        )
