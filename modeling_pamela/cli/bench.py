"""`pamela bench`: the paper's tables and figures, for any data folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .evaluate import Protocol, context_size
from .train import RecipeName, parse_setting


if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from ..data.folder import DataFolder
    from ..evaluation.ceilings import RetestCeiling
    from ..evaluation.methods import Methods
    from ..evaluation.protocol import Case, PersonalScorer
    from ..evaluation.report import Report


__all__ = ["bench_app"]

bench_app = typer.Typer(
    help="The paper's tables and figures. Each is written as JSON, Markdown and PNG, and not computed again from the same data and models.",
    no_args_is_help=True,
)

Dataset = Annotated[Path, typer.Argument(help="A data folder, split and embedded.")]
Model = Annotated[Path, typer.Option(help="A posterior checkpoint trained on it.")]
TokenModel = Annotated[
    Path | None,
    typer.Option(help="A token checkpoint trained on it. Without it one is trained, once, beside the model."),
]
Out = Annotated[Path, typer.Option(help="Folder of the reports.")]
Context = Annotated[str, typer.Option(help='Ratings of a new person that may be seen: a number or "all".')]
Contexts = Annotated[
    Protocol | None,
    typer.Option(
        "--protocol",
        help="Contexts from pictures outside of the split (where there are some, the default), or (the paper's) from the split itself.",
    ),
]


Retest = Annotated[
    Path | None,
    typer.Option(
        help="CSV of people who rated pictures again (user_id, image_id, rating, repetition), for the noise ceiling.",
        show_default=False,
    ),
]


@bench_app.command()
def methods(
    dataset: Dataset,
    model: Model,
    token_model: TokenModel = None,
    retest: Retest = None,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Every method with the same draws, between the per-user mean and the ceilings."""
    from ..evaluation.bench.methods import methods_report

    known, made_from = _methods(dataset, model, token_model)
    test = _unseen(known.folder, protocol, made_from)
    k = context_size(context)
    if k == 0:
        raise typer.BadParameter("--context: the table needs at least one rating of a person.")
    ceiling = _ceiling(retest, made_from)
    _show(out, "methods", {**made_from, "context": context}, lambda: methods_report(known, test, k, ceiling))


@bench_app.command()
def table2(
    dataset: Dataset,
    model: Model,
    token_model: TokenModel = None,
    scores: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Precomputed scores of another reward: CSV or Parquet with image_id, score and perhaps user_id. Repeatable.",
        ),
    ] = None,
    image_text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Image-text model (CLIP, SigLIP, ...), a Hub repo or folder: how well a picture shows its prompt. Repeatable.",
        ),
    ] = None,
    retest: Retest = None,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Rewards side by side, on single people and on picture means."""
    from ..encoders_pamela import load_image_encoder
    from ..evaluation.bench.table2 import rewards_report
    from ..evaluation.precomputed import RewardScorer, TableScorer
    from ..evaluation.protocol import PersonalScorer
    from ..rewards.image_text import ImageTextReward

    methods, made_from = _methods(dataset, model, token_model)
    test = _unseen(methods.folder, protocol, made_from)
    k = context_size(context)
    tables = []
    for entry in scores or []:
        name, equals, file = entry.partition("=")
        if not (name and equals and file):
            raise typer.BadParameter(f"--scores {entry}: expected NAME=FILE.")
        tables.append(TableScorer(file, methods.folder, name))
        made_from[name] = _digest(Path(file))
    for name in image_text or []:
        made_from[name] = load_image_encoder(name, weights=False).fingerprint
    ceiling = _ceiling(retest, made_from)

    def compute() -> "tuple[Report, None]":
        scorers: list[tuple[PersonalScorer, int | None]] = [(methods.oracle, 0)]
        scorers += [(table, k if table.is_personal else 0) for table in tables]
        scorers += [(RewardScorer(ImageTextReward(name), methods.folder), 0) for name in image_text or []]
        scorers.append((methods.population, 0))
        if methods.token is not None:
            scorers += [(methods.token, 0), (methods.token, k)]
        if k != 0:
            scorers += [(methods.ridge(k), k), (methods.factorisation([k])[k], k)]
        scorers.append((methods.posterior, k))
        return rewards_report(methods.folder, scorers, test, ceiling), None

    _show(out, "table2", {**made_from, "context": context}, compute)


@bench_app.command()
def table3(
    datasets: Annotated[
        list[Path], typer.Argument(help="Data folders, split and embedded; the table averages over them.")
    ],
    recipe: Annotated[
        RecipeName, typer.Option(help="What is trained for each row; see pamela train.")
    ] = RecipeName.posterior,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Another value for a field of PamelaConfig, in all rows. Repeatable."
        ),
    ] = None,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Inputs left out: trains one model for each row and data set."""
    from ..data.folder import DataFolder
    from ..evaluation.bench.table3 import ablation_report
    from ..evaluation.report import data_fingerprint
    from ..modeling_pamela import PamelaForPersonalizedScoring
    from ..training.trainer import train_recipe

    settings = dict(parse_setting(text) for text in set_ or [])
    k = context_size(context)
    if k is None:
        raise typer.BadParameter('--context: the table needs a number of ratings, not "all".')
    folders = [DataFolder(dataset) for dataset in datasets]

    def train_one(folder: DataFolder, fields: dict[str, bool], directory: Path) -> PamelaForPersonalizedScoring:
        return train_recipe(folder, recipe.value, directory, {**settings, **fields})

    made_from: dict[str, object] = {
        "data": [data_fingerprint(folder) for folder in folders],
        "recipe": recipe.value,
        "set": settings,
        "context": k,
        "protocol": [_contexts(folder, protocol) for folder in folders],
    }
    # Models of other settings are others.
    work = out / "models" / "-".join([recipe.value, *([_short(settings)] if settings else [])])
    _show(
        out,
        "table3",
        made_from,
        lambda: ablation_report(folders, train_one, work, k, _value(protocol)),
    )


