"""What pyproject.toml cannot say: the compiled part is built if a compiler is at hand, and nothing needs it.

LOGFERRY_COMPILED=no leaves it out (a wheel for any machine), LOGFERRY_COMPILED=must fails where it cannot be built.
"""

import os
from glob import glob

from setuptools import Extension, setup

_wanted = os.environ.get("LOGFERRY_COMPILED", "auto")

_COMPILED = Extension(
    "logferry._speedups",
    sorted(glob("src/native/*.c")),
    depends=sorted(glob("src/native/*.h")),
    # Debug information has the name of the folder that it was built in.
    extra_compile_args=["-g0"],
    optional=_wanted != "must",
)

setup(ext_modules=[] if _wanted == "no" else [_COMPILED])
