"""One trial of a candidate: it is called with care, and what comes back is looked at."""
