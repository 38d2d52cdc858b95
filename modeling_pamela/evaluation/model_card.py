"""
The card of a model: the template `model_card/README.md`, filled from the checkpoint, its data and its results; and results written where the
Hub reads them, `model-index` in the card and `.eval_results/`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.utils import HFValidationError, validate_repo_id

from ..data.files import DataError, atomic_write
from ..data.folder import DataFolder, data_title
from ..modeling_pamela import PamelaForPersonalizedScoring
from .report import Report
from .scorers import TokenScorer


__all__ = ["card_data", "group_rows", "render_model_card", "result_rows", "write_results"]

# Column of the table of rewards to the Hub's name of the metric.
METRICS = {
    "user SROCC": "spearmanr",
    "user PLCC": "pearsonr",
    "user pairwise": "accuracy",
    "avg SROCC": "spearmanr",
    "avg PLCC": "pearsonr",
    "avg pairwise": "accuracy",
}
METHOD = "posterior"
SPLIT = "test_unseen"


# What a card says where its makers say nothing.
UNSTATED: Mapping[str, Any] = {
    "name": "A model of personal picture taste",
    "summary": "Scores pictures by taste: what people like on average, and after a few ratings what one person likes, with how unsure it is.",
    "load_from": "path/to/this/folder",
    "licence": "Not stated.",
    "intended_use": "Ordering pictures for a person by their taste, from ratings that the person gave for this purpose; research on personal taste.",
    "out_of_scope": [
        "Judging people, or pictures of people as a judgement of those shown; decisions about anybody.",
        "Learning a person's taste without their knowledge. A taste profile is personal data.",
    ],
    "provenance": "Not stated.",
    "rebuild": "",
    "protocol": "New people and new pictures, held out from training (`test_unseen`).",
    "results": {},
    "groups": [],
    "groups_text": "The people of the test, by what they said of themselves.",
    "groups_k": 15,
    "privacy": "Not measured.",
    "cost": "Not measured.",
    "limits": ["What training people like is what the population score says; other people may differ."],
    "citation": "Not stated.",
}


def render_model_card(model: PamelaForPersonalizedScoring, folder: DataFolder, facts: Mapping[str, Any]) -> str:
    """
    Fill the template of a model's card.

    Args:
        model ([`PamelaForPersonalizedScoring`]): What the card is of.
        folder ([`~modeling_pamela.data.folder.DataFolder`]): What it was trained on: its split `train`, or all of it where `facts` have a
            `trained_on` that says so.
        facts (`Mapping`): Values for the fields of [`UNSTATED`], and `trained_on`; what is absent is said to be missing.

    Returns:
        `str`: Markdown, without front matter.

    Raises:
        DataError: A fact has no place in the card.
    """
    from jinja2 import Environment, StrictUndefined

    known = {*UNSTATED, "trained_on"}
    if unknown := sorted(set(facts) - known):
        raise DataError(f"The card has no place for {', '.join(unknown)}; expected {', '.join(sorted(known))}.")
    config = model.config
    ratings = folder.ratings(*(folder.splits if "trained_on" in facts else ("train",)))
    low, high = (f"{value:g}" for value in config.rating_scale)
    roles = {
        "image": config.use_image,
        "text": config.use_text,
        "profile": config.use_metadata or config.use_demographics,
    }
    given = {
        "pictures": config.use_image,
        "prompts or captions, where there are some": config.use_text,
        "metadata of the pictures": config.use_metadata,
        "demographics of the people": config.use_demographics,
    }
    posterior = "taste as a Gaussian posterior, learned in closed form"
    values = {
        "low": low,
        "high": high,
        "kind": posterior if config.user_conditioning == "posterior" else "a token for every training person",
        "inputs": ", ".join(name for name, used in given.items() if used),
        "encoders": ", ".join(
            dict.fromkeys(str(getattr(config, f"{role}_encoder")) for role, used in roles.items() if used)
        ),
        "parameters": f"{sum(tensor.numel() for tensor in model.state_dict().values()):,}",
        "people": f"{len(set(ratings.user.tolist())):,}",
        "pictures": f"{len(set(ratings.image.tolist())):,}",
        "ratings": f"{len(ratings):,}",
        "trained_on": data_title(folder.metadata),
    }
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.from_string((_template_folder() / "README.md").read_text(encoding="utf-8"))
    return template.render({**UNSTATED, **values, **facts})


def result_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of [`~modeling_pamela.evaluation.comparison.summarise`] as the card shows them."""

    def shown(row: Mapping[str, Any]) -> list[str]:
        gain = f"{row['gain']:+.3f} [{row['gain_low']:+.3f}, {row['gain_high']:+.3f}]" if "gain" in row else ""
        name = {"posterior": "**this model**", TokenScorer.name: "paper's method"}.get(row["method"], row["method"])
        interval = _interval([row["srocc"], row["srocc_low"], row["srocc_high"]])
        return [name, str(row["k"]), interval, f"{row['pairwise']:.3f}", gain]

    return [shown(row) for row in rows]