@bench_app.command()
def joint(
    datasets: Annotated[list[Path], typer.Argument(help="Two data folders or more, split and embedded.")],
    recipe: Annotated[RecipeName, typer.Option(help="What is trained; see pamela train.")] = RecipeName.posterior,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Joint training against a model for each data set: trains all of them."""
    from ..data.folder import DataFolder
    from ..data.joint import JointFolder
    from ..evaluation.bench.joint import joint_report
    from ..evaluation.report import data_fingerprint
    from ..modeling_pamela import PamelaForPersonalizedScoring
    from ..training.trainer import train_recipe

    if len(datasets) < 2:
        raise typer.BadParameter("A joint set is made of two data folders or more.")
    folders = [DataFolder(dataset) for dataset in datasets]
    k = context_size(context)

    def train_one(folder: DataFolder | JointFolder, directory: Path) -> PamelaForPersonalizedScoring:
        return train_recipe(folder, recipe.value, directory)

    made_from: dict[str, object] = {
        "data": [data_fingerprint(folder) for folder in folders],
        "recipe": recipe.value,
        "context": context,
        "protocol": [_contexts(folder, protocol) for folder in folders],
    }
    work = out / "models" / f"joint-{recipe.value}"
    _show(out, "joint", made_from, lambda: joint_report(folders, train_one, work, k, _value(protocol)))


@bench_app.command()
def table4(
    dataset: Dataset,
    model: Model,
    token_model: TokenModel = None,
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Context size, neighbours and temperature: all on validation, the chosen ones on test."""
    from ..evaluation.bench.table4 import grid_report
    from ..evaluation.methods import VALIDATION_DRAWS
    from ..evaluation.protocol import unseen_cases

    methods, made_from = _methods(dataset, model, token_model)
    test = _unseen(methods.folder, protocol, made_from)
    validation = unseen_cases(methods.folder, "val_unseen", _value(protocol), VALIDATION_DRAWS)
    _show(out, "table4", made_from, lambda: grid_report(methods, validation, test))


@bench_app.command()
def fig11(
    dataset: Dataset,
    model: Model,
    token_model: TokenModel = None,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
) -> None:
    """Pairwise accuracy against the tie margin."""
    from ..evaluation.bench.margins import margin_report

    methods, made_from = _methods(dataset, model, token_model)
    test = _unseen(methods.folder, protocol, made_from)
    scorers = _models(methods)
    k = context_size(context)
    _show(out, "fig11", {**made_from, "context": context}, lambda: margin_report(scorers, test, k))


@bench_app.command()
def diverging(
    dataset: Dataset,
    model: Model,
    token_model: TokenModel = None,
    context: Context = "15",
    protocol: Contexts = None,
    out: Out = Path("bench"),
    pictures: Annotated[
        bool, typer.Option(help="Also write fig10.html, a page of such pairs with the pictures inside.")
    ] = True,
) -> None:
    """Pairs on which two people disagree."""
    from ..evaluation.bench.diverging import diverging_report, write_conflicts
    from ..evaluation.protocol import seen_cases

    methods, made_from = _methods(dataset, model, token_model)
    test = _unseen(methods.folder, protocol, made_from)
    k = context_size(context)
    scorers = _models(methods)
    cases = {"test_seen": seen_cases(methods.folder, "test_seen"), "test_unseen": test}
    _show(out, "diverging", {**made_from, "context": context}, lambda: (diverging_report(scorers, cases, k), None))
    if pictures:
        page = write_conflicts(out / "fig10.html", methods.folder, methods.posterior, test, k)
        typer.echo(f"Written to {page}")


@bench_app.command()
def study(
    dataset: Annotated[Path, typer.Argument(help="A data folder with comparisons (the config `pairs`).")],
    draws: Annotated[int, typer.Option(min=1, help="Bootstrap draws.")] = 1000,
    out: Out = Path("bench"),
) -> None:
    """Elo scores of the conditions that people compared."""
    from ..data.folder import DataFolder
    from ..evaluation.bench.study import study_report
    from ..evaluation.report import data_fingerprint

    folder = DataFolder(dataset)
    made_from = {"data": data_fingerprint(folder), "draws": draws}
    _show(out, "study", made_from, lambda: study_report(folder.table("pairs"), draws))


@bench_app.command()
def consistency(
    model: Annotated[
        str,
        typer.Option(
            help="A posterior checkpoint (a folder, a model of the package, or a Hub repo); pictures and prompts are compared as its encoders "
            "see them."
        ),
    ],
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of finished searches, several for each person. Without any, simulated people are searched for with painted scenes.",
            show_default=False,
        ),
    ] = None,
    people: Annotated[int, typer.Option(min=2, help="Simulated people.")] = 5,
    repeats: Annotated[int, typer.Option(min=2, help="Searches for each simulated person and prompt.")] = 3,
    prompt: Annotated[list[str] | None, typer.Option(help="What simulated people ask for. Repeatable.")] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Prompts a round, for simulated people.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds at most, for simulated people.")] = 3,
    out: Out = Path("bench"),
) -> None:
    """Whether searches for one person end alike (section 6.2)."""
    from ..rewards.personal import PersonalReward
    from ..steering.consistency import consistency_report, read_runs
    from ..steering.search import SearchSettings
    from ..steering.simulation import search_for_simulated_people
    from .checkpoint import load_checkpoint, load_processor

    scorer = load_checkpoint(model)
    reward = PersonalReward(scorer, load_processor(model))
    made_from: dict[str, object] = {"model": scorer.fingerprint()}
    if not runs:
        prompts = prompt or ["a lighthouse on a cliff", "a castle on a hill"]
        made_from |= {
            "simulated": {
                "people": people,
                "repeats": repeats,
                "prompts": prompts,
                "candidates": candidates,
                "rounds": rounds,
            }
        }
        runs = [out / "consistency-runs" / _short(made_from)]
        settings = SearchSettings(num_candidates=candidates, max_rounds=rounds)
        search_for_simulated_people(reward, runs[0], prompts, people, repeats, settings)
    else:
        made_from["runs"] = {
            str(file): _digest(file) for folder in runs for file in sorted(folder.rglob("history.jsonl"))
        }
    finished = read_runs(runs)
    _show(out, "consistency", made_from, lambda: consistency_report(finished, reward))


