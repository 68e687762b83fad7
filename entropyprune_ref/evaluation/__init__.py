"""What the bundled model is measured by: accuracy under pruning, with intervals, tables and the model card."""
