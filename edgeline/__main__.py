"""`edgeline` and `python -m edgeline`."""

import sys


def main() -> None:
    """The command line; Ctrl-C while it is being imported ends it without a word, with 130."""
    try:
        from edgeline.cli import main as cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
