"""Traces: what the reference did on one real prompt, as files that a whole engine can compare itself with.

A trace is a folder, written by `entropyprune-ref trace` (or `write_trace`):

- `manifest.json`: model, prompt and pruner, the cut of every image, the answer, what each array means, how to answer,
  and the tolerances. Start here.
- `manifest.schema.json`: its JSON Schema, draft 2020-12.
- `trace.safetensors`: the arrays.

An engine reads `input_ids`, computes, and writes one safetensors file with as many of the arrays as it has, under the
same names, and as metadata `format_version`, `trace` (the trace's `id`) and `dtype`, what it computed in. `judge_trace`
reads that file (`entropyprune-ref check --trace T answers.safetensors`) and says where the two part first.

Reading order: `arrays` (what a trace holds), `schema`, `files` (written and read), `tolerances`, `comparison` (the two
sides), `selection` (the kept tokens), `stages` (every array), `judging` (all of them, in an engine's order).
"""

from .arrays import ARRAYS, FORMAT_VERSION
from .comparison import Finding
from .files import Trace, load_trace, write_trace
from .judging import TraceJudgement, judge_trace

__all__ = ["ARRAYS", "FORMAT_VERSION", "Finding", "Trace", "TraceJudgement", "judge_trace", "load_trace", "write_trace"]
