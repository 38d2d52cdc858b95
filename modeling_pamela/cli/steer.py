"""`pamela steer`"""

import json
import os
import re
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checkpoint import DEFAULT_MODEL, Device, PrecisionName


if TYPE_CHECKING:
    from ..rewards.base import Person
    from ..rewards.personal import PersonalReward
    from ..steering.base import Candidate, Proposer, Renderer
    from ..steering.contact_sheet import SteeredRun
    from ..steering.search import SearchProgress

SCENES = "scenes"
STAND_IN = "The pictures are painted by a stand-in, which knows some words and is no text-to-image model."
POPULATION = "the population"


def steer(
    prompts: Annotated[
        list[str], typer.Argument(help="What the pictures should show; each prompt is searched for by itself.")
    ],
    pipeline: Annotated[
        str,
        typer.Option(
            help="What makes the pictures: a diffusers text-to-image pipeline (a folder or a Hub repo), or `scenes`, a painted stand-in "
            "that needs no weights."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="The checkpoint that scores: a folder, a model of the package, or a Hub repo.")
    ] = DEFAULT_MODEL,
    profile: Annotated[
        list[Path] | None, typer.Option(help="A saved taste profile. Repeat it to search for several people.")
    ] = None,
    user: Annotated[
        list[str] | None, typer.Option(help="A person whose taste was saved with the model. May be repeated.")
    ] = None,
    demographics: Annotated[
        str | None,
        typer.Option(help='Somebody of whom only this is known, as JSON: \'{"age": 26, "gender": "female"}\'.'),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write a page with the pictures of every round. It shows what people like: personal data."),
    ] = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for pictures and history. The same command goes on there where it was stopped."),
    ] = None,
    proposer: Annotated[
        str,
        typer.Option(
            help="What writes variants: `modifiers` (learns which words please, without a language model), `smollm2` (a small one, "
            "offline), a chat model of transformers (a folder or a Hub repo), or the URL of an OpenAI-compatible server."
        ),
    ] = "modifiers",
    proposer_model: Annotated[
        str | None,
        typer.Option(help="Name of the chat model at the server's URL; its key is read from OPENAI_API_KEY."),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Variants a round.")] = 20,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds, at most.")] = 5,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many rounds without gain.")] = 2,
    keep: Annotated[
        int, typer.Option(min=1, help="How many of the best are told of, and always shown to the proposer.")
    ] = 1,
    history_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Show the proposer so many candidates, the best and then the latest. By default all."
        ),
    ] = None,
    max_renders: Annotated[int | None, typer.Option(min=1, help="Stop a search after so many pictures.")] = None,
    max_seconds: Annotated[float | None, typer.Option(min=0, help="Stop a search after so long.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals.")] = 0,
    render_seed: Annotated[int, typer.Option(min=0, help="Of every picture.")] = 0,
    guards: Annotated[
        bool, typer.Option(help="Keep what the prompt asks for, and do not chase what the model is unsure of.")
    ] = True,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper", help="As in the paper: 50 steps, guidance 4.0, 512 pixels, where the pipeline takes it."
        ),
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Inference steps. By default the pipeline's own.")] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Guidance scale. By default the pipeline's own.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Width and height. By default the pipeline's own.")] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures at once, at most; fewer where the memory does not suffice.")
    ] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a search.")] = False,
    device: Device = "cpu",
    dtype: Annotated[PrecisionName | None, typer.Option(help="Precision of the pipeline.")] = None,
    offload: Annotated[
        bool, typer.Option("--offload", help="Keep only that part of the pipeline on the device which is at work.")
    ] = False,
) -> None:
    """
    Search for the words with which a person likes the pictures of a prompt: propose variants, render, score, keep the best, and again.

    Without --profile, --user and --demographics the search is for the population.
    """
    from transformers.utils import logging

    from ..rewards.personal import PersonalReward, saved_people
    from ..steering.contact_sheet import SteeredRun, write_steering_page
    from ..steering.defaults import check_prompt, content_for, guards_for
    from ..steering.guards import Guards
    from ..steering.search import SearchSettings, search
    from .checkpoint import load_checkpoint, load_processor, locate_checkpoint
    from .pictures import check_page

    for prompt in prompts:
        check_prompt(prompt)
    check_page(html)
    logging.disable_progress_bar()
    scorer = load_checkpoint(model, device)
    reward = PersonalReward(scorer, load_processor(model), saved_people(locate_checkpoint(model), scorer))
    people = _people(reward, profile or [], user or [], demographics)
    settings = SearchSettings(
        num_candidates=candidates,
        keep=keep,
        max_rounds=rounds,
        patience=patience,
        render_seed=render_seed,
        seed=seed,
        history_size=history_size,
        max_renders=max_renders,
        max_seconds=max_seconds,
        batch_size=batch_size,
    )
    asked = {"num_inference_steps": steps, "guidance_scale": guidance, "height": size, "width": size}
    rendering = {name: value for name, value in asked.items() if value is not None}
    renderer = _renderer(pipeline, rendering, paper, batch_size, device, dtype, offload)
    writer = _proposer(proposer, proposer_model, device)
    demands = guards_for(reward) if guards else Guards.off(guards_for(reward).scored_prompt)
    if pipeline == SCENES:
        typer.secho(STAND_IN, fg=typer.colors.YELLOW, err=True)
    runs: list[SteeredRun] = []
    pairs = [(prompt, name) for prompt in dict.fromkeys(prompts) for name in people]
    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory())) if run_dir is None else run_dir
        for number, (prompt, name) in enumerate(pairs, start=1):
            typer.echo(f"[{number}/{len(pairs)}] {prompt!r} for {name}", err=True)
            folder = root / _folder_name(name) / _folder_name(prompt)
            try:
                result = search(
                    prompt,
                    reward=reward,
                    proposer=writer,
                    renderer=renderer,
                    person=people[name],
                    settings=settings,
                    guards=demands,
                    content=content_for(reward),
                    folder=folder,
                    callback=_Progress(),
                )
            except KeyboardInterrupt:
                if run_dir is not None:
                    typer.echo("Stopped. The same command goes on from here.", err=True)
                raise
            runs.append(SteeredRun(name, prompt, result, demands, folder))
            _write_result(runs[-1], run_dir, pipeline, as_json)
        if html is not None:
            made_by = STAND_IN if pipeline == SCENES else f"Pictures by {pipeline}."
            typer.echo(f"Page: {write_steering_page(html, runs, made_by)}", err=True)


