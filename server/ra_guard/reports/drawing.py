"""Pictures for reports: matplotlib's objects, without its global figure, as SVG that stands inside an HTML page.

Colours are names of the page's own (``var(--ink)``), so that a picture follows it into the dark; the same data give
the same bytes. matplotlib is imported when the first picture is drawn: a process that reports nothing pays nothing.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN: Final = 7.6
"""Of every picture: one below the other, the same day stands in the same place."""

_MARGINS_IN: Final = {"left": 0.98, "right": 0.92, "top": 0.10, "bottom": 0.42}
_GAP_IN: Final = 0.16

INK, QUIET, LINE, CONTROL, TREATMENT, LIMIT = "#000001", "#000002", "#000003", "#000004", "#000005", "#000006"
"""Stand-ins for colours of the page, which `_themed` puts in their places."""
_THEME: Final = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    LINE: "var(--line)",
    CONTROL: "var(--control)",
    TREATMENT: "var(--treatment)",
    LIMIT: "var(--limit)",
}
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ra-guard",
    "font.family": "sans-serif",
    "font.size": 8.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "path.simplify": False,
}
_ONE_AT_A_TIME: Final = Lock()
"""matplotlib's settings are global; nothing else in this process draws."""
_FONTS: Final = "system-ui, 'Segoe UI', Roboto, Arial, 'DejaVu Sans', sans-serif"


def drawn(name: str, heights_in: Sequence[float], paint: Callable[[list[Axes]], None]) -> str:
    """The SVG of panels below each other that share their x axis; ``paint`` fills them, the topmost first."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    height = sum(heights_in) + _GAP_IN * (len(heights_in) - 1) + _MARGINS_IN["top"] + _MARGINS_IN["bottom"]
    with _ONE_AT_A_TIME, mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, height))
        FigureCanvasSVG(figure)
        panels: list[Axes] = []
        top = height - _MARGINS_IN["top"]
        for panel_height in heights_in:
            width = WIDTH_IN - _MARGINS_IN["left"] - _MARGINS_IN["right"]
            place = (_MARGINS_IN["left"], top - panel_height, width, panel_height)
            rectangle = (place[0] / WIDTH_IN, place[1] / height, place[2] / WIDTH_IN, place[3] / height)
            panels.append(figure.add_axes(rectangle, sharex=panels[0] if panels else None))
            top -= panel_height + _GAP_IN
        paint(panels)
        for panel in panels[:-1]:
            panel.tick_params(labelbottom=False)
        file = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _inline(file.getvalue(), name)


def _inline(svg: str, name: str) -> str:
    """Only the element, with ids that no other picture of the page has, and the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href=", "href=")
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style\b.*?</style>\s*|<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*" height="[^"]*"|(<svg\b[^>]*?) height="[^"]*"', r"\1\2", svg, count=1)
    used = sorted(set(re.findall(r'(?:href="|url\()#([^")]+)', svg)), key=svg.index)
    ours = {old: f"{name}-{number}" for number, old in enumerate(used)}
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{ours[found[1]]}"' if found[1] in ours else "", svg)
    svg = re.sub(r"#([0-9A-Za-z_]+)(?=[\")])", lambda found: f"#{ours.get(found[1], found[1])}", svg)
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {_FONTS}", svg)
    for stand_in, colour in _THEME.items():
        svg = svg.replace(stand_in, colour)
    return "\n".join(line.rstrip() for line in svg.splitlines())
