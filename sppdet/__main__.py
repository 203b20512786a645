"""`python -m sppdet` and the console command."""

from sppdet.runtime.threads import wait_passively


def main() -> int:
    """Run the command that the arguments of the process name, and return the exit code."""
    wait_passively()
    from sppdet.cli import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