def _people(
    reward: "PersonalReward", profiles: list[Path], users: list[str], demographics: str | None
) -> "dict[str, Person]":
    """Who is searched for, by the name that they are shown with."""
    from ..rewards.base import RewardError
    from ..taste.profile import TasteProfile

    people: dict[str, Person] = {}
    for path in profiles:
        person = TasteProfile.from_pretrained(path)
        person.check_model(reward.model)
        people[str(path) if path.name in people else path.name or str(path)] = person
    for name in users:
        if name not in reward.people:
            raise RewardError(
                f"No taste of {name!r} is saved with this model. Train with --save-profiles, or pass --profile."
            )
        people[f"{name} (user)" if name in people else name] = name
    if demographics is not None:
        try:
            known = json.loads(demographics)
        except json.JSONDecodeError as error:
            raise typer.BadParameter(f"--demographics is not JSON ({error}).") from error
        if not isinstance(known, dict):
            raise typer.BadParameter("--demographics is not a JSON object from field to value.")
        people["somebody with " + ", ".join(f"{key} {value}" for key, value in known.items())] = reward.person_like(
            known
        )
    return people or {POPULATION: None}


def _renderer(
    name: str,
    rendering: dict[str, Any],
    paper: bool,
    batch_size: int,
    device: str,
    dtype: PrecisionName | None,
    offload: bool,
) -> "Renderer":
    from ..steering.base import SteeringError

    if name == SCENES:
        from ..steering.scene_renderer import SceneRenderer

        if rendering or paper or dtype or offload:
            raise typer.BadParameter(
                "--pipeline scenes has no --steps, --guidance, --size, --paper, --dtype or --offload."
            )
        return SceneRenderer()
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline
    from diffusers.utils import logging

    from ..steering.diffusers_renderer import DiffusersRenderer, paper_settings

    expected = "a folder or a Hub repo (owner/name) of a diffusers pipeline, or `scenes`"
    if Path(name).exists():
        if not (Path(name) / "model_index.json").is_file():
            raise SteeringError(f"{name} is no pipeline, since it has no model_index.json; expected {expected}.")
    elif name.count("/") != 1 or name.startswith(("/", ".")):
        raise SteeringError(f"There is no pipeline {name}; expected {expected}.")
    logging.disable_progress_bar()
    try:
        loaded = DiffusionPipeline.from_pretrained(name, dtype=None if dtype is None else getattr(torch, dtype.value))
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise SteeringError(
            f"The pipeline {name} cannot be loaded. diffusers said: {' '.join(str(error).split())}"
        ) from error
    loaded.set_progress_bar_config(disable=True)
    if offload:
        try:
            loaded.enable_model_cpu_offload(device=device)
        except (RuntimeError, ValueError, ImportError) as error:
            raise SteeringError(f"The pipeline cannot be offloaded. diffusers said: {error}") from error
    else:
        loaded.to(device)
    return DiffusersRenderer(
        loaded, max_batch_size=batch_size, **{**(paper_settings(loaded) if paper else {}), **rendering}
    )


