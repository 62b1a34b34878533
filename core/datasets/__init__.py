"""Sets of pictures with masks, as the papers use them: opened and checked as a whole before any work begins.

    dataset = open_dataset("mvtec", Path("mvtec_anomaly_detection"), classes=["bottle"])
    bottle = dataset.classes[0]
    references = draw_references(bottle, 4, seed=0)
    for item in bottle.test:
        image, mask = read_image(item.image), read_mask(item, 518)

Layouts: `mvtec` (core.datasets.mvtec), `visa` (core.datasets.visa), `folder` (core.datasets.folder). Pictures are
JPEG or PNG, masks PNG; other formats are refused by name, not passed over. Knows no torch.
"""

from core.datasets.items import GOOD, Dataset, Layout, ObjectClass, TestItem
from core.datasets.opening import Size, Survey, open_dataset, survey
from core.datasets.reading import read_image, read_mask
from core.datasets.references import draw_references

__all__ = [
    "GOOD",
    "Dataset",
    "Layout",
    "ObjectClass",
    "Size",
    "Survey",
    "TestItem",
    "draw_references",
    "open_dataset",
    "read_image",
    "read_mask",
    "survey",
]
