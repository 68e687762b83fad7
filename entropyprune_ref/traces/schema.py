"""The JSON Schema of a trace's manifest."""

from typing import Any

from .arrays import ARRAYS, FORMAT_VERSION

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_SHA = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_SCORED = {
    "type": ["object", "null"],
    "properties": {"place": _COUNT, "score": {"type": "number"}},
    "required": ["place", "score"],
    "additionalProperties": False,
}


def _record(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


MANIFEST = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Trace of EntropyPrune on one prompt",
    **_record(
        {
            "format_version": {"const": FORMAT_VERSION},
            "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
            "generator": {"type": "object", "additionalProperties": _TEXT},
            "model": _record(
                {
                    **{name: _TEXT for name in ("name", "class", "model_type", "dtype", "attention")},
                    **{name: _COUNT for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocabulary")},
                }
            ),
            "prompt": _record(
                {
                    "question": _TEXT,
                    "text": _TEXT,
                    "kind": {"enum": ["images", "frames"]},
                    "pictures": {
                        "type": "array",
                        "items": _record({"file": _TEXT, "sha256": _SHA, "height": _COUNT, "width": _COUNT}),
                    },
                    **{name: _COUNT for name in ("tokens", "visual_tokens", "text_tokens")},
                }
            ),
            "pruner": _record(
                {
                    "prune_layer": {"type": "integer", "minimum": 1},
                    "keep": _COUNT,
                    "budget": {"type": "object", "additionalProperties": {"type": "number"}, "maxProperties": 1},
                    "convention": {"enum": ["paper", "row_normalized", "released"]},
                    "over_images": {"enum": ["each", "all"]},
                }
            ),
            "cut": {
                "type": "array",
                "items": _record(
                    {
                        "image": {"type": ["integer", "null"]},
                        "visual_tokens": _COUNT,
                        "keep": _COUNT,
                        "lowest_kept": _SCORED,
                        "highest_dropped": _SCORED,
                        "gap": {"type": ["number", "null"]},
                    }
                ),
            },
            "answer": _TEXT,
            "arrays": _record(
                {
                    name: _record(
                        {
                            "dtype": _TEXT,
                            "shape": {"type": "array", "items": _COUNT},
                            "axes": _TEXT,
                            "meaning": _TEXT,
                        }
                    )
                    for name in ARRAYS
                }
            ),
            "tolerances": {"type": "object"},
            "how_to_answer": {"type": "array", "items": _TEXT},
            "files": {"type": "object", "additionalProperties": _SHA},
        }
    ),
}
"""Draft 2020-12."""
