"""Explanation of predictions: the parts of an estimator, its linear map, and displays."""
