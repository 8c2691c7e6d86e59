"""View of a training image as the model receives it: scaled to its input size, with patch grid and class.

It shows the output of the model's own image processor (`studio.models.image_processor.ImageTransform`); it does not
depend on file formats.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from studio.data.pictures import open_picture, title_of
from studio.draft import Preflight
from studio.models.image_processor import read_image_transform
from studio.models.resolve import local_folder
from studio.ui.html_parts import e, note, number
from studio.ui.page import Page
from studio.words import StudioError

if TYPE_CHECKING:
    from PIL.Image import Image

_SHOWN = 288  # longer side of a displayed image in pixels


def picture_html(page: Page, preflight: Preflight, index: int) -> str:
    """Return the view of training image `index`."""
    recipe, data, shape = preflight.recipe, preflight.dataset, preflight.shape
    folder = local_folder(recipe.model.name, recipe.model.revision) if shape else None
    if folder is None:
        return note(page.t("Once data and base model can be read, each picture appears here as the model gets it."))
    record = data.train[index]
    place, label = record.value["image"], record.value["label"]
    where = page.t(
        "Picture {number} of {count}: {name}. The label to predict is {label}.",
        number=index + 1,
        count=f"{len(data.train):,}",
        name=title_of(place),
        label=label,
    )
    try:
        picture = open_picture(place)
    except StudioError as error:
        return f'<p class="help">{e(where)}</p>' + note(page.say(error.sentence), "warn")
    sight = read_image_transform(folder)
    if sight is None:
        return f'<p class="help">{e(where)}</p>' + note(
            page.t(
                "How this model wants its pictures cannot be shown here: its preprocessor_config.json does not "
                "say all of it. Training and Chat use the model's own image processor."
            )
        )
    seen = sight.scaled(picture)
    patch = shape.patch
    text = [
        page.t(
            "As the model gets it: {width} × {height} pixels, their colours as numbers from {low} to {high}.",
            width=seen.width,
            height=seen.height,
            low=number(sight.low),
            high=number(sight.high),
        )
    ]
    if patch:
        columns, rows = seen.width // patch, seen.height // patch
        text.append(
            page.t(
                "It is cut into {columns} × {rows} patches of {patch} × {patch} pixels, each of which it reads "
                "as one token.",
                columns=columns,
                rows=rows,
                patch=patch,
            )
        )
    if recipe.task.augment:
        text.append(page.t("In training, each picture is also mirrored and shifted a little at random."))
    own = page.t("As it is in the file: {width} × {height} pixels.", width=picture.width, height=picture.height)
    return (
        f'<p class="help">{e(where)}</p><div class="seen">{_figure(picture, own, smooth=True)}'
        f"{_figure(seen, ' '.join(text), patch)}</div>"
    )


def _figure(picture: Image, text: str, patch: int = 0, smooth: bool = False) -> str:
    """Return an image scaled for display.

    `patch` is the side of a patch in pixels, drawn as a grid (0: no grid); `smooth` is whether the browser
    interpolates.
    """
    larger = _SHOWN / max(picture.size)
    width, height = (round(side * larger) for side in picture.size)
    if smooth:
        picture = picture.copy()
        picture.thumbnail((2 * _SHOWN, 2 * _SHOWN))
    file = io.BytesIO()
    picture.save(file, "PNG")
    grid = (
        f'<span class="grid" style="background-size:{patch * larger:.3f}px {patch * larger:.3f}px"></span>'
        if patch
        else ""
    )
    source = base64.b64encode(file.getvalue()).decode()
    return (
        f'<figure><span class="frame" style="width:{width}px;height:{height}px">'
        f'<img src="data:image/png;base64,{source}" alt="" class="{"" if smooth else "pixels"}">{grid}</span>'
        f"<figcaption>{e(text)}</figcaption></figure>"
    )
