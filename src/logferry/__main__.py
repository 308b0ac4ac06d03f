"""`python3 -m logferry` runs the `logferry` command."""

import sys

from logferry.cli.start import installed

sys.exit(installed())
