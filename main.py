#!/usr/bin/env python3
"""`logferry` from a checkout, with nothing installed: `python3 main.py --log-file app.log`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from logferry.cli.dispatch import main

if __name__ == "__main__":
    sys.exit(main())
