"""Whether the extra `logferry[console]` is there. Imports none of it, so that its absence is one sentence."""

from importlib.util import find_spec

from logferry.errors import ConfigError


def require() -> None:
    """Raise ConfigError if what the console needs is not installed."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError([f"the console needs {' and '.join(missing)}: pip install 'logferry[console]'"])
