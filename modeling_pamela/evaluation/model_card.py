"""A result of a model, written where the Hub reads it: `model-index` in the card, and `.eval_results/`."""

from pathlib import Path
from typing import cast

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.utils import HFValidationError, validate_repo_id

from ..data.files import DataError, atomic_write
from .report import Report


__all__ = ["write_results"]

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


def write_results(checkpoint: Path, report: Report, dataset: str, dataset_id: str | None = None) -> list[Path]:
    """
    Write a model's row of the table of rewards into its checkpoint. Results of other data sets stay; those of the same are replaced.

    Args:
        checkpoint (`Path`): Folder of the model; its `README.md` is made where there is none.
        report ([`~modeling_pamela.evaluation.report.Report`]): Table 2.
        dataset (`str`): Name of the data set, for people.
        dataset_id (`str`, *optional*):
            Its Hub repo, `owner/name`. Only with it `.eval_results/` is written, which the Hub shows for data sets that are registered as benchmarks
            (with an `eval.yaml` whose tasks are `user_srocc` and so on).

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
    card = ModelCard.load(written[0]) if written[0].is_file() else _new_card()
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


def _new_card() -> ModelCard:
    data = ModelCardData(library_name="transformers", tags=["personalization", "image-preference"])
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# Personal picture preference\n\nA model of `modeling_pamela`.\n")


def _write(file: Path, text: str) -> None:
    """What is there already is left alone."""
    if file.is_file() and file.read_bytes() == text.encode():
        return
    file.parent.mkdir(exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_bytes(text.encode())
