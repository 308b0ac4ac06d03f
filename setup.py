"""What pyproject.toml cannot say: the compiled part is built if a compiler is at hand, and nothing needs it."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("logferry._speedups", ["src/logferry/_speedups.c"], optional=True)])