@bench_app.command()
def card(
    dataset: Dataset,
    model: Model,
    dataset_id: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="The data set's Hub repo; then .eval_results/ is written too.",
            show_default=False,
        ),
    ] = None,
    out: Out = Path("bench"),
) -> None:
    """Write the model's results of table2 into its model card, which is made where there is none."""
    from ..data.files import DataError
    from ..data.folder import DataFolder
    from ..evaluation.model_card import render_model_card, write_results
    from ..evaluation.report import Report, data_fingerprint
    from .checkpoint import load_checkpoint

    folder, report = DataFolder(dataset), Report.read(out, "table2")
    if report is None:
        raise DataError(f"There is no table2.json in {out}. Run `pamela bench table2` first.")
    judged = load_checkpoint(str(model))
    expected = {"data": data_fingerprint(folder), "model": judged.fingerprint()}
    if other := [name for name, value in expected.items() if report.made_from[name] != value]:
        raise DataError(
            f"{out}/table2.json was made from another {' and another '.join(other)}. Run `pamela bench table2` again."
        )
    name = folder.metadata["pamela"].get("source", {}).get("name") or folder.path.resolve().name
    facts = {"name": model.resolve().name, "results": {f"{name}, test_unseen": _card_rows(report)}}
    for file in write_results(model, report, name, dataset_id, render_model_card(judged, folder, facts)):
        typer.echo(f"Written to {file}")


