"""The machine, its memory, the stopwatch."""
