"""Text tables for the terminal."""

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return the rows as lines with aligned columns: the first `left` columns to the left, the others to the right."""
    sides = [(max(map(len, column)), "<" if k < left else ">") for k, column in enumerate(zip(*rows, strict=True))]
    lines = ([f"{cell:{side}{width}}" for cell, (width, side) in zip(row, sides, strict=True)] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def with_interval(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    """Return a fraction in percent with one decimal, "-" for None, and its interval, if there is one.

    sign: "+" for a difference in points.
    """
    if value is None or interval is None:
        return points(value, f"{sign}.1f")
    low, high = interval
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def percent(fraction: float | None) -> str:
    """Return the fraction in percent with two decimals, "-" for NaN and None."""
    return "-" if fraction is None or fraction != fraction else f"{fraction:.2%}"


def points(fraction: float | None, form: str = ".1f") -> str:
    """Return the fraction in percent without the sign, "-" for NaN and None."""
    return "-" if fraction is None or fraction != fraction else f"{100 * fraction:{form}}"
