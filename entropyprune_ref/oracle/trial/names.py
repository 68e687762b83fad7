"""Names: by which a candidate can be imported again, and of dtypes as people write them."""

import sys
from types import FunctionType, ModuleType
from typing import Any


def name_of(candidate: Any) -> str:
    """Returns "module:name": of a function its own, of any other object that of a module's variable that holds it.

    A function without a name has that of a variable of its own module, if there is one.

    Examples:
        >>> import functools, math
        >>> name_of(math.floor), name_of(functools.partial(math.floor)).startswith("functools.partial(")
        ('math:floor', True)
    """
    candidate = getattr(candidate, "candidate", candidate)  # of an isolated one
    module, name = getattr(candidate, "__module__", None), getattr(candidate, "__qualname__", None)
    if module and name and "<" not in name:
        return f"{module}:{name}"
    own = sys.modules.get(str(module))
    for place in [own] if isinstance(candidate, FunctionType) else [own, *sys.modules.values()]:
        if isinstance(place, ModuleType):
            for variable, value in list(vars(place).items()):
                if value is candidate:
                    return f"{place.__name__}:{variable}"
    return f"{module}:{name}" if module and name else repr(candidate)


ALIASES = {
    "double": "float64",
    "fp64": "float64",
    "float": "float32",
    "single": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
}


def dtype_name(text: str) -> str:
    """Returns PyTorch's name of a dtype.

    Examples:
        >>> [dtype_name(text) for text in ("torch.float16", "fp16", "half", "float64")]
        ['float16', 'float16', 'float16', 'float64']
    """
    text = text.removeprefix("torch.")
    return ALIASES.get(text, text)
