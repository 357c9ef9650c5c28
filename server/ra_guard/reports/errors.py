"""What reports refuse: a place that does not take them."""

from ra_guard.errors import Code, RaGuardError


class ReportNotWritten(RaGuardError):
    """The folder is full, not writable, or no folder; what was there before is as it was."""

    status_code = Code.FAILED_PRECONDITION

    def __init__(self, *, found: str, wanted: str, cure: str) -> None:
        super().__init__(f"found {found}, wanted {wanted}; {cure}")
        self.found = found
        self.wanted = wanted
        self.cure = cure
