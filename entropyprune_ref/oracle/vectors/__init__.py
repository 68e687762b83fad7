"""Vectors: the oracle as files, for implementations that cannot be called from Python.

A set is a folder. `write` makes one (`entropyprune-ref vectors --out DIR`); a small released one is part of the
package, and `load` reads either.

- `manifest.json`: versions, generator and seed, SHA-256 of every file, what each contract computes and from what, the
  conventions, the notes on every flag, and how results are written. Start here.
- `cases.json`: one case a line: `id`, `contract`, `convention`, `flags`, `verdict`, `inputs`, and `outputs` with the
  expected `value` in float64 (or int64), its unit and the `tolerance` for a consumer that computes in float64 or
  float32; for selections also the `cut`, with scores and gap.
- `inputs.safetensors`, `expected.safetensors`: arrays of more than 32 numbers, and those that are not finite.
- `manifest.schema.json`, `cases.schema.json`: JSON Schemas, draft 2020-12.
- `SHA256SUMS`: hashes of all of these, for `sha256sum --check`.

An array in the JSON has `dtype`, `shape` and one of: `data`, row-major numbers; `digits`, decimal strings, for counts
beyond what a JSON number holds; `file` and `tensor`, where it stands in safetensors. Weights are given as `file` and
`prefix`: all tensors whose names begin so. Inputs of real sizes are a `recipe`: every consumer draws them from a hash,
and they need not be shipped; those of 16 bits are exact in their dtype. But for scores that nearly tie, all inputs are
exact in float32, so that every consumer has the same.

A consumer reads `cases.json`, computes, and writes one safetensors file:

- for each output of each case a tensor `<id>.<output>`, floating or integer, in the shape of the expected value;
- for a case without an answer `<id>.rejected`, a single 1;
- as metadata `format_version` "2", `set` as in the manifest, and `dtype`, "float64" or "float32": what it computed in.

`judge` reads that file (`entropyprune-ref check --vectors results.safetensors`). A case of `must_match` passes within
its tolerance, one of `must_reject` if it was rejected. A case of `either` has a documented choice behind it, and passes
with the reference's answer or with one of its `alternatives`. Exact ties between given scores are no such choice: "the
earlier token" is part of the definition, hence `must_match`; where rounding decides between equal computed scores, both
answers pass. A case that is not answered fails; a name that no case has is an error.

    from entropyprune_ref.oracle.vectors import judge
    print(judge("results.safetensors"))
"""

from .defining.case import VectorCase
from .judging.judgement import Judgement, VectorFailure
from .judging.results import judge
from .reading import RELEASED, Vectors, load
from .writing.folder import FORMAT_VERSION, SPEC_VERSION, write

__all__ = [
    "FORMAT_VERSION",
    "RELEASED",
    "SPEC_VERSION",
    "Judgement",
    "VectorCase",
    "VectorFailure",
    "Vectors",
    "judge",
    "load",
    "write",
]
