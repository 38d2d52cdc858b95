"""
Score a folder of pictures: for the population or, with a saved taste profile, for one person.

    python examples/score_folder.py PICTURES [--profile PROFILE] [--model FOLDER_OR_REPO] [--top 10]

Plain transformers and Pillow; `pamela score` and `pamela rank` do the same with more care for files that cannot be read.
"""

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageOps
from transformers import AutoModel, AutoProcessor

from modeling_pamela import TasteProfile, checkpoint


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--profile", type=Path, help="of `pamela rate` or `pamela profile fit`")
    parser.add_argument("--model", default=checkpoint("pamela-small"))
    parser.add_argument("--top", type=int, default=10)
    options = parser.parse_args(arguments)

    model = AutoModel.from_pretrained(options.model).eval()
    processor = AutoProcessor.from_pretrained(options.model)
    person = TasteProfile.prior(model) if options.profile is None else TasteProfile.from_pretrained(options.profile)

    files = sorted(
        file for file in options.pictures.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )
    if not files:
        parser.error(f"there is no JPEG, PNG or WebP picture in {options.pictures}")
    embeds = []
    for file in files:
        with Image.open(file) as image, torch.no_grad():
            upright = ImageOps.exif_transpose(image).convert("RGB")
            embeds.append(model.get_image_embeds(**processor(images=upright)))
    mean, std = person.score(model, image_embeds=torch.cat(embeds))

    for row in mean.argsort(descending=True, stable=True)[: options.top].tolist():
        print(f"{mean[row]:.3f} ± {std[row]:.3f}  {files[row]}")


if __name__ == "__main__":
    main()
