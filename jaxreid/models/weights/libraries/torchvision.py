"""torchvision's ResNets, https://docs.pytorch.org/vision/stable/models/resnet.html."""

from jaxreid.models.weights.libraries.layout import Layout, begins
from jaxreid.models.weights.shapes import resnet_shape

__all__ = ["TORCHVISION"]

TORCHVISION = Layout(
    recognises=begins("layer1."),
    backbone="",
    heads={"linear": {"classifier": "fc"}, "none": {}},
    readers=(resnet_shape(),),
    kinds=("resnet",),
    # Read so only where the user says it: torchreid is looked for first.
    ignorable=dict.fromkeys(
        ("classifier.weight", "classifier.bias"),
        "classifier of the training identities, named as torchreid's: --from torchreid keeps it, "
        "with its size and pipeline",
    ),
)
