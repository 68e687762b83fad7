"""Wrong implementations by the thousand: plain implementations taken apart into steps, and one bug at one place.

Reading order: `steps` (how a value passes its place), `operators` (what can go wrong there), `entropies`, `decisions`,
`counts` and `prefill` (the plain implementations), `catalogue` (all bugs at all places, by name), `witnesses` (inputs
that tell a wrong implementation from the right one, found without the oracle).
"""

from .catalogue import Generated, generated, generated_by_name, sample

__all__ = ["Generated", "generated", "generated_by_name", "sample"]