def group_rows(groups: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[list[str]]:
    """
    Accuracy of groups as the card shows it.

    Args:
        groups (sequence of `Mapping`): `what` (e.g. "gender"), `group`, `people`, and under every column's name mean, low and high, if judged.
        columns (sequence of `str`): Names of the columns of the table, in its order.
    """
    return [
        [
            row["what"],
            row["group"],
            str(row["people"]),
            *(_interval(row[name]) if name in row else "–" for name in columns),
        ]
        for row in groups
    ]


def card_data(
    name: str, licence: str, dataset: str, results: Mapping[str, Sequence[Mapping[str, Any]]]
) -> ModelCardData:
    """
    The front matter of a model's card, results included.

    Args:
        name (`str`): Of the model.
        licence (`str`): Of its weights, as the Hub writes it, e.g. `apache-2.0`.
        dataset (`str`): Name of the data set it was judged on.
        results (`Mapping`): Setting, e.g. "without captions", to rows of [`~modeling_pamela.evaluation.comparison.summarise`].
    """
    found = [
        EvalResult(
            task_type="other",
            task_name="Personal picture preference",
            dataset_type=dataset.lower().replace(" ", "-"),
            dataset_name=dataset,
            dataset_config=setting,
            dataset_split=SPLIT,
            metric_type=METRICS[column],
            metric_name=f"{column}, {row['k']} ratings of each person",
            metric_value=round(row[key], 4),
        )
        for setting, rows in results.items()
        for row in rows
        if row["method"] == METHOD
        for column, key in (("user SROCC", "srocc"), ("user pairwise", "pairwise"))
    ]
    return ModelCardData(
        model_name=name,
        license=licence,
        library_name="transformers",
        tags=["personalization", "image-preference", "reward-model", "aesthetics"],
        metrics=["spearmanr", "accuracy"],
        eval_results=found,
    )


def _interval(values: Sequence[float]) -> str:
    mean, low, high = values
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _template_folder() -> Path:
    """`model_card/`: inside the package where it was installed from a wheel, else at the top of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "model_card"
    return installed if installed.is_dir() else package.parent / "model_card"


def write_results(
    checkpoint: Path, report: Report, dataset: str, dataset_id: str | None = None, text: str | None = None
) -> list[Path]:
    """
    Write a model's row of the table of rewards into its checkpoint. Results of other data sets stay; those of the same are replaced.

    Args:
        checkpoint (`Path`): Folder of the model; its `README.md` is made where there is none.
        report ([`~modeling_pamela.evaluation.report.Report`]): Table 2.
        dataset (`str`): Name of the data set, for people.
        dataset_id (`str`, *optional*):
            Its Hub repo, `owner/name`. Only with it `.eval_results/` is written, which the Hub shows for data sets that are registered as benchmarks
            (with an `eval.yaml` whose tasks are `user_srocc` and so on).
        text (`str`, *optional*): Text of a card that is made, from [`render_model_card`].

    Returns:
        `list[Path]`: The files.

    Raises:
        DataError: The report has no row of the model, or `dataset_id` is no name of a repo.
    """
    row = next((row for row in report.rows if row["method"] == METHOD and row.get("user PLCC") is not None), None)
    if row is None:
        raise DataError(
            f"The report {report.name!r} has no row {METHOD!r} with all metrics; expected that of `pamela bench table2`."
        )
    if dataset_id is not None:
        try:
            validate_repo_id(dataset_id)
        except HFValidationError as error:
            raise DataError(f"{dataset_id!r} is no name of a Hub repo: {error}") from error
    setting = f"{row['ratings seen']} ratings of each person, protocol {report.made_from['protocol']}"
    results = [
        EvalResult(
            task_type="other",
            task_name="Personal picture preference",
            dataset_type=dataset_id or dataset,
            dataset_name=dataset,
            dataset_split=SPLIT,
            dataset_args={"fingerprint": report.made_from["data"]},
            metric_type=kind,
            metric_name=f"{column}, {setting}",
            metric_value=round(row[column], 4),
        )
        for column, kind in METRICS.items()
    ]
    written = [checkpoint / "README.md"]
    card = ModelCard.load(written[0]) if written[0].is_file() else _new_card(text)
    mine = {(result.unique_identifier, result.metric_name) for result in results}
    data = cast(ModelCardData, card.data)
    kept = [r for r in data.eval_results or [] if (r.unique_identifier, r.metric_name) not in mine]
    data.model_name = data.model_name or checkpoint.resolve().name
    data.eval_results = kept + results
    _write(written[0], str(card))
    if dataset_id is not None:
        notes = f"{setting}; 95 % interval of user_srocc {row['low']:.4f} to {row['high']:.4f}"
        entries = [
            EvalResultEntry(dataset_id, column.replace(" ", "_").lower(), round(row[column], 4), notes=notes)
            for column in METRICS
        ]
        written.append(checkpoint / ".eval_results" / f"{dataset_id.replace('/', '--')}.yaml")
        _write(written[1], yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False))
    return written


def _new_card(text: str | None) -> ModelCard:
    data = ModelCardData(library_name="transformers", tags=["personalization", "image-preference"])
    text = text or "# Personal picture preference\n\nA model of `modeling_pamela`.\n"
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _write(file: Path, text: str) -> None:
    """What is there already is left alone."""
    if file.is_file() and file.read_bytes() == text.encode():
        return
    file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_bytes(text.encode())
