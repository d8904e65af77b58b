"""The retained-information probe: PSNR and SSIM of photographs by protocols P1 to P3, and the gallery's pictures.

docs/measuring.md says what the protocols are. Deterministic. Knows subjects and photographs; nothing of records.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapool import functional, registry, unpooling
from suites import images, machine, resample, verify
from suites.case import Case
from suites.finding import Finding
from suites.subject import Subject
from suites.subjects import build, tensor_operands
from suites.timed import Timed

Array = NDArray[np.float64]
PSNR_MOST = 100.0  # dB of an exact match, so that a record stays finite
PICTURE = 192  # pixels of a gallery picture's side
METRICS = ("psnr", "ssim")


@machine.threads(1)  # small pictures: more threads only wait for each other, longest on a busy machine
def measure(case: Case, device: torch.device, seed: int, count: int, gallery: Path | None, shown: int) -> list[Finding]:
    """Findings per photograph, protocol and metric. A broken photograph gives one skipped finding per metric."""
    found: list[Finding] = []
    good, wrong = 0, None
    for photo in images.photos(case.images, count):
        of: dict[str, Any] = {"protocol": "P1", "image": photo.name}
        if photo.fault is not None:
            found += [Finding(metric, status="skipped", reason=photo.fault, **of) for metric in METRICS]
            continue
        original = _load(photo, case.crop, case.kernel)
        if good == 0:
            wrong = _fault(case, device, seed, original)
        if wrong is not None:
            found += [Finding(metric, status="incorrect", reason=wrong, **of) for metric in METRICS]
            continue
        found += one(case, device, seed, photo.name, original, gallery if good < shown else None)
        good += 1
    return found


@lru_cache(maxsize=8)
def _load(photo: images.Photo, crop: int | None, kernel: tuple[int, ...]) -> Array:
    return images.whole(images.pixels(photo, crop), kernel)


def one(case: Case, device: torch.device, seed: int, name: str, original: Array, gallery: Path | None) -> list[Finding]:
    """Every protocol that the method has, on one photograph [3, H, W]."""
    height, width = original.shape[-2:]
    x = torch.tensor(original, dtype=torch.float32, device=device).unsqueeze(0)
    pooled = _pool(case, x, seed)
    planes = pooled[0].double().cpu().numpy()
    if not np.isfinite(planes).all():
        raise ArithmeticError("the pooled photograph holds NaN or inf")
    grids = list(zip(case.kernel, case.stride, case.padding, (height, width), planes.shape[-2:], strict=True))
    up = [resample.bicubic(size, cells, k, s, p) for k, s, p, size, cells in grids]
    down = [resample.lanczos(size, cells, k, s, p) for k, s, p, size, cells in grids]
    restored = resample.apply(up[0], up[1], planes)
    pairs = {"P1": (original, restored), "P2": (resample.apply(down[0], down[1], original), planes)}
    side = None
    inverse = _inverse(case, x, pooled)
    if inverse is not None:
        back, side = inverse
        pairs["P3"] = (original, back[0].double().cpu().numpy())
    pairs = {protocol: (_shown(reference), _shown(got)) for protocol, (reference, got) in pairs.items()}
    how = {
        "range": 1, "height": height, "width": width, "crop": case.crop, "color": "RGB",
        "clamped": "all pictures, to the range", "psnr_most": PSNR_MOST,
        "ssim": "skimage, gaussian_weights, sigma 1.5, data_range 1",
        "up": f"bicubic {resample.CUBIC}, aligned by centre", "down": f"Lanczos{resample.LOBES} antialiased",
    }  # fmt: skip
    of: dict[str, Any] = {"how": how, "image": name, "shape": (3, height, width)}
    found = []
    for protocol, (reference, got) in pairs.items():
        for metric, score in (("psnr", psnr(reference, got)), ("ssim", ssim(reference, got))):
            finding = Finding(metric, value=score, protocol=protocol, **of)
            if score is None:
                finding.status = "skipped"
                finding.reason = f"the pooled photograph is smaller than SSIM's window ({min(got.shape[-2:])} pixels)"
            found.append(finding)
    if side is not None:
        found.append(Finding("side_bytes", value=float(side), protocol="P3", **of))
    if gallery is not None and len(set(case.kernel)) == 1 and case.kernel == case.stride:
        _pictures(gallery, name, case, original, planes, restored)
    return found


def _pool(case: Case, x: Tensor, seed: int) -> Tensor:
    """The method on a photograph, by the same callable that the other probes use, its operands at their defaults."""
    shaped = replace(case, shape=tuple(x.shape), direction="forward", probe="latency")
    subject = build(shaped, x.device, seed)
    _show(subject, case, x)
    with torch.no_grad():
        return subject.call(*subject.inputs)


def _show(subject: Subject, case: Case, x: Tensor) -> None:
    """Put a photograph where the numbers were."""
    with torch.no_grad():
        subject.inputs[0].copy_(x)
        if case.own is None and case.method in registry.names():
            for tensor, spec in zip(subject.inputs[1:], tensor_operands(case.method), strict=False):
                if spec.kind == "input":  # lip's G(x) = x, as the library does when no logits are given
                    tensor.copy_(x)


def _fault(case: Case, device: torch.device, seed: int, original: Array) -> str | None:
    """What the method gives for a photograph that its definition does not, or None; the photograph stands for all."""
    x = torch.tensor(original, dtype=torch.float32, device=device).unsqueeze(0)
    shaped = replace(case, shape=tuple(x.shape), direction="forward", probe="latency")
    timed = Timed(build(shaped, device, seed), shaped, seed)
    timed()  # on other numbers, which whoever remembers gives again
    _show(timed.subject, case, x)
    state, outputs = timed.state(), timed()
    if (fault := verify.unfit(timed, outputs)) is not None:
        return fault
    if not timed.untouched(state):
        return "the call changed its inputs"
    if timed.subject.oracle is None:
        return verify.compare_with_itself(timed, outputs)[0]
    return verify.compare(shaped, outputs, timed.expected(state))[0] or verify.golden(shaped)


def _inverse(case: Case, x: Tensor, pooled: Tensor) -> tuple[Tensor, int] | None:
    """The photograph restored by the method's own inverse, and the bytes it needs beside the pooled tensor."""
    if case.method not in registry.names() or case.ceil_mode:
        return None
    extra = registry.get(case.method).extra
    k, s, p = case.kernel, case.stride, case.padding
    size = tuple(x.shape[2:])
    how: Any = "native" if case.implementation == "native" else "plain"
    with torch.no_grad():
        if case.method == "max":
            y, indices = functional.pool_with_extra(x, "max", k, s, p, implementation=how)
            return unpooling.max_unpool(y, indices, k, s, p, output_size=size), indices.numel() * 8
        if extra != "weights":
            return None
        operands: Any = dict.fromkeys(registry.get(case.method).takes("input"), x)
        back = unpooling.unpool(pooled, x, case.method, k, s, p, implementation=how, **operands)
    masks = (2 if case.method == "ada" else 1) * pooled.numel() * math.prod(k)
    return back, masks * pooled.element_size()