def _card_rows(report: "Report") -> list[list[str]]:
    """The table of rewards as a card shows it, without what others published."""
    return [
        [
            row["method"],
            str(row["ratings seen"]),
            f"{row['user SROCC']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            f"{row['user pairwise']:.3f}",
            "",
        ]
        for row in report.rows
        if row["source"] == "this run"
    ]


def _methods(dataset: Path, model: Path, token_model: Path | None) -> "tuple[Methods, dict[str, object]]":
    """The methods, and what a report of them is made from."""
    from ..data.folder import DataFolder
    from ..evaluation.methods import Methods, check_split
    from ..evaluation.report import data_fingerprint
    from ..taste.profile import ProfileError
    from .baseline import token_baseline
    from .checkpoint import load_checkpoint

    folder = DataFolder(dataset)
    posterior = load_checkpoint(str(model))
    if posterior.taste is None:
        raise ProfileError("--model must be a posterior model; pass a token model as --token-model.")
    check_split(posterior, folder)  # before a token model is trained
    token = load_checkpoint(token_model or token_baseline(folder, model))
    methods = Methods(folder, posterior, token)
    made_from: dict[str, object] = {
        "data": data_fingerprint(folder),
        "model": posterior.fingerprint(),
        "token model": token.fingerprint(),
    }
    return methods, made_from


def _unseen(folder: "DataFolder", protocol: Protocol | None, made_from: dict[str, object]) -> "list[Case]":
    """The test cases; the protocol that they are of becomes part of what a report is made from."""
    from ..evaluation.protocol import unseen_cases

    made_from["protocol"] = _contexts(folder, protocol)
    return unseen_cases(folder, "test_unseen", _value(protocol))


def _ceiling(retest: Path | None, made_from: dict[str, object]) -> "RetestCeiling | None":
    from ..evaluation.ceilings import read_retest

    if retest is None:
        return None
    ceiling = read_retest(retest)
    made_from["retest"] = _digest(retest)
    return ceiling


def _contexts(folder: "DataFolder", protocol: Protocol | None) -> str:
    from ..evaluation.protocol import usual_protocol

    return _value(protocol) or usual_protocol(folder, "test_unseen")


def _value(protocol: Protocol | None) -> str | None:
    return protocol.value if protocol else None


def _models(methods: "Methods") -> "list[PersonalScorer]":
    token = [methods.token] if methods.token is not None else []
    return [methods.population, *token, methods.posterior]


def _short(settings: dict[str, object]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def _digest(file: Path) -> str:
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _show(
    out: Path, name: str, made_from: dict[str, object], compute: "Callable[[], tuple[Report, Figure | None]]"
) -> None:
    from ..evaluation.report import run_report

    report = run_report(out, name, made_from, compute)
    typer.echo(report.markdown())
    typer.echo(f"Written to {out}/{name}.md, .json and, with a figure, .png")
