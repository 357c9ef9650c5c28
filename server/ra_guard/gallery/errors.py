"""What a gallery refuses. Errors of a single image never end an ingest: they become quarantine records."""

from ra_guard.errors import RaGuardError


class GalleryError(RaGuardError):
    """Base of what stops work on a gallery; the generation in force is as it was."""


class AlreadyRunning(GalleryError):
    """Another ingest holds the gallery."""


class BadName(GalleryError):
    """A domain, licence or provider that cannot be stored."""


class NoSuchFolder(GalleryError):
    """The folder to ingest does not exist or is not a folder."""


class NoSuchImage(GalleryError):
    """No row of the generation has this id."""


class SpaceConflict(GalleryError):
    """The models answer in another embedding space, or know other labels, than the gallery."""


class UnusableFeatures(GalleryError):
    """The models answered with something that is no embedding or no detection."""


class DiskFull(GalleryError):
    """The file system has no room, or the process may not write so much."""


class NotStored(GalleryError):
    """The file system refused a write for another reason."""


class RefusedImage(RaGuardError):
    """One image that cannot be used. ``variant`` names why; the ingest goes on."""


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


class RefusedByModel(RefusedImage):
    """The models could not read what the gallery could."""
