#!/usr/bin/env python3
"""`logferry` from a checkout, with nothing installed: `python3 main.py --log-file app.log`."""

import os
import sys

if __name__ == "__main__":
    try:
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "src"))
        from logferry.cli.start import main
    except KeyboardInterrupt:  # Ctrl-C before the program can handle it
        os._exit(130)
    sys.exit(main())
