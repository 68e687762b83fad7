"""Tables of the page on traces."""

import ast
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from entropyprune_ref import token_entropy
from entropyprune_ref.pruning import select_tokens
from entropyprune_ref.traces import ARRAYS, Trace, judge_trace, write_trace
from entropyprune_ref.traces.tolerances import described

ROOT = Path(__file__).parents[2]


def arrays() -> str:
    """What a trace holds."""
    return "\n".join(f"- `{name}`, `{array.shape}`: {array.meaning}" for name, array in ARRAYS.items())


def tolerances() -> str:
    """Of every dtype."""
    lines = ["| computed in | queries, of their size | logits, of their spread |", "| --- | --: | --: |"]
    for name, numbers in described().items():
        lines.append(f"| {name} | {numbers['queries']:.1g} | {numbers['logits']:.1g} |")
    return "\n".join(lines)


def wrong_engines() -> str:
    """By where they part first, read from the tests."""
    tree = ast.parse((ROOT / "tests" / "real" / "test_traces.py").read_text())
    table = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "WRONG"
    )
    assert isinstance(table, ast.Dict)
    by_array: dict[str, list[str]] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant) and isinstance(value, ast.Tuple)
        assert isinstance(value.elts[0], ast.Constant)
        by_array.setdefault(str(value.elts[0].value), []).append(str(key.value))
    return "\n".join(f"- `{name}`: {'; '.join(engines)}." for name, engines in by_array.items())


def example() -> str:
    """A toy trace, and an engine that renumbers positions."""
    generator = torch.Generator().manual_seed(0)
    visual, text, heads = 6, 4, 4
    queries = torch.randn(visual, heads, 8, generator=generator)
    index = torch.tensor([-1, -1, *[0] * visual, -1, -1])
    kept = select_tokens(token_entropy(queries), 3) + 2
    left = torch.cat([torch.tensor([0, 1]), kept, torch.tensor([8, 9])])
    logits = torch.randn(2, 12, generator=generator)
    told = {
        "input_ids": torch.arange(visual + text),
        "image_index": index,
        "positions": torch.arange(visual + text),
        "queries": queries,
        "scores": token_entropy(queries),
        "kept": kept,
        "left_positions": left,
        "cache_lengths": torch.tensor([10, 10, 7, 7]),
        "decode_positions": torch.tensor([10]),
        "tokens": logits.argmax(1),
        "logits": logits,
    }
    record = {"model": {"dtype": "bfloat16"}, "pruner": {"convention": "paper", "over_images": "each"}}
    with tempfile.TemporaryDirectory() as folder:
        trace = write_trace(Trace(record, told), Path(folder) / "T")
        theirs = {name: told[name].clone() for name in ("kept", "cache_lengths", "logits")}
        theirs["left_positions"] = torch.arange(7)
        metadata = {"format_version": "1", "trace": _id(trace), "dtype": "bfloat16"}
        save_file(theirs, Path(folder) / "answers.safetensors", metadata)
        found = str(judge_trace(trace, Path(folder) / "answers.safetensors"))
    return "```text\n" + found.replace(f"{folder}/", "") + "\n```"


def _id(trace: Path) -> str:
    import json

    return str(json.loads((trace / "manifest.json").read_text())["id"])
