"""What a gallery refuses. Errors of a single image never end an ingest: they become quarantine records."""

from ra_guard.errors import Code, RaGuardError


class GalleryError(RaGuardError):
    """Base of what stops work on a gallery; the generation in force is as it was."""


class AlreadyRunning(GalleryError):
    """Another ingest holds the gallery."""

    status_code = Code.ABORTED


class BadName(GalleryError):
    """A domain, licence or provider that cannot be stored."""

    status_code = Code.INVALID_ARGUMENT


class NoSuchFolder(GalleryError):
    """The folder to ingest does not exist or is not a folder."""

    status_code = Code.NOT_FOUND


class NoSuchImage(GalleryError):
    """No row of the generation has this id."""

    status_code = Code.NOT_FOUND


class SpaceConflict(GalleryError):
    """The models answer in another embedding space, or know other labels, than the gallery."""

    status_code = Code.FAILED_PRECONDITION


class UnusableFeatures(GalleryError):
    """The models answered with something that is no embedding or no detection."""

    status_code = Code.INTERNAL


class DiskFull(GalleryError):
    """The file system has no room, or the process may not write so much."""

    status_code = Code.RESOURCE_EXHAUSTED


class NotStored(GalleryError):
    """The file system refused a write for another reason."""

    status_code = Code.UNAVAILABLE


class RefusedImage(RaGuardError):
    """One image that cannot be used. ``variant`` names why; the ingest goes on."""

    status_code = Code.INVALID_ARGUMENT


class EmptyFile(RefusedImage):
    """No bytes."""


class FileTooLarge(RefusedImage):
    """More bytes than the gallery takes."""


class UnreadableFile(RefusedImage):
    """The operating system does not let it be read."""


class UndecodableImage(RefusedImage):
    """Not an image, or a broken one."""


class TooManyPixels(RefusedImage):
    """More pixels than the gallery decodes."""


class BadId(RefusedImage):
    """A file name that cannot be an id."""


class IdTaken(RefusedImage):
    """Another image has this id."""

    status_code = Code.ALREADY_EXISTS


class RefusedByModel(RefusedImage):
    """The models could not read what the gallery could."""
