"""Every option, declared once; `--help`, `.env.example` and docs/configuration.md are generated from the declarations.

The rest of the program receives settings; `settings` has those of each command. Their fields declare the options.
`options` defines what a declaration is; `kinds` parses texts into values. `loading` finds each value: on the command
line, in the environment, in the file, or the default.

Names that a starting client does not need are imported on first use, because building settings classes is slow.
"""

from typing import TYPE_CHECKING

from logferry.config.kinds.input_kinds import STANDARD_INPUT
from logferry.config.loading.environment import former_names
from logferry.config.loading.loading import load
from logferry.config.options import Group, Option, options_of
from logferry.config.settings.client_settings import RepairSettings, StatusSettings, TrySettings, VerifySettings
from logferry.config.settings.connection_settings import ConnectionSettings
from logferry.config.settings.input_settings import FileSettings, InputSettings
from logferry.config.settings.settings_type import Settings
from logferry.config.settings.ship_settings import ShipSettings

if TYPE_CHECKING:
    from logferry.config.pages import env_example, markdown_table
    from logferry.config.settings.console_settings import ConsoleSettings
    from logferry.config.settings.server_settings import FsckSettings, ServeSettings
    from logferry.config.tables import (
        CONSOLE_OPTIONS,
        FSCK_OPTIONS,
        INPUT_OPTIONS,
        SERVE_OPTIONS,
        SHIP_OPTIONS,
        STATUS_OPTIONS,
        VERIFY_OPTIONS,
    )
else:
    _RARE = {
        **dict.fromkeys(("env_example", "markdown_table"), "pages"),
        **dict.fromkeys(("FsckSettings", "ServeSettings"), "settings.server_settings"),
        "ConsoleSettings": "settings.console_settings",
        "CONSOLE_OPTIONS": "tables",
        **dict.fromkeys(("FSCK_OPTIONS", "INPUT_OPTIONS", "SERVE_OPTIONS"), "tables"),
        **dict.fromkeys(("SHIP_OPTIONS", "STATUS_OPTIONS", "VERIFY_OPTIONS"), "tables"),
    }

    def __getattr__(name: str) -> object:
        """Import a name from one of the rarely used modules (PEP 562)."""
        from importlib import import_module

        if name not in _RARE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_RARE[name]}"), name)


__all__ = [
    "CONSOLE_OPTIONS",
    "FSCK_OPTIONS",
    "INPUT_OPTIONS",
    "SERVE_OPTIONS",
    "SHIP_OPTIONS",
    "STANDARD_INPUT",
    "STATUS_OPTIONS",
    "VERIFY_OPTIONS",
    "ConnectionSettings",
    "ConsoleSettings",
    "FileSettings",
    "FsckSettings",
    "Group",
    "InputSettings",
    "Option",
    "RepairSettings",
    "ServeSettings",
    "Settings",
    "ShipSettings",
    "StatusSettings",
    "TrySettings",
    "VerifySettings",
    "env_example",
    "former_names",
    "load",
    "markdown_table",
    "options_of",
]
