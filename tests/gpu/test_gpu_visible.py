"""A real GPU reaches the training image: `./dev test gpu --existing CONTEXT --images PATTERN`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from azaion_devcluster.existing import image_reference
from support import pods
from support.kubectl import Kubectl

_LOOK = """
import json, torch, torchvision
device = torch.device('cuda')
product = (torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)).sum().item()
boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]], device=device)
kept = torchvision.ops.nms(boxes, torch.tensor([.9, .8], device=device), 0.5).tolist()
print(json.dumps({'name': torch.cuda.get_device_name(0), 'product': product, 'kept': kept}))
"""


@pytest.fixture
def namespace() -> Iterator[Kubectl]:
    """kubectl in a namespace of the test's own."""
    with Kubectl(Path(os.environ["AZAION_TEST_CLUSTER"])).temporary_namespace("gpu") as kubectl:
        yield kubectl


def test_a_node_offers_a_gpu(namespace: Kubectl) -> None:
    offered = {node["metadata"]["name"]: node["status"]["allocatable"] for node in namespace.items("nodes")}
    gpus = {name: int(allocatable.get("nvidia.com/gpu", "0")) for name, allocatable in offered.items()}
    assert sum(gpus.values()) > 0, f"No node offers nvidia.com/gpu: install the NVIDIA device plugin. {gpus}"


def test_the_training_image_computes_on_it(namespace: Kubectl) -> None:
    job = pods.job("look", image_reference(os.environ["AZAION_TEST_IMAGES"], "training"), "-c", _LOOK, gpus=1)
    job["spec"]["template"]["spec"]["runtimeClassName"] = os.environ.get(
        "AZAION_TEST_RUNTIME_CLASS", "nvidia"
    )
    namespace.apply(job)

    namespace("wait", "job/look", "--for=condition=Complete", "--timeout=150s")

    seen = json.loads(namespace("logs", "job/look"))
    assert seen["product"] == 64.0**3
    assert seen["kept"] == [0]
    assert seen["name"]
