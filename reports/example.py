"""The README's example, made from runs: `python -m reports.example RUN...` writes reports/example.html.gz, their report
with few pictures, and reports/example.png, its top as Chromium shows it.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reports import render, store

HERE = Path(__file__).parent
PICTURES = 250_000  # bytes of WebP, which gzip cannot make smaller
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOW = "1280,1000"
COLOURS = 128


def main(runs: Sequence[str]) -> int:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not runs or browser is None:
        print(f"expected a run folder or several, and {', '.join(BROWSERS[:-1])} or {BROWSERS[-1]} on the PATH")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        page = render.write(list(runs), folder, PICTURES)
        store.write_file(HERE / "example.html.gz", gzip.compress(page.read_bytes(), 9, mtime=0))
        store.write_file(HERE / "example.png", _top(browser, page))
    return 0


def _top(browser: str, page: Path) -> bytes:
    from PIL import Image

    shot, small = page.with_suffix(".png"), page.with_suffix(".small.png")
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}"]
    command = [browser, *words, f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(shot) as picture:
        picture.convert("RGB").quantize(COLOURS).save(small, optimize=True)
    return small.read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
