"""`python -m sppdet` and the console command."""

from sppdet.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
