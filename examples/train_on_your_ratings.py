"""
From ratings of many people to a model of your own, judged on people and pictures that it never saw.

    python examples/train_on_your_ratings.py WORK                                    # generated scenes, simulated people
    python examples/train_on_your_ratings.py WORK --ratings FOLDER --scale 1 7 [--map prompt=caption]

FOLDER holds `ratings.csv` (user_id, image_id, rating), `images.csv` (image_id, file, and perhaps prompt) and perhaps `users.csv`.
WORK gets the data set, which is made once, and the checkpoint, `WORK/model`.
"""

import argparse
from pathlib import Path

from modeling_pamela.data.embed import embed_folder, read_embeddings
from modeling_pamela.data.folder import DataFolder
from modeling_pamela.data.importers.tidy import import_tidy
from modeling_pamela.data.scenes import RATING_SCALE, write_scene_dataset
from modeling_pamela.data.splits import SplitOptions, split_folder
from modeling_pamela.evaluation.protocol import evaluate_scorer, unseen_cases
from modeling_pamela.evaluation.scorers import PosteriorScorer
from modeling_pamela.training.recipes import RECIPES
from modeling_pamela.training.trainer import train_recipe


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--ratings", type=Path, help="folder of your tables; without it everything is simulated")
    parser.add_argument("--scale", nargs=2, type=float, metavar=("LOW", "HIGH"), help="lowest and highest rating")
    parser.add_argument("--map", nargs="*", default=[], metavar="OURS=YOURS", help="names of columns in your tables")
    parser.add_argument("--scenes", type=int, default=240, help="of the simulation: pictures,")
    parser.add_argument("--raters", type=int, default=60, help="people,")
    parser.add_argument("--each", type=int, default=60, help="and ratings of each")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation and the split")
    options = parser.parse_args(arguments)
    if options.ratings is not None and options.scale is None:
        parser.error("--scale LOW HIGH is needed: the lowest and the highest rating that could be given.")

    data = options.work / "data"
    if not data.exists():
        source, scale = options.ratings, options.scale
        if source is None:
            print("Simulated: the pictures are generated, and no person gave any rating.")
            source, scale = options.work / "scenes", RATING_SCALE
            if not source.exists():
                write_scene_dataset(source, options.scenes, options.raters, options.each, options.seed)
        columns = dict(entry.split("=", 1) for entry in options.map)
        import_tidy(source, options.work / "imported", tuple(scale), columns=columns, overwrite=True)
        split_folder(options.work / "imported", SplitOptions(options.seed), out=data)
    folder = DataFolder(data)
    embed_folder(folder, RECIPES["posterior"].config())

    checkpoint = options.work / "model"
    model = train_recipe(folder, "posterior", checkpoint)

    scorer = PosteriorScorer(model, read_embeddings(folder, model.config))
    cases = unseen_cases(folder, "test_unseen")
    for ratings in (0, 5, 15):
        scores = evaluate_scorer(scorer, cases, ratings)
        print(
            f"{ratings:3} ratings of a new person: user SROCC {scores.srocc.mean():.3f} ({len(scores.users)} people)"
        )
    print(f'Load it with AutoModel.from_pretrained("{checkpoint}") after `import modeling_pamela`.')


if __name__ == "__main__":
    main()
