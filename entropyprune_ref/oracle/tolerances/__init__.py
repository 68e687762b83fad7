r"""How far a correct implementation may be off, and why: every bound of the kit, each with its derivation.

The one number behind them all is the unit of rounding of the dtype that the candidate was given, `eps`. Nothing here
knows a candidate. Loosening a bound is a change of the specification, with a line in the changelog.
"""

from .collapse import acceptable_layers, drop_error, tie_floor
from .decoder import ROTARY_ERROR, decoder_allowance, weight_error
from .entropies import (
    SMALLEST_CLAMP_TERM,
    allowance,
    entropy_floor,
    fannes_audenaert,
    plain_factor,
    spectral_distance,
    token_entropy_floor,
)
from .selection import disputed, token_score_error

__all__ = [
    "ROTARY_ERROR",
    "SMALLEST_CLAMP_TERM",
    "acceptable_layers",
    "allowance",
    "decoder_allowance",
    "disputed",
    "drop_error",
    "entropy_floor",
    "fannes_audenaert",
    "plain_factor",
    "spectral_distance",
    "tie_floor",
    "token_entropy_floor",
    "token_score_error",
    "weight_error",
]
