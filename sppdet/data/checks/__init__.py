"""Everything that is wrong with annotated data, found before a training."""
