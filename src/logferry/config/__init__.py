"""Every option, declared once; `--help`, `.env.example` and docs/configuration.md are made from these tables.

`kinds` says how a text becomes a value, `client_options` and `server_options` are the tables, `settings` what the rest
of the program is given, `loading` the way from one to the other, `toml_file` the configuration file.
"""

from logferry.config.client_options import INPUT_OPTIONS, SHIP_OPTIONS, STATUS_OPTIONS, VERIFY_OPTIONS
from logferry.config.conflicts import STANDARD_INPUT
from logferry.config.environment import former_names
from logferry.config.loading import load
from logferry.config.options import Option
from logferry.config.pages import env_example, markdown_table
from logferry.config.server_options import FSCK_OPTIONS, SERVE_OPTIONS
from logferry.config.settings import (
    FileSettings,
    FsckSettings,
    InputSettings,
    ServeSettings,
    Settings,
    ShipSettings,
    StatusSettings,
    VerifySettings,
)

__all__ = [
    "FSCK_OPTIONS",
    "INPUT_OPTIONS",
    "SERVE_OPTIONS",
    "SHIP_OPTIONS",
    "STANDARD_INPUT",
    "STATUS_OPTIONS",
    "VERIFY_OPTIONS",
    "FileSettings",
    "FsckSettings",
    "InputSettings",
    "Option",
    "ServeSettings",
    "Settings",
    "ShipSettings",
    "StatusSettings",
    "VerifySettings",
    "env_example",
    "former_names",
    "load",
    "markdown_table",
]
