"""Values that are read when somebody collects, for any process: OpenTelemetry's observable instruments."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

Read = Callable[[], float]


class Instruments:
    """A meter whose values are kept elsewhere and read at each collection."""

    def __init__(self, readers: Sequence[MetricReader], resource: Resource) -> None:
        self._provider = MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)
        self.meter = self._provider.get_meter("ra_guard")

    def gauge(self, name: str, read: Read, *, unit: str, description: str, **attributes: str) -> None:
        """Registers a value that is read at each collection; NaN is left out."""
        self.meter.create_observable_gauge(name, [_observing(read, attributes)], unit, description)

    def gauges(
        self, name: str, read: Callable[[], Iterable[tuple[float, Mapping[str, str]]]], *, unit: str, description: str
    ) -> None:
        """Registers values with their attributes, which are found at each collection; NaN is left out."""

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, attributes) for value, attributes in read() if value == value]

        self.meter.create_observable_gauge(name, [observe], unit, description)

    def counter(self, name: str, read: Read, *, unit: str, description: str, **attributes: str) -> None:
        """Registers a total kept elsewhere, read at each collection."""
        self.meter.create_observable_counter(name, [_observing(read, attributes)], unit, description)

    def close(self) -> None:
        """Exports what is left and stops the readers."""
        self._provider.shutdown()


def _observing(read: Read, attributes: Mapping[str, str]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        value = read()
        if value == value:  # not NaN
            yield Observation(value, attributes)

    return observe
