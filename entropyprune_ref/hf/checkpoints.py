"""Models and what prepares their prompts, from a local folder or a name that the library can resolve."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import cached_file

from .families import FAMILIES
from .prompts import Reader

DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def load_model(name: str, *, device: str = "cpu", dtype: str = "auto", attention: str | None = None) -> Any:
    """Returns the model of a checkpoint, ready to be run.

    Args:
        name: A folder, or a name that the library can resolve.
        device: Where it goes, such as "cpu" or "cuda:0"; "auto" spreads it over what there is (needs accelerate).
        dtype: One of `DTYPES`; "auto" is that of the checkpoint.
        attention: The library's name of an attention implementation; default: its choice.

    Raises:
        ValueError: Nothing of that name, of a family that is not known, or that cannot be loaded.
    """
    config = _config(name)
    more = {"device_map": "auto"} if device == "auto" else {}
    kind = getattr(transformers, FAMILIES[config.model_type].model)
    options = {"dtype": dtype, "attn_implementation": attention, "config": config, **more}
    model = _loaded("a checkpoint with all its weights", name, kind, **options)
    try:
        return (model if more else model.to(torch.device(device))).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device must be one that PyTorch can use, got {device!r}: {_first_line(error)}") from None


def untrained_like(model: Any, seed: int) -> Any:
    """Returns a model of the same architecture, dtype and device whose weights are drawn as before any training."""
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) > 1:
        raise ValueError(f"model must be on one device to be compared with an untrained one, got {len(devices)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(model)._from_config(model.config, dtype=model.dtype)
    return fresh.to(devices.pop()).eval().requires_grad_(False)


def load_reader(name: str) -> Reader:
    """Returns what prepares prompts for the model of a checkpoint.

    Raises:
        ValueError: The checkpoint has no tokenizer, no image processor, or no known family.
    """
    config = _config(name)
    tokenizer = _loaded("a checkpoint with a tokenizer", name, transformers.AutoTokenizer)
    tokenizer.chat_template = tokenizer.chat_template or _older_template(name)
    processor = _loaded("a checkpoint with an image processor", name, transformers.AutoImageProcessor)
    return Reader(config, tokenizer, processor)


def _config(name: str) -> Any:
    config = _loaded("a checkpoint", name, transformers.AutoConfig)
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"{name} must be a model of one of the families {', '.join(FAMILIES)}, got {config.model_type}"
        )
    return config


def _loaded(what: str, name: str, kind: Any, **options: Any) -> Any:
    if (name.startswith((".", "/", "~")) or name.count("/") > 1) and not Path(name).is_dir():
        raise ValueError(f"model must name a folder with a checkpoint, got {name!r}, which is none")
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"model must name {what}, got {name!r}: {_first_line(error)}") from None


def _older_template(name: str) -> str | None:
    """The chat template of checkpoints that have it in a file of its own."""
    missing = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    try:
        path = cached_file(name, "chat_template.json", **missing)
        template = json.loads(Path(path).read_text())["chat_template"] if path else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"chat_template.json of {name!r} must hold a chat template: {_first_line(error)}") from None
    return template if isinstance(template, str) else None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0][:200]}" if lines else type(error).__name__
