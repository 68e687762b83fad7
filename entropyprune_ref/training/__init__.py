"""How the bundled model is trained on the little world."""