def _proposer(name: str, model: str | None, device: str) -> "Proposer":
    from ..steering.base import SteeringError

    at_server = name.startswith(("http://", "https://"))
    if model is not None and not at_server:
        raise typer.BadParameter("--proposer-model names a model at a server; give --proposer the server's URL.")
    if name == "modifiers":
        from ..steering.modifiers import ModifierProposer

        return ModifierProposer()
    if at_server:
        from ..steering.inference_client import InferenceClientProposer
        from ..steering.llm import DEFAULT_LLM

        return InferenceClientProposer(model or DEFAULT_LLM, base_url=name, api_key=os.environ.get("OPENAI_API_KEY"))
    from ..steering.llm import LLMProposer

    if name == "smollm2":
        return LLMProposer.offline(device_map=device)
    if not Path(name).is_dir() and (name.count("/") != 1 or name.startswith(("/", "."))):
        raise SteeringError(
            f"There is no proposer {name}; expected modifiers, smollm2, a folder or a Hub repo (owner/name) of a chat model, or the URL of "
            "a server."
        )
    return LLMProposer.from_pretrained(name, device_map=device)


class _Progress:
    """A line a round."""

    def __init__(self) -> None:
        self.first: float | None = None

    def __call__(self, progress: "SearchProgress") -> None:
        score, std = progress.best.score or 0.0, progress.best.std
        self.first = score if self.first is None else self.first
        spread = "" if std is None else f" ± {std:.2f}"
        left = f", at most {_time(progress.seconds_left)} left" if progress.round < progress.max_rounds else ""
        typer.echo(
            f"  round {progress.round}/{progress.max_rounds}  best {score:.3f}{spread} ({score - self.first:+.3f})  "
            f"{progress.renders} picture{'s' * (progress.renders != 1)} in {_time(progress.seconds)}{left}",
            err=True,
        )


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


_STOPPED = {
    "rounds": "all rounds are done",
    "patience": "rounds without gain",
    "renders": "all pictures that were allowed are made",
    "seconds": "the time is up",
    "proposals": "there are no further proposals",
    "failure": "the proposer failed; run the same command again to go on",
}


def _write_result(run: "SteeredRun", run_dir: Path | None, pipeline: str, as_json: bool) -> None:
    best = run.best

    def picture(candidate: "Candidate") -> str | None:
        return None if run_dir is None else str(run.folder / str(candidate.picture))

    typer.echo(f"  ended: {_STOPPED[run.result.stopped]}", err=True)
    if as_json:
        row = {
            "asked": run.prompt,
            "person": run.person,
            "prompt": best.prompt,
            "score": best.score,
            "std": best.std,
            "asked_score": run.first.score,
            "picture": picture(best),
            "others": [
                {"prompt": one.prompt, "score": one.score, "std": one.std, "picture": picture(one)}
                for one in run.result.kept[1:]
            ],
            "pictures": sum(candidate.score is not None for candidate in run.result.history),
            "refused": sum(candidate.refused is not None for candidate in run.result.history),
            "stopped": run.result.stopped,
            "pipeline": "scenes (a painted stand-in)" if pipeline == SCENES else pipeline,
        }
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    for one in run.result.kept:
        spread = "" if one.std is None else f" ± {one.std:.3f}"
        gain = (one.score or 0.0) - (run.first.score or 0.0)
        typer.echo(f"{run.person}: {one.score:.3f}{spread} ({gain:+.3f})  {one.prompt}")
        if run_dir is not None:
            typer.echo(f"  {picture(one)}")


def _folder_name(text: str) -> str:
    """Readable, of a length that every file system takes, and different for different texts."""
    words = re.sub(r"\W+", "-", text.lower()).strip("-")[:40]
    return f"{words}-{sha256(text.encode()).hexdigest()[:8]}"
