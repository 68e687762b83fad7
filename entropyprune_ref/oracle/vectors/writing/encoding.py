"""Between cases in memory and the files: JSON with the small arrays in it, safetensors for the others."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..defining.case import Alternative, Cut, Expected, Row, VectorCase
from ..defining.draws import SEED, Recipe

INLINE = 32
"""Arrays of at most so many finite numbers stand in the JSON itself."""

INPUTS, EXPECTED = "inputs.safetensors", "expected.safetensors"

_DTYPES = {
    "float64": torch.float64,
    "int64": torch.int64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Tensors:
    """The tensors of one file; equal ones are stored once, under the name that came first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.by_name: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self._groups: dict[str, Mapping[str, Tensor]] = {}

    def add(self, name: str, tensor: Tensor) -> str:
        """Stores a tensor if no equal one is there, and returns the name that it has."""
        tensor = tensor.contiguous()
        key = (tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes())
        known = self._names.setdefault(key, name)
        self.by_name[known] = tensor
        return known

    def add_group(self, name: str, group: Mapping[str, Tensor]) -> dict[str, str]:
        """Stores tensors under a common prefix, once for equal groups, and returns where they are."""
        for known, stored in self._groups.items():
            if stored.keys() == group.keys() and all(torch.equal(stored[key], group[key]) for key in group):
                return {"file": self.file, "prefix": known}
        prefix = f"{name}."
        self._groups[prefix] = group
        self.by_name |= {prefix + key: tensor.contiguous() for key, tensor in group.items()}
        return {"file": self.file, "prefix": prefix}


def encoded(case: VectorCase, inputs: Tensors, expected: Tensors) -> dict[str, Any]:
    """Returns a case as JSON; arrays that are too large for it are added to the two files."""
    record: dict[str, Any] = {
        "id": case.id,
        "contract": case.contract,
        "convention": case.convention,
        "comment": case.comment,
        "flags": list(case.flags),
        "verdict": case.verdict,
        "inputs": {
            name: _recipe(case.recipes[name]) if name in case.recipes else _value(value, inputs, f"{case.id}.{name}")
            for name, value in case.inputs.items()
        },
    }
    outputs = {}
    for name, output in case.outputs.items():
        digits = output.unit == "FLOPs"
        array = _array(output.value, expected, f"{case.id}.{name}", digits=digits)
        outputs[name] = {"compare": output.compare, "unit": output.unit, "value": array}
        if output.tolerance:
            outputs[name]["tolerance"] = {dtype: _allowed(allowed) for dtype, allowed in output.tolerance.items()}
    record["outputs"] = outputs
    if case.cut is not None:
        rows = [{"keep": row.keep, "gap": row.gap, "scores": row.scores.tolist()} for row in case.cut.rows]
        record["cut"] = {"rows": rows, "score_error": dict(case.cut.score_error)}
    if case.alternatives:
        record["alternatives"] = [
            {
                "comment": alternative.comment,
                "values": {name: _array(value, expected, "") for name, value in alternative.values.items()},
            }
            for alternative in case.alternatives
        ]
    return record


def decoded(record: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> VectorCase:
    """Returns the case that JSON and the files describe.

    Raises:
        KeyError, TypeError, ValueError: Something is missing or of another kind.
    """
    outputs = {}
    for name, output in record["outputs"].items():
        value = _tensor(output["value"], tensors)
        tolerance = {dtype: _spread(entry, value) for dtype, entry in output.get("tolerance", {}).items()}
        outputs[name] = Expected(value, output["compare"], output["unit"], tolerance)
    cut = None
    if "cut" in record:
        rows = tuple(
            Row(torch.tensor(row["scores"], dtype=torch.float64), row["keep"]) for row in record["cut"]["rows"]
        )
        cut = Cut(rows, record["cut"]["score_error"])
    alternatives = tuple(
        Alternative(entry["comment"], {name: _tensor(value, tensors) for name, value in entry["values"].items()})
        for entry in record.get("alternatives", ())
    )
    return VectorCase(
        record["id"],
        record["contract"],
        record["convention"],
        record["comment"],
        tuple(record["flags"]),
        {name: _input(value, tensors) for name, value in record["inputs"].items()},
        record["verdict"],
        outputs,
        cut,
        alternatives,
        {
            name: _drawn(value)
            for name, value in record["inputs"].items()
            if isinstance(value, dict) and isinstance(value.get("recipe"), dict)
        },
    )


def identity(records: Sequence[Mapping[str, Any]], inputs: bytes) -> str:
    """Returns the SHA-256 of all that is asked: the same on every machine, since no input is rounded."""
    asked = [[record["id"], record["contract"], record["convention"], record["inputs"]] for record in records]
    return hashlib.sha256(json.dumps(asked).encode() + inputs).hexdigest()


def _value(value: Any, tensors: Tensors, name: str) -> Any:
    if isinstance(value, Tensor):
        return _array(value, tensors, name)
    if isinstance(value, Mapping):
        if all(isinstance(entry, Tensor) for entry in value.values()):
            return tensors.add_group(name, value)
        return dict(value)
    return value


def _array(value: Tensor, tensors: Tensors, name: str, *, digits: bool = False) -> dict[str, Any]:
    array: dict[str, Any] = {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
    flat = value.flatten().tolist()
    if digits:
        return array | {"digits": [str(number) for number in flat]}
    if value.numel() <= INLINE and all(map(math.isfinite, flat)):
        return array | {"data": flat}
    return array | {"file": tensors.file, "tensor": tensors.add(name, value)}


def _recipe(recipe: Recipe) -> dict[str, Any]:
    numbers = {name: getattr(recipe, name) for name in ("low", "high", "divide")}
    return {
        "dtype": str(recipe.dtype).removeprefix("torch."),
        "shape": list(recipe.shape),
        "recipe": {"stream": f"{SEED}:{recipe.name}", **numbers},
    }


def _drawn(array: Mapping[str, Any]) -> Recipe:
    numbers = dict(array["recipe"])
    seed, _, name = str(numbers.pop("stream")).partition(":")
    if seed != str(SEED):
        raise ValueError(f"stream must be of seed {SEED}, got {seed}")
    return Recipe(name, tuple(array["shape"]), **numbers, dtype=_DTYPES[array["dtype"]])


def _allowed(allowed: Tensor) -> Any:
    flat = allowed.flatten().tolist()
    return flat[0] if flat and flat.count(flat[0]) == len(flat) else flat


def _input(value: Any, tensors: Mapping[str, Mapping[str, Tensor]]) -> Any:
    if not isinstance(value, dict):
        return value
    if {"dtype", "shape"} <= value.keys():
        return _tensor(value, tensors)
    if "prefix" in value:
        prefix, stored = value["prefix"], tensors[value["file"]]
        return {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}
    return value


def _tensor(array: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
    if "recipe" in array:
        return _drawn(array).drawn()
    dtype, shape = _DTYPES[array["dtype"]], array["shape"]
    if "tensor" in array:
        tensor = tensors[array["file"]][array["tensor"]]
        if list(tensor.shape) != shape or tensor.dtype != dtype:
            raise ValueError(f"tensor {array['tensor']} must be {dtype} of shape {shape}")
        return tensor
    numbers = list(map(int, array["digits"])) if "digits" in array else array["data"]
    return torch.tensor(numbers, dtype=dtype).reshape(shape)


def _spread(entry: Any, value: Tensor) -> Tensor:
    return torch.tensor(entry, dtype=torch.float64).expand(value.numel()).reshape(value.shape)
