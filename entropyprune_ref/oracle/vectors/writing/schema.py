"""JSON Schemas (draft 2020-12) of the two JSON files, written beside them."""

from typing import Any

from ....scoring import CONVENTIONS
from ...bugs.notes import NOTES
from ...contracts import ALL_CONTRACTS
from ..defining.case import DTYPES, VERDICTS

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _object(properties: Schema, *, optional: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these properties and no others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


def _list(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _any(*kinds: Schema) -> Schema:
    return {"anyOf": list(kinds)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


TEXT, COUNT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "number"}
ALLOWED, HASH = {"type": "number", "minimum": 0}, {"type": "string", "pattern": "^[0-9a-f]{64}$"}

_KIND = {"dtype": {"enum": ["float64", "int64", "bfloat16", "float16"]}, "shape": _list(COUNT)}

RECIPE = {
    "description": "Drawn, not shipped: every four bytes of SHAKE-256 of the stream's name, little-endian, modulo "
    "high - low + 1, plus low, divided by a power of two; row-major, and exact in the dtype.",
    **_object({"stream": TEXT, "low": {"type": "integer"}, "high": {"type": "integer"}, "divide": COUNT}),
}

ARRAY: Schema = {
    "description": "Row-major. Small arrays stand here as data; counts that JSON numbers could not hold as digits, "
    "decimal strings; those of real sizes as a recipe; all others as a tensor of a safetensors file.",
    "oneOf": [
        _object({**_KIND, "data": _list(NUMBER)}),
        _object({**_KIND, "digits": _list({"type": "string", "pattern": "^-?[0-9]+$"})}),
        _object({**_KIND, "file": {"type": "string", "pattern": r"\.safetensors$"}, "tensor": TEXT}),
        _object({**_KIND, "recipe": RECIPE}),
    ],
}

OUTPUT = _object(
    {
        "compare": {"enum": ["close", "exact", "selection"]},
        "unit": TEXT,
        "value": _ref("array"),
        "tolerance": {
            "description": "By what the consumer computes in; one number for all elements, or one for each.",
            **_object({dtype: _any(ALLOWED, _list(ALLOWED)) for dtype in DTYPES}),
        },
    },
    optional=("tolerance",),
    allOf=[{"if": {"properties": {"compare": {"const": "close"}}}, "then": {"required": ["tolerance"]}}],
)

CUT = _object(
    {
        "rows": _list(
            _object(
                {
                    "keep": COUNT,
                    "gap": {
                        "description": "The last kept score less the first dropped; null if none is kept or dropped.",
                        **_any(ALLOWED, {"type": "null"}),
                    },
                    "scores": _list(NUMBER),
                }
            )
        ),
        "score_error": {
            "description": "By what the consumer computes in: how far a correct score may be off.",
            **_object({dtype: ALLOWED for dtype in DTYPES}),
        },
    }
)

GROUP = {
    "description": "All tensors of a safetensors file whose names begin with the prefix, by the rest of their names.",
    **_object({"file": TEXT, "prefix": TEXT}),
}

INPUT = _any(_ref("array"), _ref("group"), NUMBER, TEXT, {"type": "boolean"}, _map(NUMBER))


def _of_contract(name: str) -> Schema:
    """What a case of a contract has to have besides."""
    call = ALL_CONTRACTS[name].named
    inputs = _object({given: _ref("input") for given in call.inputs}, optional=call.optional)
    outputs = _any({"maxProperties": 0}, _object({output: _ref("output") for output in call.outputs}))
    return {
        "if": {"properties": {"contract": {"const": name}}},
        "then": {"properties": {"inputs": inputs, "outputs": outputs}},
    }


_REJECTED: Schema = {
    "if": {"properties": {"verdict": {"const": "must_reject"}}},
    "then": {"properties": {"outputs": {"maxProperties": 0}}},
    "else": {"properties": {"outputs": {"minProperties": 1}}},
}
_EITHER: Schema = {
    "if": {"properties": {"verdict": {"const": "either"}}},
    "then": {"required": ["alternatives"]},
    "else": {"not": {"required": ["alternatives"]}},
}

CASE = _object(
    {
        "id": {"type": "string", "pattern": "^[a-z0-9_]+(/[a-z0-9_]+)+$"},
        "contract": {"enum": list(ALL_CONTRACTS)},
        "convention": _any({"enum": list(CONVENTIONS)}, {"type": "null"}),
        "comment": TEXT,
        "flags": _list({"enum": list(NOTES)}, minItems=1, uniqueItems=True),
        "verdict": {"enum": list(VERDICTS)},
        "inputs": {"type": "object"},
        "outputs": {"type": "object"},
        "cut": _ref("cut"),
        "alternatives": _list(
            _object({"comment": TEXT, "values": {"minProperties": 1, **_map(_ref("array"))}}), minItems=1
        ),
    },
    optional=("cut", "alternatives"),
    allOf=[_REJECTED, _EITHER, *map(_of_contract, ALL_CONTRACTS)],
)

CASES_SCHEMA: Schema = {
    "$schema": DIALECT,
    "title": "entropyprune-ref vectors: cases",
    **_object({"format_version": {"const": 2}, "cases": _list(_ref("case"), minItems=1)}),
    "$defs": {"array": ARRAY, "group": GROUP, "input": INPUT, "output": OUTPUT, "cut": CUT, "case": CASE},
}
"""Of `cases.json`."""

MANIFEST_SCHEMA: Schema = {
    "$schema": DIALECT,
    "title": "entropyprune-ref vectors: manifest",
    **_object(
        {
            "format": {"const": "entropyprune-ref vectors"},
            "format_version": {"const": 2},
            "spec_version": {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$"},
            "generator": _object({"name": TEXT, "version": TEXT, "seed": {"type": "integer"}}),
            "set": {"description": "SHA-256 over all inputs: what results say they answer.", **HASH},
            "cases": _map(COUNT),
            "files": _map(_object({"bytes": COUNT, "sha256": HASH})),
            "contracts": _map(_object({"says": TEXT, "inputs": _map(TEXT), "outputs": _map(TEXT)})),
            "conventions": _map({"type": "object"}),
            "verdicts": _object({verdict: TEXT for verdict in VERDICTS}),
            "compare": _map(TEXT),
            "results": {"type": "object"},
            "notes": _map(_object({"bug": TEXT, "effect": TEXT, "known_wrong": _list(TEXT)})),
        }
    ),
}
"""Of `manifest.json`."""
