#!/usr/bin/env python3
"""`logferry serve` from a checkout, with nothing installed: `python3 server_main.py --data-dir ./data`.

Other commands by their names: `python3 server_main.py fsck --data-dir ./data`.
"""

import os
import sys

if __name__ == "__main__":
    try:
        sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "src"))
        from logferry.cli.start import main
    except KeyboardInterrupt:  # Ctrl-C before the program can handle it
        os._exit(130)
    sys.exit(main("serve"))
