"""Regions that may hold an object: selective search, its cache, and files of other programs."""
