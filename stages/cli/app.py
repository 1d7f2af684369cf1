"""The command line `avemo`: every stage, presets, and a check of `params.yaml`.

Stages are imported when they are called, so that `avemo --help` answers at once.
"""

import importlib
from pathlib import Path
from typing import Annotated

import typer
import yaml

from pipeline.errors import ParamsError
from stages.cli.boundary import configure_logging, with_boundary

STAGES = {
    "demo": "Make the embedded demo corpus.",
    "extract": "Index the corpus; take frames and sound from the recordings.",
    "resample": "Resample the sound to 32 kHz mono.",
    "annotate": "Find faces and visual speech activity; write VOC annotations.",
    "embed": "Embed the sound with frozen PANNs and hand-crafted features.",
    "detect": "Train the face detector on each fold and take face features.",
    "fuse": "Train and score the system on each fold.",
    "pack": "Write the model that `avemo predict` uses.",
    "report": "Write the report of the last run.",
}

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Audio-visual emotion recognition as a DVC pipeline. `dvc repro` runs all stages.",
)


def run() -> None:
    """Entry point of the command `avemo`."""
    configure_logging()
    with_boundary(app)


def _add_stage(name: str, summary: str) -> None:
    def forward(context: typer.Context) -> None:
        module = importlib.import_module(f"stages.{name}")
        stage = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        stage.command()(module.main)
        command = typer.main.get_command(stage)
        command(args=context.args or _usual_paths(name), prog_name=f"avemo {name}")

    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    text = f"{summary} Without arguments: on the paths of dvc.yaml."
    app.command(name, help=text, add_help_option=False, context_settings=settings)(forward)


def _usual_paths(stage: str) -> list[str]:
    """Arguments of a stage's command in `dvc.yaml`: `python -m stages.<name> <paths>`."""
    try:
        content = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError("dvc.yaml: no such file; run from the project's folder") from error
    command: str = content["stages"][stage]["cmd"]
    return command.split()[3:]


for _name, _summary in STAGES.items():
    _add_stage(_name, _summary)


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="Name of a file in presets/, e.g. savee or demo.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the corpus.")] = None,
) -> None:
    """Rewrite params.yaml for a corpus; comments stay."""
    from stages.cli.presets import apply_preset

    changed = apply_preset(name, root)
    print(f"preset {name}: {changed} values of params.yaml changed")


@app.command()
def summary(
    results: Annotated[Path, typer.Argument(help="Folder of the results.")] = Path("results"),
) -> None:
    """Print the figures of the last run and where its report lies."""
    from stages.cli.summary import summary as summarise

    print(summarise(results))


@app.command()
def tables(
    systems: Annotated[str, typer.Option(help="Names with commas; without: all.")] = "",
    protocols: Annotated[str, typer.Option(help="Names with commas; without: params.yaml's.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each system.")] = 3,
) -> None:
    """Train and score every system of the paper's tables; goes on where it was stopped."""
    from stages.cli.tables import main

    main(_names(systems), _names(protocols), seeds)


@app.command()
def ablations(
    protocol: Annotated[str, typer.Option(help="Its name; without: params.yaml's.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant.")] = 3,
) -> None:
    """Switch parts of the method off and on; goes on where it was stopped."""
    from stages.cli.ablations import main

    main(protocol, seeds)


@app.command()
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.")],
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("results/model"),
    as_json: Annotated[bool, typer.Option("--json", help="Boxes and windows, too.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row per recording.")] = False,
) -> None:
    """Say which emotion recordings express; exit code 1 if one of them cannot be read."""
    from stages.cli.predict import main

    raise typer.Exit(main(clips, model, as_json, as_csv))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def check() -> None:
    """Check every section of params.yaml."""
    from stages.cli.presets import check_params

    check_params()
    print("params.yaml: fine")


if __name__ == "__main__":
    run()
