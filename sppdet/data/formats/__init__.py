"""One file per foreign format of annotated images, and the search for the format of a folder."""
