"""Colours by meaning: the eight of Okabe and Ito, which people with any colour vision can tell apart.

Masataka Okabe and Kei Ito, "Color Universal Design", 2008. The states have the colours of the built-in page.
"""

from __future__ import annotations

BLUE = "#0072B2"
SKY = "#56B4E9"
ORANGE = "#E69F00"
YELLOW = "#F0E442"
GREEN = "#009E73"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#999999"

METERED = BLUE
BRIDGED = SKY
ESTIMATED = ORANGE
MISSING = VERMILLION
GOOD = GREEN
FAIR = ORANGE
POOR = VERMILLION
NEUTRAL = BLUE

COLOURS = frozenset({BLUE, SKY, ORANGE, YELLOW, GREEN, VERMILLION, PURPLE, GREY})
