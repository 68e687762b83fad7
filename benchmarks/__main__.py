"""Runs every benchmark, one after the other: `python -m benchmarks [name ...]`."""

import importlib
import sys

NAMES = ("dual_gram", "token_entropy", "prefill", "in_place", "import_time")


def main() -> None:
    """Runs the benchmarks named on the command line, or all."""
    names = sys.argv[1:] or NAMES
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        sys.exit(f"benchmarks must be among {', '.join(NAMES)}, got {', '.join(unknown)}")
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"\n## {name}\n{(module.__doc__ or '').strip()}\n", flush=True)
        module.main()


if __name__ == "__main__":
    main()
