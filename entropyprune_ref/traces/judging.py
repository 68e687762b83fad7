"""All arrays of an engine, judged in order: where it parts from the reference first."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from .arrays import ARRAYS, FORMAT_VERSION
from .comparison import Comparison, Finding
from .files import Trace, load_arrays, load_trace
from .stages import NEED_THE_SAME_TOKENS, STAGES
from .tolerances import DTYPES

_FREE = {"left_positions": (-1,), "kept": (0,), "tokens": (0,), "logits": (0,), "decode_positions": (-1,)}
"""Axes whose length the engine may get wrong: that is for its stage to say."""


@dataclass(frozen=True)
class TraceJudgement:
    """What a comparison with a trace found.

    Attributes:
        trace: Its id.
        answers: The engine's file.
        dtype: What the engine computed in.
        findings: One for each array of a trace, in the order in which an engine computes them.
    """

    trace: str
    answers: str
    dtype: str
    findings: tuple[Finding, ...]

    @property
    def first(self) -> Finding | None:
        """Where the two part first, if they do."""
        return next((finding for finding in self.findings if finding.status == "parts"), None)

    @property
    def passed(self) -> bool:
        """Whether nothing parts."""
        return self.first is None

    def __str__(self) -> str:
        """A table of arrays, and the verdict."""
        width = max(len(finding.array) for finding in self.findings)
        lines = [f"{self.answers} against trace {self.trace}, computed in {self.dtype}", ""]
        lines += [f"{f.array:<{width}}  {f.status:<10}  {f.message}".rstrip() for f in self.findings]
        judged = sum(finding.status in ("agrees", "near tie") for finding in self.findings)
        if self.first is not None:
            lines += ["", f"FAILED: the two part first at {self.first.array}: {self.first.message}"]
        else:
            lines += ["", f"passed: {judged} of {len(self.findings)} arrays agree, none parts"]
        return "\n".join(lines)

    def to_json(self) -> str:
        """The whole judgement as JSON text."""
        record = {**asdict(self), "passed": self.passed, "first": self.first.array if self.first else None}
        return json.dumps(record, indent=2)


def judge_trace(folder: str | Path, answers: str | Path) -> TraceJudgement:
    """Compares what an engine did with a trace.

    Args:
        folder: The trace.
        answers: The engine's safetensors file.

    Returns:
        What was found; `passed` only if nothing parts.

    Raises:
        ValueError: No trace, or answers that cannot be read as such: other metadata, an unknown array, a wrong shape or
            kind of dtype, numbers that are not finite, or nothing at all.
    """
    trace, path = load_trace(folder), Path(answers)
    theirs = load_arrays(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    dtype = _metadata(metadata, trace, path)
    theirs = {name: _required(name, array, trace.arrays) for name, array in theirs.items()}
    if not theirs:
        raise ValueError(f"{path} must hold at least one of {', '.join(ARRAYS)}, got none")
    return TraceJudgement(trace.record["id"], str(answers), dtype, tuple(_findings(trace, theirs, dtype)))


def _findings(trace: Trace, theirs: dict[str, Tensor], dtype: str) -> list[Finding]:
    compared = Comparison(trace.record, trace.arrays, theirs, dtype)
    found: list[Finding] = []
    for name, stage in STAGES.items():
        prompt_parts = any(
            finding.status == "parts" and finding.array in ("input_ids", "image_index") for finding in found
        )
        if name not in theirs:
            found.append(Finding(name, "not given"))
        elif prompt_parts and name != "image_index":
            found.append(Finding(name, "not judged", "it is another prompt"))
        elif name in NEED_THE_SAME_TOKENS and not compared.same_tokens_kept():
            found.append(Finding(name, "not judged", "other tokens were kept"))
        else:
            found.append(stage(compared))
    return found


def _metadata(metadata: dict[str, str], trace: Trace, path: Path) -> str:
    expected = {"format_version": FORMAT_VERSION, "trace": trace.record["id"]}
    for name, value in expected.items():
        if metadata.get(name) != value:
            raise ValueError(f"{path} must have the metadata {name} {value!r}, got {metadata.get(name)!r}")
    dtype = metadata.get("dtype")
    if dtype not in DTYPES:
        raise ValueError(f"{path} must have the metadata dtype, one of {', '.join(DTYPES)}, got {dtype!r}")
    return dtype


def _required(name: str, array: Tensor, ours: dict[str, Tensor]) -> Tensor:
    """An array of the engine in the form that stages take, if that is possible at all."""
    if name not in ARRAYS:
        raise ValueError(f"answers must hold arrays among {', '.join(ARRAYS)}, got {name!r}")
    if ARRAYS[name].integer:
        if array.is_floating_point() or array.is_complex() or array.dtype == torch.bool:
            raise ValueError(f"{name} must hold integers, got {array.dtype}")
        array = array.long()
    elif not array.is_floating_point():
        raise ValueError(f"{name} must hold floating-point numbers, got {array.dtype}")
    elif not torch.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {int((~torch.isfinite(array)).sum())} numbers that are not")
    expected, got = list(ours[name].shape), list(array.shape)
    if array.ndim == ours[name].ndim:
        for axis in _FREE.get(name, ()):
            expected[axis] = got[axis]
    if expected != got and not ARRAYS[name].integer:
        raise ValueError(f"{name} must have shape {tuple(ours[name].shape)}, got {tuple(array.shape)}")
    return array
