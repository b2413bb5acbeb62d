"""Everything that only `fit` needs, from a teacher to the rows of a table."""
