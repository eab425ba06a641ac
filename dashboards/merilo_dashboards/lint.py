"""Rules that every board file keeps, checked on the files themselves, so that none can be edited past them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from merilo_dashboards.board import DATASOURCE_NAME, SCHEMA_VERSION, UID_MAX
from merilo_dashboards.lint_panels import panel_faults
from merilo_dashboards.lint_queries import query_faults, variable_faults
from merilo_dashboards.palette import COLOURS
from merilo_dashboards.parts import DATASOURCE
from merilo_dashboards.texts import LANGUAGES

Node = Mapping[str, Any]
"""A part of a board file, foreign until it is checked."""

FIRST_VARIABLES = ("datasource", "company", "site")
CONSTANTS = ("db", "tz")
PANELS_MAX = 20
_CYRILLIC = re.compile(r"[Ѐ-ӿ]")


def faults(files: Mapping[str, str]) -> list[str]:
    """One line per broken rule: file, place, rule and what to change; nothing if all is well.

    Args:
        files: Text by path, ``en/merilo-company-en.json``.
    """
    found: list[str] = []
    boards: dict[str, Node] = {}
    for name, text in sorted(files.items()):
        try:
            boards[name] = json.loads(text)
        except ValueError as error:
            found.append(f"{name}: json: {error}")
            continue
        found += [f"{name}: {line}" for line in board_faults(boards[name])]
    found += list(_between_faults(boards))
    return found


def board_faults(board: Node) -> Iterator[str]:
    """What is wrong with one board."""
    variables = {str(one["name"]): one for one in board["templating"]["list"]}
    yield from _frame_faults(board)
    yield from _variable_faults(board["templating"]["list"])
    for one in board["annotations"]["list"]:
        for line in _annotation_faults(one, variables):
            yield f"annotation {one.get('name')!r}: {line}"
    yield from _place_faults(board["panels"])
    for panel in board["panels"]:
        for line in panel_faults(panel, variables):
            yield f"panel {panel.get('title')!r}: {line}"
    for where, colour in _colours(board, ""):
        if colour not in COLOURS:
            yield f"colour: {colour} at {where} is not in the palette"


def _frame_faults(board: Node) -> Iterator[str]:
    if len(str(board["uid"])) > UID_MAX:
        yield f"uid: {board['uid']} is longer than {UID_MAX} characters"
    if board.get("schemaVersion") != SCHEMA_VERSION:
        yield f"schema: expected schemaVersion {SCHEMA_VERSION}, found {board.get('schemaVersion')}"
    if board.get("editable") is not False:
        yield "editable: boards are generated, so editable must be false"
    if not board.get("title") or not board.get("description"):
        yield "words: expected a title and a description"
    if not all(str(board["time"][end]).startswith("now") for end in ("from", "to")):
        yield f"range: expected a relative stretch of time, found {board['time']}"
    if board["timezone"] in ("browser", "utc", ""):
        yield "zone: expected the IANA name of the zone that cuts the company's days"
    language = str(board["uid"]).rpartition("-")[2]
    if board.get("tags") != [f"merilo-{language}"] or language not in LANGUAGES:
        yield f"tag: expected the language's tag alone, found {board.get('tags')}"


def _variable_faults(variables: list[Node]) -> Iterator[str]:
    names = [str(one["name"]) for one in variables]
    if tuple(names[:3]) != FIRST_VARIABLES or tuple(names[-2:]) != CONSTANTS:
        yield f"variables: expected {', '.join(FIRST_VARIABLES)} first and {', '.join(CONSTANTS)} last, found {names}"
    sources = [one for one in variables if one["type"] == "datasource"]
    if len(sources) != 1 or sources[0].get("regex") != f"/^{DATASOURCE_NAME}$/":
        yield f"datasource: expected one variable of type datasource with regex /^{DATASOURCE_NAME}$/"
    for one in variables:
        if one["type"] == "query":
            for line in _query_variable_faults(one):
                yield f"variable {one['name']}: {line}"
        elif one["type"] == "constant" and one.get("hide") != 2:
            yield f"variable {one['name']}: a constant must be hidden"


def _query_variable_faults(variable: Node) -> Iterator[str]:
    if variable.get("datasource") != DATASOURCE:
        yield "datasource: expected ${datasource}"
    if variable.get("refresh") != 2 or variable.get("current") != {} or variable.get("options") != []:
        yield "refresh: expected refresh 2 and neither current nor options, which would be stale"
    if variable.get("multi") and (variable.get("allValue") != ".*" or not variable.get("includeAll")):
        yield "all: expected includeAll with allValue .*"
    yield from variable_faults(str(variable["query"]))


def _annotation_faults(annotation: Node, variables: Mapping[str, Any]) -> Iterator[str]:
    target = annotation.get("target")
    if not isinstance(target, Mapping) or not target.get("query"):
        yield "target: without a target with its query Grafana asks nothing"
        return
    if annotation.get("datasource") != DATASOURCE:
        yield "datasource: expected ${datasource}"
    if target["query"] != annotation.get("query"):
        yield "target: expected the same query in both places"
    if not str(target.get("timeEndColumn", "")).startswith("events."):
        yield "end: expected timeEndColumn as measurement.column, else every range is drawn as a line"
    yield from query_faults(str(target["query"]), variables)


def _place_faults(panels: list[Node]) -> Iterator[str]:
    ids = [panel["id"] for panel in panels]
    for number in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"id: {number} is given to several panels"
    if len([panel for panel in panels if panel["type"] not in ("row", "text")]) > PANELS_MAX:
        yield f"panels: more than {PANELS_MAX}"
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        x, y, w, h = (panel["gridPos"][name] for name in "xywh")
        if x < 0 or x + w > 24:
            yield f"place: panel {panel['title']!r} is outside the 24 columns"
        for cell in ((x + i, y + j) for i in range(w) for j in range(h)):
            if cell in taken:
                yield f"place: panels {taken[cell]!r} and {panel['title']!r} overlap"
                break
            taken[cell] = str(panel["title"])


def _colours(node: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name in ("color", "fixedColor", "iconColor") and isinstance(value, str):
                yield f"{where}/{name}", value
            else:
                yield from _colours(value, f"{where}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _colours(value, f"{where}/{index}")


def _between_faults(boards: Mapping[str, Node]) -> Iterator[str]:
    uids = [str(board["uid"]) for board in boards.values()]
    for uid in sorted({one for one in uids if uids.count(one) > 1}):
        yield f"uid: {uid} is given to several boards"
    for name, board in boards.items():
        language = name.partition("/")[0]
        own = {uid for uid in uids if uid.endswith(f"-{language}")} | {"${__dashboard.uid}"}
        for url in _urls(board):
            target = re.match(r"/d/([^/?]+)", url)
            if url and (target is None or target.group(1) not in own):
                yield f"{name}: link: {url} leads to no board of this language"
        for link in board["links"]:
            if link["type"] == "dashboards" and link["tags"] != [f"merilo-{language}"]:
                yield f"{name}: link: the menu of boards must list this language alone, found {link['tags']}"
    for name, board in boards.items():
        if name.startswith("en/"):
            other = name.replace("en/", "bg/").replace("-en.", "-bg.")
            if other not in boards:
                yield f"{name}: parity: no {other}"
            else:
                for line in parity_faults(board, boards[other], ""):
                    yield f"{name}: parity: {line}"


def _urls(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == "url" and isinstance(value, str):
                yield value
            elif name == "content" and isinstance(value, str):
                yield from re.findall(r"\]\(([^)]*)\)", value)
            else:
                yield from _urls(value)
    elif isinstance(node, list):
        for value in node:
            yield from _urls(value)


def parity_faults(en: Any, bg: Any, where: str) -> Iterator[str]:
    """Where the Bulgarian board differs from the English one in anything but words."""
    if isinstance(en, Mapping) and isinstance(bg, Mapping):
        if list(en) != list(bg):
            yield f"{where}: keys {sorted(set(en) ^ set(bg))} or their order differ"
        for name in en.keys() & bg.keys():
            yield from parity_faults(en[name], bg[name], f"{where}/{name}")
    elif isinstance(en, list) and isinstance(bg, list):
        if len(en) != len(bg):
            yield f"{where}: {len(en)} parts in English, {len(bg)} in Bulgarian"
        for index, (one, other) in enumerate(zip(en, bg, strict=False)):
            yield from parity_faults(one, other, f"{where}/{index}")
    elif isinstance(en, str) and isinstance(bg, str):
        named = bg.replace("title_bg", "title_en").replace("text_bg", "text_en").replace("-bg", "-en")
        if named != en and not _CYRILLIC.search(bg):
            yield f"{where}: {bg[:60]!r} is not a translation of {en[:60]!r}"
        if _CYRILLIC.search(en):
            yield f"{where}: Cyrillic letters in the English board: {en[:60]!r}"
        if where.endswith(("/title", "/description")) and en == bg and en:
            yield f"{where}: {en[:60]!r} is the same in both languages"
    elif en != bg:
        yield f"{where}: {en!r} in English, {bg!r} in Bulgarian"
