r"""Section 4, when to prune: the entropy of every state, and the Entropy Collapse Layer where it falls.

*State* $i$ is the sequence of hidden states at the input of decoder layer $i$, before any token is dropped there; state
0 is the embeddings, state $L$ leaves the last of $L$ layers. `layer_entropy` (`curves`) gives the curve over states,
`collapse_layer` (`detector`) the place of its largest drop and how far that place can be trusted, `other_definitions`
(`alternatives`) what other rules say of the same curves, and `chance` how sharp a drop is where nothing happens.

The paper describes the layer by "a sharp and consistent drop" and publishes no detector that we know of; the rule and
its statistics here are ours (inferred).
"""

from .alternatives import other_definitions
from .chance import random_sharpness, smooth_sharpness
from .curves import layer_entropy
from .detector import Collapse, collapse_layer

__all__ = [
    "Collapse",
    "collapse_layer",
    "layer_entropy",
    "other_definitions",
    "random_sharpness",
    "smooth_sharpness",
]
