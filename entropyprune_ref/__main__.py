"""`python -m entropyprune_ref`, the same as `entropyprune-ref`."""

from entropyprune_ref.cli import main

if __name__ == "__main__":
    main()
