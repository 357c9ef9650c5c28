"""What every table of a definition shares: strict, frozen, closed to unknown words; and the scalar types with bounds.

Numbers and dates are never taken from text, and true is no number. Words become members of the vocabulary's enums.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator


class Mistake(ValueError):
    """A value that a table refuses; `read` puts the table's place before it."""

    def __init__(self, *, found: str, wanted: str, cure: str) -> None:
        super().__init__(found)
        self.found = found
        self.wanted = wanted
        self.cure = cure


class UnknownWord(Mistake):
    """A field that the table does not have."""


class Table(BaseModel):
    """One table of a definition."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_known_words(cls, values: object) -> object:
        """Pydantic would refuse them too, without saying which are allowed."""
        if isinstance(values, Mapping) and (unknown := sorted(set(values) - set(cls.model_fields))):
            raise UnknownWord(
                found=", ".join(map(str, unknown)),
                wanted=f"only {', '.join(sorted(cls.model_fields))}",
                cure=spelling(str(unknown[0]), cls.model_fields),
            )
        return values


def spelling(found: str, allowed: Mapping[str, object] | list[str]) -> str:
    """The cure for a word that is not allowed: the nearest one that is."""
    close = get_close_matches(found, list(allowed), n=1)
    return f"did you mean {close[0]}?" if close else "correct the spelling"


Number = Annotated[float, Strict()]
Share = Annotated[float, Strict(), Field(gt=0, lt=100)]
"""A percentage strictly between 0 and 100."""
Count = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(ge=1)]
Minutes = Annotated[int, Strict(), Field(ge=0, le=7 * 24 * 60)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
