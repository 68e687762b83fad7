"""The oracle: checks other implementations of the method, and is itself checked against wrong ones.

    from entropyprune_ref.oracle import check
    report = check("token_entropy", my_function, dtype=torch.float32)
    print(report)

Reading order: `tolerances` (how far a correct implementation may be off; measured on `plain_entropies` and
`plain_decoder`), `cases` and `inputs` (that hurt), `trial` (one call, watched), `laws` and `contracts` (what must
hold), `checking`, `report`; `mutants` (what must be caught), `selftest`; `vectors` (the same as files, for programs in
any language).
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "entropyprune_ref.oracle needs hypothesis, which comes with an extra: pip install 'entropyprune-ref[oracle]'"
    ) from error

from ..scoring import CONVENTIONS, PAPER, RELEASED, ROW_NORMALIZED, Convention
from .checking import SIZES, check, replay
from .contracts import CONTRACTS
from .laws import Contract
from .parametrize import parametrize_with_checks
from .report import Failure, Report, Verdict
from .selftest import Catch, self_test
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
    "parametrize_with_checks",
    "replay",
    "self_test",
]
