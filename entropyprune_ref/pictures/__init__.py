"""Pictures: entropy curves, kept tokens, accuracy against budget."""
