"""What a candidate answered, read: whole numbers, and refusals."""

from typing import Any

from .trial import Trial


def whole_number(trial: Trial, value: Any, name: str = "result") -> int:
    """Returns an exact integer: an int, or an integer array without axes, wherever it is.

    Raises:
        Broken: A float, even if it is a whole one (it may have been rounded), a bool, an array with axes, or no number.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        try:
            value = value.item()  # of torch, NumPy and JAX alike; a single number may be on any device
        except Exception as error:
            raise trial.broken("kind", f"{name} cannot be read as a number: {type(error).__name__}") from None
    if isinstance(value, bool | float | complex):
        raise trial.broken("kind", f"{name} must be an exact integer, got {type(value).__name__} {value!r}")
    if isinstance(value, int):
        return value
    return int(trial.tensor(value, (), floating=False, name=name))


def refused(trial: Trial, *arguments: Any, reason: str, **options: Any) -> None:
    """Tries a call that must raise an exception, of whatever type.

    Raises:
        Broken: It returned.
    """
    result, error = trial.attempt(*arguments, **options)
    if error is None:
        raise trial.broken(trial.law, f"expected an exception, since {reason}, got {shown(result)}")
    if not error.ordinary:
        raise trial.broken("returns", f"raised {error.kind}, which ends a program; expected an Exception")


def shown(value: Any, most: int = 80) -> str:
    """A value in a few characters, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= most else f"{text[:most]}..."
