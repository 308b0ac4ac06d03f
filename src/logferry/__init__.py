"""Logferry ships log lines from files to a central server over TCP, and can prove that they arrived."""

__version__ = "0.1.0"
