"""From cases in memory to files, and never half of them."""
