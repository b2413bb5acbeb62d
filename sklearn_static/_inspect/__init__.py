"""What explains a prediction: the parts of an estimator, its linear map, and how it is shown."""
