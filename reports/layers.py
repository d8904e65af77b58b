"""Layers of published networks in a reader's words, by the input they pool. Facts only."""

from __future__ import annotations

_NAMES = """
64x112x112    | a ResNet stem
64x56x56      | ResNet stage 2
128x56x56     | a DenseNet transition
64x224x224    | VGG stage 1
256x56x56     | VGG stage 3
512x14x14     | VGG stage 5
512x13x13     | spatial pyramid pooling
512x7x7       | global pooling
3x2160x3840   | a 4K frame
64x4096       | 1-D audio
32x8x28x28    | a 3-D video clip
16x112x112    | a ResNet stem | 16 of its 64 channels
16x28x28      | a small input
"""
_LINES = [[part.strip() for part in line.split("|")] for line in _NAMES.strip().splitlines()]
NAMES = {shape: (name, *note) for shape, name, *note in _LINES}
_ORDER = list(NAMES)


def name(shape: str) -> str:
    """What a layer with this input is called; its size where it has no name.

    >>> name("64x64x112x112"), name("2x3x4")
    ('a ResNet stem', 'the input 2×3×4')
    """
    named, note = words(shape)
    return f"{named} ({note})" if note else named


def words(shape: str) -> tuple[str, str]:
    """The name, and what has to be said of it besides."""
    named, *note = NAMES.get(shape.partition("x")[2], (f"the input {shape.replace('x', '×')}",))
    return named, "".join(note)


def place(shape: str) -> int:
    """Where the layer stands in a list: known ones first, in the order above."""
    known = shape.partition("x")[2]
    return _ORDER.index(known) if known in NAMES else len(_ORDER)
