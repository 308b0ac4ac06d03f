"""The options of each command, derived from its settings. Nothing is declared here."""

from typing import Final

from logferry.config.options import options_of
from logferry.config.settings.client_settings import StatusSettings, VerifySettings
from logferry.config.settings.console_settings import ConsoleSettings
from logferry.config.settings.input_settings import InputSettings
from logferry.config.settings.server_settings import FsckSettings, ServeSettings
from logferry.config.settings.ship_settings import ShipSettings

INPUT_OPTIONS: Final = options_of(InputSettings)
SHIP_OPTIONS: Final = options_of(ShipSettings)
VERIFY_OPTIONS: Final = options_of(VerifySettings)
STATUS_OPTIONS: Final = options_of(StatusSettings)
SERVE_OPTIONS: Final = options_of(ServeSettings)
FSCK_OPTIONS: Final = options_of(FsckSettings)
CONSOLE_OPTIONS: Final = options_of(ConsoleSettings)
