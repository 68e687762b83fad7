"""What the figures of the collapse are worth, against six independent drops."""

from collapse import results

from entropyprune_ref.collapse import random_sharpness


def compared() -> str:
    """How often chance is as sharp as each seed, and how far seeds agree."""
    found = results()
    layers = found[0]["collapse"]["trained"]["layers"]
    chance = random_sharpness(layers)
    above = {
        name: [100 * float((chance > result["collapse"][name]["sharpness"]).double().mean()) for result in found]
        for name in ("trained", "untrained")
    }
    trained = {result["collapse"]["trained"]["layer"] for result in found}
    untrained = sorted({result["collapse"]["untrained"]["layer"] for result in found})
    text = (
        f"Over the {len(found)} training seeds, {layers} independent drops would be sharper than the trained "
        "curve in "
        f"{min(above['trained']):.0f} to {max(above['trained']):.0f} % of all draws, and sharper than that of "
        "random weights "
        f"in {min(above['untrained']):.0f} to {max(above['untrained']):.0f} %."
    )
    if len(trained) == 1:
        text += (
            f" Better evidence than any single curve is that all {len(found)} trained models name the same layer, "
            f"{trained.pop()}, while random weights name {', '.join(map(str, untrained))}. It says that this "
            "recipe puts the "
            "drop there every time. It does not say that the layer is a good one to prune at."
        )
    return text
