"""The formats of text lines: plain, raw, logfmt, syslog, Python logging, regular expressions."""
