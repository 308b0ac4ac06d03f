"""`python3 -m logferry` is `logferry`."""

import sys

from logferry.cli import main

sys.exit(main())
