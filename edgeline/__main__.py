"""`edgeline` and `python -m edgeline`."""

import os
import sys

# oneDNN, which TensorFlow takes on some processors alone, makes 0 of a missing number in a dense
# layer with a ReLU: what a model answers would depend on the machine
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def main() -> None:
    """The command line; Ctrl-C while it is being imported ends it without a word, with 130."""
    try:
        from edgeline.cli import main as cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
