"""An experiment's definition: one TOML file that says all of it, read strictly, so that no misspelling means a default.

``whole`` is the definition, ``treatment``, ... its parts; ``vocabulary`` holds the closed sets of words,
``table`` what all tables share; ``read`` turns text into a definition or one line of error; ``diff`` compares two.
"""

from ra_guard.experiments.definition.diff import differences
from ra_guard.experiments.definition.read import MAX_DEFINITION_BYTES, parse_definition, template
from ra_guard.experiments.definition.whole import Definition

__all__ = ["MAX_DEFINITION_BYTES", "Definition", "differences", "parse_definition", "template"]
