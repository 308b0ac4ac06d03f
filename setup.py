"""What pyproject.toml cannot say: the compiled part is built if a compiler is at hand, and nothing needs it."""

from glob import glob

from setuptools import Extension, setup

_COMPILED = Extension(
    "logferry._speedups",
    sorted(glob("src/native/*.c")),
    depends=sorted(glob("src/native/*.h")),
    optional=True,
)

setup(ext_modules=[_COMPILED])
