"""Formats of lines that are text: plain, raw, logfmt, syslog, Python logging, regular expressions."""
