"""Why a generated implementation without a witness is right after all, as far as the domain goes that was searched."""

from .catalogue import Generated

SYMMETRIC = ("products", "density matrix")
SCALE_FREE = ("input", "centred rows", "unit rows", "products", "norms", "scores", "scored queries")


def reason(entry: Generated) -> str:
    """Returns what a reader should know of it, by operator and place; empty where no rule applies."""
    bug, operator, released = entry.bug, entry.bug.operator, entry.convention.name == "released"
    if (
        operator.startswith("in ")
        and ("float" in operator or "bits" in operator)
        and not operator.startswith("in whole")
    ):
        return "every value of the domain is exact in this format"
    if operator in ("cut at {n}", "in whole blocks of {n}", "rounded up to blocks of {n}") and not bug.axis:
        return "no value of the domain is that large, or none between two blocks"
    if operator.startswith("indices in"):
        return "every index of the domain is exact in this format"
    if operator in ("or equal", "turned"):
        return "what is equal is refused, or told apart, by another comparison"
    if operator.startswith("step"):
        return "the step changes nothing that the steps before and behind it do not"
    if operator.startswith("blocks of"):
        return "the step treats every entry along this axis by itself"
    if operator.startswith("mean of the results"):
        return "in the domain, the mean of the means of blocks is the mean to rounding, or decides nothing"
    if operator == "axes swapped" and bug.place in SYMMETRIC:
        return "the matrix is symmetric"
    if "alone doubled" in operator and bug.axis in ("lead", "tokens") and bug.place in SCALE_FREE:
        return "a factor on one whole matrix or row of scores cancels"
    if bug.axis == "lead" and "neighbour" in operator and entry.contract == "collapse_layer":
        return "the order of the samples does not matter"
    if bug.place == "trace" and bug.axis == "lead":
        return "the trace is the number of heads, which is the same for all tokens but those with a zero row"
    if bug.place == "key of a query" and "call" in operator:
        return "it depends on the number of heads only, which stays the same in one model"
    if bug.place == "causal limit":
        return "a token sees itself in any case"
    if released and bug.axis == "levels":
        return "the first eigenvalue is that of the vector of ones, zero after centring, and is clamped"
    if bug.axis in ("heads", "size", "pairs", "features", "levels", "states", "layers", "kept", "tokens"):
        return "in the domain, no axis of this name is that long, or its entries there decide nothing"
    return ""
