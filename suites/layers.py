"""Real layers by name, and what each profile measures. Facts only: no logic, no torch.

Shapes are per image, channels first; the plan puts the batch size of the device kind in front.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A layer of a published network: the tensor it pools and its window there."""

    shape: tuple[int, ...]
    window: str


LAYERS = {
    "resnet_stage": Layer((64, 56, 56), "2"),  # ResNet stage 2, the tensor that the kernel sweep uses
    "resnet_stem": Layer((64, 112, 112), "3s2p1"),  # ResNet and DenseNet stem
    "densenet_transition": Layer((128, 56, 56), "2"),  # DenseNet-121, first transition
    "vgg_1": Layer((64, 224, 224), "2"),  # VGG-16, first stage
    "vgg_3": Layer((256, 56, 56), "2"),  # VGG-16, third stage
    "vgg_5": Layer((512, 14, 14), "2"),  # VGG-16, fifth stage
    "spp": Layer((512, 13, 13), "5s1p2"),  # spatial pyramid pooling, the middle level
    "global": Layer((512, 7, 7), "7"),  # global pooling before a classifier
    "frame_4k": Layer((3, 2160, 3840), "2"),  # one 4K video frame
    "audio": Layer((64, 4096), "2"),  # 1-D: audio features
    "video": Layer((32, 8, 28, 28), "2"),  # 3-D: a video clip's features
    "small_stem": Layer((16, 112, 112), "3s2p1"),  # a quarter of the ResNet stem, for a quick look
    "small": Layer((16, 28, 28), "2"),  # small enough for a quick look
}
LEAST = 64  # pixels of a photograph's side; shorter ones say nothing at kernel 7
SWEEP = ("2", "3", "5", "7", "3s2")
VARIANTS = (  # of other methods of the table: measured by the full profile, and when they are named
    "lp_abs", "power_sum", "mixed", "gated", "stochastic_eval", "dpp_asym", "dpp_full_asym", "sdpp", "sdpp_asym",
    "sdpp_full", "sdpp_full_asym", "s3_eval", "lip_bottleneck",
)  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """What a run measures when the axes are not given, and how long it may take."""

    sweep: str  # the layer measured with every window of the sweep
    windows: tuple[str, ...]
    layers: tuple[str, ...]  # further layers, each with its own window
    dtypes: tuple[str, ...]
    layouts: tuple[str, ...]
    directions: tuple[str, ...]
    clocks: dict[str, tuple[str, ...]]  # by device kind
    implementations: tuple[str, ...]
    images: int  # how many of the built-in photographs
    crop: int | None  # longest side used of a photograph; None: all of it
    gallery: int  # how many photographs get pictures
    energy: tuple[str, ...]  # methods whose energy is measured; ("*",): all
    batch: dict[str, int]
    budget: dict[str, float]  # seconds of measuring by device kind, start and report excluded
    most: float  # seconds of sampling per case and clock at most, once there are samples enough
    ceiling: float  # seconds that a clock of a case may take for samples enough, however slow the call is
    without: tuple[str, ...] = VARIANTS  # methods that are measured only when they are named


_FAST = ("native", "plain", "torch", "copy", "own")
PROFILES = {
    "smoke": Profile(
        sweep="small", windows=("2",), layers=("small_stem",), dtypes=("float32",), layouts=("nchw",),
        directions=("forward", "backward", "inverse"), clocks={"cpu": ("cold",), "cuda": ("cold",)},
        implementations=_FAST, images=1, crop=128, gallery=1, energy=(), batch={"cpu": 1, "cuda": 8},
        budget={"cpu": 23.5, "cuda": 30.0}, most=0.10, ceiling=0.4,
    ),
    "default": Profile(
        sweep="resnet_stage", windows=SWEEP, layers=("resnet_stem", "audio", "video", "global"), dtypes=("float32",),
        layouts=("nchw",), directions=("forward", "backward", "inverse"),
        clocks={"cpu": ("cold",), "cuda": ("cold",)}, implementations=_FAST, images=3, crop=240, gallery=2,
        energy=("avg", "max", "softpool", "ada"), batch={"cpu": 1, "cuda": 64},
        budget={"cpu": 148.0, "cuda": 420.0}, most=0.6, ceiling=6.0,
    ),
    "full": Profile(
        sweep="resnet_stage", windows=SWEEP, layers=tuple(LAYERS)[1:-2],
        dtypes=("float32", "bfloat16", "float16"), layouts=("nchw", "channels_last"),
        directions=("forward", "backward", "both", "inverse"),
        clocks={"cpu": ("cold", "hot"), "cuda": ("cold", "hot", "graph", "host")},
        implementations=(*_FAST, "compiled"), images=6, crop=None, gallery=3, energy=("*",),
        batch={"cpu": 1, "cuda": 64}, budget={"cpu": 21600.0, "cuda": 21600.0}, most=5.0, ceiling=30.0, without=(),
    ),
}  # fmt: skip
