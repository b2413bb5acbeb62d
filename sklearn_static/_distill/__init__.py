"""What `fit` needs and `transform` does not: from a teacher to the rows of a table."""
