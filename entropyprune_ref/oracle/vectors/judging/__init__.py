"""From the answers of another program to a verdict."""
