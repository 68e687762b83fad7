"""What a user calls: a block in which a model prunes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from entropyprune_ref.pruner import EntropyPrune

from .families import anatomy
from .hooks import install
from .passes import Passes, Prefill
from .refusals import claim, release, require_prunable


class Run:
    """What `pruned` hands to its block."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes

    @property
    def last(self) -> Prefill:
        """What was kept of the last prompt.

        Raises:
            ValueError: The model has not run yet.
        """
        if self._passes.last is None:
            raise ValueError("last must be read after the model has run in the block, got no prompt yet")
        return self._passes.last


@contextmanager
def pruned(model: Any, pruner: EntropyPrune, *, keep_view: bool = False) -> Iterator[Run]:
    """Prunes every prompt with an image that `model` reads in the block; after it the model is as before.

    Calls and `generate` work as without it. Dropped tokens leave the sequence at the input of decoder layer
    `pruner.layer`; logits of a call are those of the tokens that are left, aligned at the right end.

    Args:
        model: A model of one of the `FAMILIES`, on any device or spread over several, in any floating dtype.
        pruner: Where, how many and by which score. Rows of a batch without an image stay whole.
        keep_view: Whether `run.last.view` holds the states, queries and keys that the scorer saw.

    Yields:
        The run, whose `last` says what was kept of the last prompt.

    Raises:
        TypeError: Another model, or another pruner.
        ValueError: A model or a call that cannot be pruned; the message says why.

    Notes:
        Newlines that a model puts between rows of patches are visual tokens like any other: they count, they are
        scored and they may be dropped. At `layer=1` all of them in an image have the same queries before rotary
        embedding. The entropy is computed of those, so they tie exactly and the earlier one is kept first; after
        rotary embedding rounding would decide.

        Without a cache every step of `generate` is a prefill, and prunes. A later turn on the same cache goes on from
        the pruned prompt; new images in it are pruned too.
    """
    parts = anatomy(model)
    require_prunable(parts, pruner)
    passes = Passes(parts, pruner, keep_view)
    claim(parts)
    with ExitStack() as stack:
        stack.callback(release, parts)
        install(parts, passes, stack)
        yield Run(passes)
