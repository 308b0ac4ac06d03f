#!/usr/bin/env python3
"""`logferry serve` from a checkout, with nothing installed: `python3 server_main.py --data-dir ./data`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from logferry.cli.dispatch import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
