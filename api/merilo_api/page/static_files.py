"""Styles, scripts and vendored libraries, compressed and kept by the browser."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

YEAR_S = 31_536_000


class Files(StaticFiles):
    """A file whose name carries its version never changes; the others are asked for again."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or that it has not changed."""
        answer = super().file_response(full_path, stat_result, scope, status_code)
        versioned = Path(full_path).parent.name == "vendor"
        answer.headers["cache-control"] = f"public, max-age={YEAR_S}, immutable" if versioned else "no-cache"
        return answer
