"""What `demo` and `collapse` show: the method and its rivals at work on the bundled model."""
