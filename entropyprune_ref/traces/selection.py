"""The tokens that an engine keeps: of its own scores the highest, and the trace's up to near ties."""

import torch
from torch import Tensor

from .comparison import Comparison, Finding


def kept(compared: Comparison) -> Finding:
    """The engine's choice: from its own scores if it gives them, and against the trace's up to near ties."""
    theirs, ours = compared.theirs["kept"], compared.ours["kept"]
    if theirs.shape != ours.shape:
        return Finding("kept", "parts", f"expected {len(ours)} visual tokens to be kept, got {len(theirs)}")
    wrong = ~torch.isin(theirs, compared.visual)
    if wrong.any():
        place = int(theirs[wrong][0])
        return Finding("kept", "parts", f"expected places of visual tokens in input_ids, got {place}, which is none")
    if (theirs.diff() <= 0).any():
        return Finding("kept", "parts", "expected places in ascending order, each once, got them otherwise")
    chosen, reference = torch.isin(compared.visual, theirs), torch.isin(compared.visual, ours)
    exchanged = 0
    for members, keep in compared.groups():
        count = int((chosen & members).sum())
        if count != keep:
            image = compared.ours["image_index"][compared.visual][members][0]
            return Finding("kept", "parts", f"expected {keep} tokens of image {int(image)} to be kept, got {count}")
        if "scores" in compared.theirs:
            values = compared.theirs["scores"].double()
            slack = 2 * torch.finfo(compared.theirs["scores"].dtype).eps * values.abs()
            broken = _out_of_order(values, slack, chosen & members, ~chosen & members)
            if broken:
                return Finding("kept", "parts", f"not the highest of the engine's own scores: {broken}")
        far = _far_from_the_cut(compared, reference & members, ~reference & members, chosen)
        if far:
            return Finding("kept", "parts", far)
        exchanged += int((reference & ~chosen & members).sum())
    if exchanged:
        return Finding(
            "kept", "near tie", f"{exchanged} of {len(ours)} tokens are others, all within rounding of the cut"
        )
    return Finding("kept", "agrees", f"the same {len(ours)} tokens")


def _far_from_the_cut(compared: Comparison, above: Tensor, below: Tensor, chosen: Tensor) -> str:
    """Names an exchanged token of one image whose score in the trace is farther from the cut than rounding explains.

    Args:
        compared: The two sides.
        above: Which visual tokens the trace keeps of the image.
        below: Which it drops.
        chosen: Which the engine keeps.
    """
    values, allowed = compared.ours["scores"], compared.tolerance
    if not (above & ~chosen).any():
        return ""
    low, high = values[above].min(), values[below].max()
    distance = torch.full_like(values, -torch.inf)
    distance[above & ~chosen] = (values - high)[above & ~chosen]
    distance[below & chosen] = (low - values)[below & chosen]
    worst = int((distance - allowed).argmax())
    if distance[worst] <= allowed[worst]:
        return ""
    return (
        f"the token at {int(compared.visual[worst])} is {'kept' if chosen[worst] else 'dropped'}, with score "
        f"{float(values[worst]):.6g} in the trace, which cuts between {float(high):.6g} and {float(low):.6g}; "
        f"rounding explains {float(allowed[worst]):.2g}"
    )


def _out_of_order(values: Tensor, slack: Tensor, inside: Tensor, outside: Tensor) -> str:
    """Names a token outside whose value is above that of one inside, if there is any."""
    if not inside.any() or not outside.any():
        return ""
    low = torch.where(inside, values + slack, torch.inf)
    high = torch.where(outside, values - slack, -torch.inf)
    if high.max() <= low.min():
        return ""
    dropped, taken = int(high.argmax()), int(low.argmin())
    names = [f"visual token {place} with {float(values[place]):.6g}" for place in (dropped, taken)]
    return f"{names[0]} is dropped, {names[1]} kept"
