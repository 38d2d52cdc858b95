"""
The setting of arXiv 2604.07427, from ratings to a table of results: import, split, embed, train, evaluate.

    python examples/paper/run.py RATINGS WORK [--scale LOW HIGH] [--device cuda] [options of `pamela data split`]

RATINGS is a folder of tidy tables (then `--scale` is needed), or a data folder that is imported already; one that is split
keeps its splits. `config.json` beside this file names the encoders (SigLIP2-so400m, llama-embed-nemotron-8b in bfloat16) and the
network, of which the paper states neither width nor depth; the recipe `paper` holds the rest: AdamW, learning rate 2e-5, batches of 32,
constant after 100 steps of warm-up, 10 epochs. A posterior model over the same encoders is trained and judged next to it, with
contexts of 15 ratings from the test pictures themselves, which are left out of the evaluation, as in the paper. Each step is a
`pamela` command, which is printed and can be run by hand; interrupted, the whole goes on where it stopped.
"""

import argparse
import json
import shlex
from pathlib import Path

from modeling_pamela.cli import app
from modeling_pamela.data.folder import DataFolder


ENCODERS = ("image_encoder", "text_encoder", "profile_encoder")


def pamela(*arguments: object) -> None:
    """Run a command; it ends the program if it fails."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ pamela {shlex.join(words)}", flush=True)
    app(words, standalone_mode=False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=Path)
    parser.add_argument("work", type=Path, help="folder for the data set and the checkpoints")
    parser.add_argument("--scale", nargs=2, type=float, metavar=("LOW", "HIGH"))
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.json"))
    for name in ENCODERS:
        parser.add_argument(f"--{name.replace('_', '-')}", help="instead of the config's")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, default=16, help="pictures or texts that are encoded at once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and order")
    options, split_options = parser.parse_known_args(arguments)

    fields = json.loads(options.config.read_text(encoding="utf-8"))
    fields |= {name: value for name in ENCODERS if (value := getattr(options, name))}
    encoders = {name: fields[name] for name in ENCODERS}

    data = options.ratings
    if not data.is_dir():
        parser.error(f"{data} is no folder; expected tidy tables or a data folder.")
    if not (data / "ratings").is_dir():
        if options.scale is None:
            parser.error("--scale LOW HIGH is needed to import tidy tables.")
        data = options.work / "imported"
        if not data.exists():
            pamela("data", "import", "tidy", options.ratings, data, "--scale", *options.scale)
    if "val_unseen" not in DataFolder(data).splits:
        unsplit, data = data, options.work / "data"
        if not data.exists():
            pamela("data", "split", unsplit, "--out", data, "--seed", options.seed, *split_options)

    names = [word for name, encoder in encoders.items() for word in (f"--{name.replace('_', '-')}", encoder)]
    pamela("embed", data, *names, "--batch-size", options.batch_size, "--device", options.device)

    shared = ["--seed", options.seed, "--resume", *(["--device", "cpu"] if options.device == "cpu" else [])]
    epochs = [] if options.epochs is None else ["--epochs", options.epochs]
    for recipe, settings, own in (("paper", fields, epochs), ("posterior", encoders, [])):
        checkpoint = options.work / recipe
        if not (checkpoint / "model.safetensors").is_file():
            values = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
            pamela("train", data, "--output-dir", checkpoint, "--recipe", recipe, *values, *own, *shared)

    results = options.work / "results.json"
    pamela(
        *("evaluate", options.work / "posterior", data, "--token-model", options.work / "paper"),
        *("--protocol", "query", "--context", 0, "--context", 15, "--json", results, "--device", options.device),
    )


if __name__ == "__main__":
    main()
