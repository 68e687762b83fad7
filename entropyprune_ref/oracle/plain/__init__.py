"""Plain implementations: the formulas as one would write them, which every bound is measured on."""
