"""Super-resolution and frame interpolation: an hourglass network corrects a first guess of a picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from suites.retention import PSNR_MOST, ssim
from tasks import frames, photographs
from tasks.motion import Move, frames_of
from tasks.networks import Hourglass, first_guess
from tasks.task import HOURGLASS, Data, Picture, Size, Sources, Task, rng

SIDE = 32  # pixels of the pictures
REACH = 12  # pixels that a moved piece may look beyond its own
WIDTH = 12


def _scores(outputs: Tensor, truth: Tensor) -> dict[str, float]:
    """Means over the pictures; what lies below black or above white is no information."""
    got, want = outputs.clamp(0, 1).double(), truth.double()
    errors = (got - want).square().flatten(1).mean(1).clamp(min=10 ** (-PSNR_MOST / 10))
    similar = [ssim(w, g) for w, g in zip(want.numpy(), got.numpy(), strict=True)]
    return {
        "psnr": (-10 * errors.log10()).mean().item(),
        "ssim": math.fsum(s for s in similar if s is not None) / len(similar),
    }


def _data(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> Data:
    """With the guess's own PSNR on the test pictures as floor."""
    return Data(train, test, _scores(first_guess(test[0]), test[1])["psnr"])


def _network(subject: str, data: Data) -> nn.Module:
    return Hourglass(subject, data.train[0].shape[1], WIDTH)


def _pictures(data: Data, outputs: Tensor, i: int) -> dict[str, Picture]:
    shown = {"truth": data.test[1][i], "guess": first_guess(data.test[0])[i], "result": outputs[i]}
    return {name: picture.numpy() for name, picture in shown.items()}


def _smaller(pictures: Tensor) -> Tensor:
    """Half the size and back, by bicubic interpolation, antialiased on the way down."""
    half = nn.functional.interpolate(pictures, scale_factor=0.5, mode="bicubic", antialias=True)
    return nn.functional.interpolate(half, scale_factor=2, mode="bicubic").clamp(0, 1)


def _blurred(sources: Sources, size: Size, seed: int) -> Data:
    drawn, found = rng("super-resolution", seed), []
    for photos, count in zip(photographs.split(sources.images, SIDE), (size.train, size.test), strict=True):
        truth = torch.from_numpy(photographs.pieces(photos, count, SIDE, drawn))
        found.append((_smaller(truth), truth))
    return _data(found[0], found[1])


def _moved(sources: Sources, size: Size, seed: int) -> Data:
    """Three frames of a photograph that moves: the outer two are given, that between is the truth."""
    drawn, found = rng("interpolation", seed), []
    for photos, count in zip(photographs.split(sources.images, SIDE + 2 * REACH), (size.train, size.test), strict=True):
        whole = [photographs.piece(photos, SIDE + 2 * REACH, drawn) for _ in range(count)]
        moves = [Move.drawn(drawn) for _ in range(count)]
        shots = np.stack([frames_of(p, move, 3, SIDE) for p, move in zip(whole, moves, strict=True)])
        found.append(_triplets(shots))
    return _data(found[0], found[1])


def _triplets(shots: Picture) -> tuple[Tensor, Tensor]:
    """[n, 3 frames, 3, H, W] as the outer frames stacked, and those between."""
    given = np.concatenate([shots[:, 0], shots[:, 2]], 1)
    return torch.from_numpy(given), torch.from_numpy(np.ascontiguousarray(shots[:, 1]))


def _filmed(sources: Sources, size: Size, seed: int) -> Data:
    """The same of a video: its first two thirds to train on, the rest to test with."""
    assert sources.video is not None
    video, drawn = frames.read(sources.video, SIDE), rng("video", seed)
    cut = len(video) * 2 // 3
    found = []
    for part, count in ((video[:cut], size.train), (video[cut:], size.test)):
        shots = []
        for _ in range(count):
            at = int(drawn.integers(len(part) - 2))
            top, left = (int(drawn.integers(n - SIDE + 1)) for n in part.shape[2:])
            shots.append(part[at : at + 3, :, top : top + SIDE, left : left + SIDE])
        found.append(_triplets(np.stack(shots)))
    return _data(found[0], found[1])


def _video_fault(sources: Sources) -> str | None:
    if sources.video is None:
        return "no video was given; --video FILE or a folder of frames"
    try:
        frames.read(sources.video, SIDE)
    except ValueError as error:
        return str(error)
    return None


SIZES = {
    "smoke": Size(2, 30, 8, 128, 24),
    "default": Size(5, 300, 8, 1024, 96),
    "full": Size(10, 300, 8, 1024, 192),
}
SUPER_RESOLUTION = Task(
    name="super-resolution",
    title="Super-resolution of photographs (twice, to 32 x 32 pixels)",
    metric="psnr",
    floor="bicubic interpolation",
    baselines=("avg+bilinear", "max"),
    subjects=HOURGLASS,
    sizes=SIZES,
    fault=lambda sources: photographs.fault(sources.images, SIDE),
    draw=_blurred,
    network=_network,
    loss=nn.functional.l1_loss,
    score=_scores,
    pictures=_pictures,
    rate=3e-3,
)
INTERPOLATION = replace(
    SUPER_RESOLUTION,
    name="interpolation",
    title="Interpolation of frames (photographs under known pan, zoom and rotation)",
    floor="the mean of the two frames",
    fault=lambda sources: photographs.fault(sources.images, SIDE + 2 * REACH),
    draw=_moved,
)
VIDEO = replace(
    INTERPOLATION,
    name="video",
    title="Interpolation of frames of the video given",
    fault=_video_fault,
    draw=_filmed,
    source="video",
)
