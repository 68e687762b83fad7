"""How a plain implementation lets a bug in: every value, step, number and comparison passes a place with a name."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .operators import NUMBERS, STATES, STEPS, VALUES, Step

Axes = tuple[str, ...]
"""Names of the last axes of a tensor; "lead" is the one before those that the mathematics is about."""


@dataclass(frozen=True)
class Place:
    """Where a bug may sit.

    Attributes:
        name: Name of the value, step, number or comparison.
        kind: "value", "step", "number" or "comparison".
        axes: Axes of the tensor, if it is one.
        floating: Whether the tensor has a floating dtype; whether the number is a fraction.
        same: Whether a step leaves the shape as it is, so that it can be dropped or taken twice.
        reduced: Name of the axis that a step sums over.
    """

    name: str
    kind: str
    axes: Axes = ()
    floating: bool = True
    same: bool = False
    reduced: str = ""


@dataclass(frozen=True)
class Bug:
    """One thing that goes wrong at one place: `operator` is one of those of `operators`."""

    place: str
    operator: str
    axis: str = ""
    count: int = 0

    def __str__(self) -> str:
        """As in "levels: cut at 16 (levels)"."""
        where = f" ({self.axis})" if self.axis else ""
        return f"{self.place}: {self.operator.format(n=self.count)}{where}"


@dataclass
class Steps:
    """One call of a plain implementation, right but for one bug.

    Attributes:
        bug: What goes wrong; None for the right implementation.
        memory: What the implementation keeps between calls.
        places: Those that were passed, in their order.
    """

    bug: Bug | None = None
    memory: dict[Any, Tensor] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    moved: list[Step] = field(default_factory=list)

    def value(self, name: str, value: Tensor, axes: Axes = ()) -> Tensor:
        """Lets a tensor pass."""
        self.places.setdefault(name, Place(name, "value", axes, value.is_floating_point()))
        if self.moved and value.is_floating_point():
            value = self._now(value)
        if (bug := self._here(name)) is None:
            return value
        if bug.operator in STATES:
            return STATES[bug.operator](value, self.memory)
        axis = axes.index(bug.axis) - len(axes) if bug.axis else -1
        return VALUES[bug.operator](value, axis, bug.count) if value.ndim >= -axis else value

    def step(
        self, name: str, step: Step, before: Tensor, axes: Axes = (), reduces: tuple[str, int] = ("", 0)
    ) -> Tensor:
        """Takes a step, which may be dropped, doubled or moved, and lets its result pass.

        Args:
            name: Name of the place.
            step: From the tensor before to the tensor after.
            before: What the step is taken from.
            axes: Axes of the result.
            reduces: Name and index of the axis of `before` that the step sums over.
        """
        bug = self._here(name)
        if bug is None or bug.operator not in STEPS:
            after = step(before)
            self.places.setdefault(
                name, Place(name, "step", axes, after.is_floating_point(), after.shape == before.shape, reduces[0])
            )
            return self.value(name, after, axes)
        if bug.operator == "step moved behind the next":
            self.moved.append(step)
            return before
        if bug.axis:
            axis = reduces[1] if bug.axis == reduces[0] else axes.index(bug.axis) - len(axes)
            if before.ndim < -axis:
                return step(before)
        else:
            axis = -1
        return STEPS[bug.operator](step, before, axis, bug.count)

    def number(self, name: str, value: Any) -> Any:
        """Lets a number pass: an int or a fraction."""
        self.places.setdefault(name, Place(name, "number", floating=not isinstance(value, int)))
        bug = self._here(name)
        return value if bug is None else NUMBERS[bug.operator](value, bug.count)

    def above(self, name: str, one: Any, other: Any) -> Any:
        """Compares: whether the one is above the other."""
        self.places.setdefault(name, Place(name, "comparison"))
        bug = self._here(name)
        if bug is None:
            return one > other
        return one >= other if bug.operator == "or equal" else one < other

    def _here(self, name: str) -> Bug | None:
        return self.bug if self.bug is not None and self.bug.place == name else None

    def _now(self, value: Tensor) -> Tensor:
        """Takes the step that was put off."""
        return self.moved.pop()(value)
