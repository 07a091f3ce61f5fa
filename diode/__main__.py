"""`python -m diode`."""

import sys

from diode.cli import main

if __name__ == "__main__":
    sys.exit(main())
