"""What draws: entropy curves, kept tokens, accuracy against budget."""
