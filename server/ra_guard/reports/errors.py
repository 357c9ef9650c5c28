"""What reports refuse: a place that does not take them."""

from ra_guard.errors import Code, Refused


class ReportNotWritten(Refused):
    """The folder is full, not writable, or no folder; what was there before is as it was."""

    status_code = Code.FAILED_PRECONDITION
