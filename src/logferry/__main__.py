"""`python3 -m logferry` is `logferry`."""

import sys

from logferry.cli.dispatch import main

sys.exit(main())
