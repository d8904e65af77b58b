"""The experiments' data: videos, Fashion-MNIST's files, pictures under known motion; what is wrong is one sentence."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks import classification, frames, segmentation, trial
from tasks.classification import FASHION
from tasks.restoration import VIDEO
from tasks.task import Size, Sources

SIDE = 32
# imageio leaves the files open that its readers try in vain, and pytest says so only when it comes to their collection.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def film(folder: Path, count: int, height: int = 64, width: int = 72) -> list[Path]:
    """Frames of a wave that runs to the right, as numbered PNG files."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    ys, xs = np.mgrid[:height, :width]
    made = []
    for i in range(count):
        wave = 127 + 100 * np.sin((xs - i) / 3) * np.cos(ys / 5)
        made.append(folder / f"frame-{i:03}.png")
        Image.fromarray(np.repeat(wave.astype(np.uint8)[..., None], 3, -1)).save(made[-1])
    return made


def test_a_folder_of_frames_and_a_file_are_the_same_video(tmp_path: Path) -> None:
    import imageio.v3 as imageio

    paths = film(tmp_path / "frames", 12)
    imageio.imwrite(tmp_path / "film.tiff", np.stack([imageio.imread(path) for path in paths]))
    one, two = (frames.read(str(tmp_path / name), SIDE) for name in ("frames", "film.tiff"))
    assert one.shape == (12, 3, 64, 72)
    np.testing.assert_array_equal(one, two)
    found = trial.run(VIDEO, "ada", Size(1, 2, 4, 8, 8), Sources(video=str(tmp_path / "frames")), 0)
    assert set(found.scores) == {"psnr", "ssim"} and found.facts["floor"] > 0


def test_what_is_no_video(tmp_path: Path) -> None:
    def fault(name: str) -> str:
        found = VIDEO.fault(Sources(video=str(tmp_path / name)))
        assert found is not None and "\n" not in found and str(tmp_path) not in found
        return found

    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    film(tmp_path / "short", 8)
    film(tmp_path / "small", 9, 20, 60)
    film(tmp_path / "mixed", 9)
    film(tmp_path / "mixed", 1, 80, 80)
    film(tmp_path / "torn", 9)[4].write_bytes(b"\x89PNG\r\n")
    assert fault("gone.mp4") == "video: expected a file or a folder of frames, got 'gone.mp4', which is not there"
    assert fault("broken.mp4").startswith("video: broken.mp4 cannot be read (")
    assert fault("short").startswith("video: expected at least 9 frames, got 8")
    assert fault("small").startswith("video: frame frame-000.png cannot be used: smaller than")
    assert fault("mixed") == "video: expected frames of one size, got 72 x 64, 80 x 80 in mixed"
    assert fault("torn").startswith("video: frame frame-004.png cannot be used: cannot be read")
    assert VIDEO.fault(Sources()) == "no video was given; --video FILE or a folder of frames"


def idx(path: Path, values: NDArray[np.uint8]) -> None:
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


def fashion(folder: Path, labels: NDArray[np.uint8]) -> Sources:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for images, names in zip(classification.FILES[::2], classification.FILES[1::2], strict=True):
        idx(folder / f"{images}.gz", rng.integers(0, 255, (len(labels), 28, 28), np.uint8))
        idx(folder / f"{names}.gz", labels)
    return Sources(fashion=str(folder))


def test_fashion_mnist_from_a_folder(tmp_path: Path) -> None:
    sources = fashion(tmp_path / "good", np.arange(20, dtype=np.uint8) % 4)
    assert FASHION.fault(sources) is None
    data = FASHION.draw(sources, Size(1, 1, 4, 24, 16), 0)
    assert data.train[0].shape == (24, 1, 28, 28) and data.classes == ("0", "1", "2", "3")
    assert trial.run(FASHION, "dpp", Size(1, 2, 4, 24, 16), sources, 0).scores["accuracy"] <= 1
    with pytest.raises(ValueError, match="fashion-mnist: expected 60 images, got 40"):
        FASHION.draw(sources, Size(1, 1, 4, 40, 20), 0)


def test_fashion_mnist_that_is_none(tmp_path: Path) -> None:
    assert FASHION.fault(fashion(tmp_path / "one", np.full(9, 7, np.uint8))) == (
        "fashion-mnist: expected at least two classes, got one (7)"
    )
    sources = fashion(tmp_path / "torn", np.arange(9, dtype=np.uint8))
    torn = tmp_path / "torn" / f"{classification.FILES[1]}.gz"
    torn.write_bytes(torn.read_bytes()[:12])
    assert (FASHION.fault(sources) or "").startswith(f"fashion-mnist: {torn.name} cannot be read (")
    torn.unlink()
    assert (
        FASHION.fault(sources) == f"fashion-mnist: expected {classification.FILES[1]} (.gz or not) in the folder given"
    )


def test_objects_are_where_their_labels_are() -> None:
    photo = np.zeros((3, 64, 64), np.float32)  # black, so that what is not black is an object
    rng, seen = np.random.default_rng(1), set()
    for _ in range(20):
        picture, labels = segmentation.compose([photo], rng)
        assert not picture[:, labels == 0].any() and (picture[:, labels > 0].max(0) > 0).all()
        for label in set(np.unique(labels)) - {0}:
            colors = {tuple(color) for color in picture[:, labels == label].T}
            assert len(colors) <= (2 if label == 1 else 4)  # two objects at most
            seen.add(int(label))
    assert seen == {1, 2, 3}


def test_the_mean_iou_of_known_maps() -> None:
    import torch

    labels = torch.tensor([[[0, 0, 1, 1]]])
    right = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).double()
    assert segmentation.mean_iou(right, labels)["miou"] == 1
    wrong = torch.nn.functional.one_hot(torch.tensor([[[0, 0, 0, 1]]]), 3).permute(0, 3, 1, 2).double()
    assert segmentation.mean_iou(wrong, labels)["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_video_is_not_read_again_for_each_trial(tmp_path: Path) -> None:
    film(tmp_path / "frames", 9)
    first = frames.read(str(tmp_path / "frames"), SIDE)
    assert frames.read(str(tmp_path / "frames"), SIDE) is first
