"""What the supervisor tells the programs that it starts: one line of JSON on standard input each."""

from pydantic import BaseModel, ConfigDict

from ra_guard.config import Settings


class Orders(BaseModel):
    """What a worker is told."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    index: int
    """0, 1, ...: the worker's place in the fleet; counts up its metrics port and names its log segments."""
    port: int
    control: str
    """Addresses of the control plane."""
    cpu: int | None
    """The core to stay on."""


class ControlOrders(BaseModel):
    """What a control plane is told."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    port: int
    """Reserved by who starts it."""


class ShipperOrders(BaseModel):
    """What the shipper of logs is told."""

    model_config = ConfigDict(frozen=True)

    settings: Settings


class WatchOrders(BaseModel):
    """What the watch is told."""

    model_config = ConfigDict(frozen=True)

    settings: Settings
    control: str
    """Addresses of the control plane."""
