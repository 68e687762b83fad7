"""The oracle: checks other implementations of the method, and is itself checked against wrong ones.

    from entropyprune_ref.oracle import check
    report = check("token_entropy", my_function, dtype=torch.float32)
    print(report)

Rooms, in the order in which they build on each other:

- `inputs`: what a candidate is tried on, made of a few numbers (`case`); `plain`: the formulas as one would write them;
  `tolerances`: how far a correct implementation may be off;
- `trial`: one call, watched, and what a `failure` says; `contracts`: what must hold, law by law;
- `bugs`: implementations that are known to be wrong; `judging`: `check`, reports, and the oracle's check of itself;
- `vectors`: the same as files, for programs in any language.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "entropyprune_ref.oracle needs hypothesis, which comes with an extra: pip install 'entropyprune-ref[oracle]'"
    ) from error

from ..scoring import CONVENTIONS, PAPER, RELEASED, ROW_NORMALIZED, Convention
from .contracts import CONTRACTS
from .contracts.contract import Contract
from .judging.checking import check, replay
from .judging.parametrize import parametrize_with_checks
from .judging.report import Report, Verdict
from .judging.selftest import Catch, measure_power, self_test
from .judging.tabled import measure_generated
from .judging.trying import SIZES
from .trial.failure import Failure
from .vectors import judge as judge_vectors

__all__ = [
    "CONTRACTS",
    "CONVENTIONS",
    "PAPER",
    "RELEASED",
    "ROW_NORMALIZED",
    "SIZES",
    "Catch",
    "Contract",
    "Convention",
    "Failure",
    "Report",
    "Verdict",
    "check",
    "judge_vectors",
    "measure_generated",
    "measure_power",
    "parametrize_with_checks",
    "replay",
    "self_test",
]
