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

        Padding leaves the sequence with the dropped tokens, so that a short row does not hold up a long one.
        `run.last.index` says which token each logit belongs to.

        Without a cache every step of `generate` is a prefill, and prunes. A later turn on the same cache goes on from
        the pruned prompt; new images in it are pruned too, and a scorer sees that turn alone.

    Examples:
        Two words, an image of four patches, two words: half of the image is kept, and all words.

        >>> import torch
        >>> from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
        >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
        >>> configs = {"text_config": LlamaConfig(vocab_size=9, **sizes)}
        >>> configs["vision_config"] = CLIPVisionConfig(image_size=8, patch_size=4, **sizes)
        >>> model = LlavaForConditionalGeneration(LlavaConfig(**configs, image_token_index=3)).eval()
        >>> ids, pixels = torch.tensor([[1, 4, 3, 3, 3, 3, 5, 6]]), torch.randn(1, 3, 8, 8)
        >>> with pruned(model, EntropyPrune(2, keep=2)) as run, torch.no_grad():
        ...     out = model(input_ids=ids, pixel_values=pixels)
        >>> run.last.image_index.tolist(), run.last.kept.sum().item(), out.logits.shape[1]
        ([[-1, -1, 0, 0, 0, 0, -1, -1]], 6, 6)
        >>> [out.past_key_values.get_seq_length(layer) for layer in range(3)]
        [8, 8, 6]
    """
    parts = anatomy(model)
    require_prunable(parts, pruner)
    passes = Passes(parts, pruner, keep_view)
    claim(parts)
    with ExitStack() as stack:
        stack.callback(release, parts)
        install(parts, passes, stack)
        yield Run(passes)
