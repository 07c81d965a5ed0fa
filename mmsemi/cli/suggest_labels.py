# Copyright (c) mmsemi authors. Licensed under Apache-2.0.
"""``mmsemi suggest-labels``: which images of a folder to label first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from ..errors import ConfigError
from ..own_data.kinds import Choice, choose
from ..own_data.pairs import find_images
from ..own_data.pictures import NETWORK, has_network, look_at
from ..visualization.contact_sheet import GAP, LINE
from .check_dataset import ProgressBar

TILE = 180  # px, side of a picture of the sheet
COLUMNS = 6
# Images that are looked at, every second, third, ... one of more.
MOST = 3000


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: An argument is out of range.
    """
    parser = argparse.ArgumentParser(
        description="Choose images that cover the kinds in a folder, to be labelled first: k-means of "
        "features, and the image nearest to the centre of each cluster. No mask is read.",
        epilog="guide: docs/own_data.md",
    )
    add = parser.add_argument
    add("--images", required=True, metavar="DIR", help="images, searched with all folders in it")
    add("--n", type=int, default=30, help="how many to choose (30)")
    add("-o", "--out", metavar="FILE.txt", help="write the list here, one image a line")
    add("--sheet", metavar="FILE.jpg", help="write a picture of the chosen images here")
    add(
        "--features",
        choices=("auto", "network", "colour"),
        default="auto",
        help="of the ImageNet network, or colour and texture; auto: the network where it is there",
    )
    args = parser.parse_args(arguments)
    if args.n < 1:
        raise ConfigError(f"--n {args.n} must be at least 1")
    suffixes = (".jpg", ".jpeg", ".png")
    if args.sheet and Path(args.sheet).suffix.lower() not in suffixes:
        raise ConfigError(f"--sheet {args.sheet} must end in {', '.join(suffixes)}")
    if args.features == "network" and not has_network():
        raise ConfigError(
            f"--features network needs timm and its weights: pip install timm, mmsemi weights {NETWORK}"
        )
    return args


def draw_choices(choices: Sequence[Choice]) -> Image.Image:
    """The chosen images in rows, each with its number, its name and how many images it stands for."""
    columns = min(COLUMNS, len(choices))
    rows = -(-len(choices) // columns)
    width, height = TILE + GAP, TILE + 2 * LINE + GAP
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, choice in enumerate(choices):
        left, top = GAP + number % columns * width, GAP + number // columns * height
        with Image.open(choice.path) as picture:
            picture.draft("RGB", (2 * TILE, 2 * TILE))
            tile = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGB"), (TILE, TILE))
        sheet.paste(tile, (left, top))
        name = Path(choice.path).name
        name = name if len(name) <= 26 else f"{name[:12]}...{name[-11:]}"
        draw.text((left, top + TILE + 2), f"{number + 1}  {name}", fill="black")
        draw.text((left, top + TILE + LINE), _stands_for(choice), fill="gray")
    return sheet


def _stands_for(choice: Choice) -> str:
    count = choice.stands_for
    return f"for {count} image{'s' if count != 1 else ''}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the images, choose, write.

    Returns:
        0.

    Raises:
        UserError: There are fewer images than are to be chosen, or one is broken.
    """
    args = parse_args(arguments)
    paths = find_images(args.images, "--images")
    if len(paths) < args.n:
        raise ConfigError(f"--n {args.n}: '{args.images}' holds {len(paths)} images")
    step = -(-len(paths) // MOST)
    looked_at = paths if len(paths[::step]) < args.n else paths[::step]
    with ProgressBar() as progress:
        use_network = dict(auto=None, network=True, colour=False)[args.features]
        looks = look_at(looked_at, use_network, progress)
    choices = choose(looks, args.n)
    print(f"{len(choices)} of {len(looked_at)} images, by {looks.made_from}", end="")
    print("" if len(looked_at) == len(paths) else f" (every {step}. of {len(paths)} images)")
    if looks.made_from != "an ImageNet network" and args.features == "auto":
        print(f"(the ImageNet network sees more: pip install timm, mmsemi weights {NETWORK})")
    if len(choices) < args.n:
        print(f"({args.n - len(choices)} fewer than asked for: the images are too much alike)")
    for choice in choices:
        print(f"{choice.path}    {_stands_for(choice)}")
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text("".join(f"{c.path}\n" for c in choices), encoding="utf-8")
        print(f"wrote {args.out}")
    if args.sheet:
        Path(args.sheet).parent.mkdir(parents=True, exist_ok=True)
        draw_choices(choices).save(args.sheet, quality=90)
        print(f"wrote {args.sheet}")
    return 0
