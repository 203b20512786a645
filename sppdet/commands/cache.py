"""Show the caches, and remove old entries."""

from typing import Any

from sppdet.commands.summary import Summary
from sppdet.errors import ConfigError
from sppdet.wording import counted


def cache(*, prune_older: float | None = None, keep_gb: float | None = None) -> Summary:
    """Show what the caches hold for each configuration, and remove old entries.

    The caches are in $SPPDET_CACHE, or ~/.cache/sppdet. What is removed is computed again when it is needed. Other
    files are never removed.

    Example: sppdet cache --prune_older 30

    Args:
        prune_older: remove entries that were not used for this many days
        keep_gb: remove entries used longest ago, until the others take this many GB
    """
    for field, value in {"prune_older": prune_older, "keep_gb": keep_gb}.items():
        if value is not None and not value >= 0:
            raise ConfigError("out of range", field=field, expected="0 or more", got=value)

    import time

    from sppdet.drawing.tables import align
    from sppdet.files.cache import DAY, Entry, find_entries, prune
    from sppdet.files.durable import cache_folder

    lines, removed = list[str](), list[Entry]()
    if prune_older is not None or keep_gb is not None:
        removed = prune(prune_older, None if keep_gb is None else keep_gb * 1e9)
        lines.append(f"removed {counted(len(removed), 'entry')}, {sum(entry.size for entry in removed) / 1e9:.2f} GB")
    kinds: dict[tuple[str, str], list[Entry]] = {}
    for entry in find_entries():
        kinds.setdefault((entry.kind, entry.made_by()), []).append(entry)
    table, values, total = [["", "images", "GB", "days unused"]], list[dict[str, Any]](), 0.0
    for (kind, made_by), entries in sorted(kinds.items()):
        size, used = sum(entry.size for entry in entries), max(entry.used for entry in entries)
        days, total = max(0.0, time.time() - used) / DAY, total + size / 1e9
        values.append({"kind": kind, "made_by": made_by, "images": len(entries), "bytes": size, "days_unused": days})
        name = f"{kind}: {made_by or 'made by an earlier version'}"
        table.append([name, str(len(entries)), f"{size / 1e9:.2f}", f"{days:.1f}"])
    lines += [*([align(table)] if values else []), f"{total:.2f} GB in {cache_folder()}"]
    return Summary({"folder": cache_folder(), "removed": len(removed), "entries": values}, "\n".join(lines))
