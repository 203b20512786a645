"""`python -m sppdet` and the console command."""

from sppdet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
