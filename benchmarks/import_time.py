"""What `import entropyprune_ref` adds to `import torch`, each time in a fresh process (wanted: below 0.3 s)."""

import subprocess
import sys
from statistics import median

CODE = """
import time
a = time.perf_counter()
import torch
b = time.perf_counter()
import entropyprune_ref
print(b - a, time.perf_counter() - b)
"""


def measure() -> tuple[float, float]:
    """Returns seconds of `import torch`, and what the package adds, in one fresh process."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    base, added = map(float, done.stdout.split())
    return base, added


def main(rounds: int = 7) -> None:
    """Prints medians over fresh processes, after one that warms the disk cache."""
    measure()
    pairs = [measure() for _ in range(rounds)]
    base, added = (median(column) for column in zip(*pairs, strict=True))
    print(f"import torch {base:.3f} s; import entropyprune_ref adds {added:.3f} s ({added / base:.1%})")


if __name__ == "__main__":
    main()
