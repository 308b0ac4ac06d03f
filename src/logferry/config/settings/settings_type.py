"""The type variable for the settings of any command. Never imports the settings classes at run time."""

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from logferry.config.settings.client_settings import RepairSettings, StatusSettings, TrySettings
    from logferry.config.settings.console_settings import ConsoleSettings
    from logferry.config.settings.server_settings import FsckSettings, ServeSettings
    from logferry.config.settings.ship_settings import ShipSettings

Settings = TypeVar(
    "Settings",
    bound="ShipSettings | ServeSettings | RepairSettings | FsckSettings | StatusSettings | TrySettings "
    "| ConsoleSettings",
)
