"""Data sets written in another format."""
