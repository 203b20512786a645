"""From a data set to a fitted detector."""