def _shown(planes: Array) -> Array:
    """A picture as it can be shown: what lies above white or below black is no information."""
    return np.clip(planes, 0.0, 1.0)


def psnr(reference: Array, got: Array) -> float:
    """10 log10(1 / mean squared error), for a range of 1."""
    error = float(np.mean((reference - got) ** 2))
    return min(PSNR_MOST, -10 * math.log10(error)) if error > 0 else PSNR_MOST


def ssim(reference: Array, got: Array) -> float | None:
    """scikit-image's, with the gaussian window of 11 pixels; None when the picture is smaller than that.

    Rounding gives some of equal pictures a little more than 1, which it cannot be.
    """
    from skimage.metrics import structural_similarity

    if min(got.shape[-2:]) < 11:
        return None
    window: Any = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = structural_similarity(reference, got, channel_axis=0, data_range=1.0, **window)  # type: ignore[no-untyped-call]
    return min(float(found), 1.0)


def _pictures(gallery: Path, name: str, case: Case, original: Array, pooled: Array, restored: Array) -> None:
    """original, pooled, restored, error of the middle, small enough for one page; error is four times enlarged grey."""
    k = case.kernel[0]
    side = PICTURE - PICTURE % k
    error = np.abs(restored - original).mean(0)
    pictures = {
        "original": images.middle(original, side, side),
        "pooled": images.middle(pooled, side // k, side // k),
        "restored": images.middle(restored, side, side),
        "error": images.middle(np.clip(4 * error, 0, 1), side, side),
    }
    for what, planes in pictures.items():
        whose = "original" if what == "original" else case.method
        _save(gallery / f"{name}__{whose}__k{k}__{what}.png", planes)


def _save(path: Path, planes: Array) -> None:
    from PIL import Image

    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.round(np.clip(planes, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels if levels.ndim == 2 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
    image.save(path)
