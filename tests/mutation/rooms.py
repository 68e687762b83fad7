"""What is changed, and the tests that must notice: each room is a session of its own, in the order of the method."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Modules that are changed line by line, and the tests that are run against every change, likeliest first.

    The examples in the modules' own docstrings are run behind them. With `by_hand` only the changes of by_hand.py are
    tried, not those of the tool.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    by_hand: bool = False


LLAVA = (
    "tests/llava/test_errors.py",
    "tests/llava/test_model.py",
    "tests/llava/test_pruning.py",
    "tests/llava/test_flops.py",
    "tests/test_arguments.py",
    "tests/parity",
)

ROOMS = {
    "gram": Room(("gram.py",), ("tests/test_gram.py", "tests/test_arguments.py")),
    "entropy": Room(
        ("entropy.py",), ("tests/test_entropy.py", "tests/test_entropy_laws.py", "tests/test_arguments.py")
    ),
    "scoring": Room(("scoring.py",), ("tests/test_scoring.py", "tests/test_arguments.py")),
    "collapse": Room(("collapse",), ("tests/test_collapse.py", "tests/test_arguments.py")),
    "pruning": Room(("pruning",), ("tests/test_pruning.py", "tests/test_arguments.py")),
    "flops": Room(
        ("flops",),
        ("tests/test_flops.py", "tests/test_visual_tokens.py", "tests/test_arguments.py", "tests/llava/test_flops.py"),
    ),
    "numerics": Room(
        ("_numerics",),
        (
            "tests/test_numerics.py",
            "tests/test_gram.py",
            "tests/test_scoring.py",
            "tests/test_arguments.py",
            "tests/test_pruning.py",
            "tests/test_entropy.py",
        ),
    ),
    "scorers": Room(("scorers",), ("tests/test_scorers.py", "tests/test_scoring.py", "tests/test_arguments.py")),
    "pruner": Room(("pruner.py",), ("tests/llava/test_errors.py", "tests/llava/test_pruning.py", *LLAVA[4:5])),
    "llava": Room(("llava",), LLAVA),
    "evaluation": Room(("evaluation",), ("tests/evaluation",)),
    "hf": Room(("hf",), ("tests/hf",), by_hand=True),
}

# One replacement for each binary operator, the boundary and the opposite for each comparison: the tool offers eleven
# and six, most of which fail at once and say nothing of the tests.
SKIPPED = (
    r"core/ReplaceBinaryOperator_(?!Add_Sub$|Sub_Add$|Mul_Div$|Div_Mul$|Pow_Mul$|FloorDiv_Div$|Mod_Mul$|BitAnd_BitOr$"
    r"|LShift_RShift$|MatMult_)",
    r"core/ReplaceComparisonOperator_(?!Lt_(LtE|GtE)$|LtE_(Lt|Gt)$|Gt_(GtE|LtE)$|GtE_(Gt|Lt)$|Eq_NotEq$|NotEq_Eq$"
    r"|Is_IsNot$|IsNot_Is$)",
    r"core/ReplaceUnaryOperator_(?!Delete_USub$|Delete_Not$|Delete_Invert$)",
)

# Places, by operator and by what stands before on the line. `zip(strict=True)` guards against whoever changes the lines
# above; as long as the lengths agree, nothing can notice that the guard is gone.
UNTRIED = ((r"ReplaceTrueWithFalse", r"\bstrict=$"),)
