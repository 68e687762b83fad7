"""What the mathematics stands on, out of the reader's way: arguments judged, exact scaling, chunks on threads."""
