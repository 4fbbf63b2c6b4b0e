"""Apache Beam: the runner that options name, and work that spreads over its workers by URI."""
