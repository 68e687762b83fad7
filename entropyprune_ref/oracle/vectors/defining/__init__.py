"""What the vectors are: calls of the contracts, section by section, with the answers of the reference."""
