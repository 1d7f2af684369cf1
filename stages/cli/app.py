"""The command line `avemo`: every stage, presets, and a check of `params.yaml`.

Stages are imported when they are called, so that `avemo --help` answers at once.
"""

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ParamsError
from pipeline.params import parse_yaml
from pipeline.work.imports import uncollected
from pipeline.work.progress import counted
from stages.boundary import configure_logging, new_app, with_boundary
from stages.cli import cache, corrections

STAGES = {
    "inputs": "Validate params.yaml; note what the files that it names hold.",
    "demo": "Make the embedded demo corpus.",
    "extract": "Index the corpus; take frames and sound from the recordings.",
    "resample": "Resample the sound to 32 kHz mono.",
    "annotate": "Find faces and visual speech activity; write VOC annotations.",
    "image_sets": "List the frames that train and test, for other readers.",
    "embed": "Embed the sound with frozen PANNs and hand-crafted features.",
    "detect": "Train the face detector on each fold and take face features.",
    "embed_faces": "Embed the faces that the detectors found.",
    "fuse": "Train and score the system on each fold.",
    "pack": "Write the model that `avemo predict` uses.",
    "report": "Write the report of the last run.",
}

app = new_app(
    add_completion=True,
    no_args_is_help=True,
    help="Audio-visual emotion recognition as a DVC pipeline. `dvc repro` runs all stages.",
)


def run() -> None:
    """Entry point of the command `avemo`."""
    configure_logging()
    with_boundary(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"avemo {importlib.metadata.version('avemo')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """See the help of `app`."""


def _add_stage(name: str, summary: str) -> None:
    def forward(context: typer.Context) -> None:
        usual = _usual_paths(name)
        with uncollected():
            module = importlib.import_module(f"stages.{name}")
        stage = new_app()
        stage.command()(module.main)
        command = typer.main.get_command(stage)
        for parameter, path in zip(command.params, usual, strict=False):
            parameter.default, parameter.required = path, False
        command(args=context.args, prog_name=f"avemo {name}")

    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name, help=summary, add_help_option=False, context_settings=settings)(forward)


def _usual_paths(stage: str) -> list[str]:
    """Arguments of a stage's command in `dvc.yaml`: `python -m stages.<name> <paths>`."""
    path = Path("dvc.yaml")
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError as error:
        raise ParamsError("dvc.yaml: no such file; run from the project's folder") from error
    command: str = content["stages"][stage]["cmd"]
    return command.split()[3:]


for _name, _summary in STAGES.items():
    _add_stage(_name, _summary)


app.add_typer(cache.app, name="cache")
app.add_typer(corrections.app, name="corrections")


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="Name of a file in presets/, e.g. savee or demo.")],
    root: Annotated[Path | None, typer.Option(help="Folder of the corpus.")] = None,
) -> None:
    """Rewrite params.yaml for a corpus; comments stay."""
    from stages.cli.presets import apply_preset

    changed = apply_preset(name, root)
    print(f"preset {name}: {counted(changed, 'value')} of params.yaml changed")


@app.command()
def corpus(
    root: Annotated[Path, typer.Argument(help="Folder of the recordings.")],
    name: Annotated[
        str | None, typer.Option(help="savee, ravdess, cremad or folder; without: by file names.")
    ] = None,
) -> None:
    """Say what a folder of recordings holds.

    What is missing, doubled, damaged or odd; a draft of clips.csv is written where it has none.
    """
    from stages.cli.corpus import main

    print("\n".join(main(root, name)))


@app.command()
def plan() -> None:
    """Forecast time and disk of a run.

    From counts, and a short timing of this machine.
    """
    from stages.cli.plan import plan as forecast

    print(forecast())


@app.command()
def summary(
    results: Annotated[Path, typer.Argument(help="Folder of the results.")] = Path("results"),
) -> None:
    """Print the figures of the last run and where its report lies."""
    from stages.cli.summary import summary as summarise

    print(summarise(results))


@app.command()
def gallery(
    out: Annotated[Path, typer.Argument(help="Folder to write.")] = Path("results/gallery"),
) -> None:
    """Show all frames with their boxes, doubtful ones first."""
    from stages.cli.gallery import gallery as write

    print(write(out))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="Run to compare with.")] = "HEAD",
    second: Annotated[str, typer.Argument(help="Run that is compared.")] = "workspace",
    as_json: Annotated[bool, typer.Option("--json", help="Figures for programs.")] = False,
) -> None:
    """Compare two runs on the test clips that they share.

    A run is a Git revision, the name of a DVC experiment, a folder of results, or `workspace`.
    """
    from stages.cli.compare import main

    main(first, second, as_json)


@app.command()
def tables(
    systems: Annotated[str, typer.Option(help="Names with commas; without: the paper's.")] = "",
    protocols: Annotated[str, typer.Option(help="Names with commas; without: params.yaml's.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Of splits and trainings: 0, 1, ...")] = 3,
) -> None:
    """Train and score every system of the paper.

    Goes on where it was stopped.
    """
    from stages.cli.tables import tables as run_tables

    run_tables(_names(systems), _names(protocols), seeds)


@app.command()
def ablations(
    protocol: Annotated[str, typer.Option(help="Its name; without: params.yaml's.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Of splits and trainings: 0, 1, ...")] = 3,
    studies: Annotated[
        str, typer.Option(help="boxes,sound,speech,closer,joint,head,withheld,loss; without: all.")
    ] = "",
) -> None:
    """Switch parts of the method off and on.

    Goes on where it was stopped.
    """
    from stages.cli.tables import ablations as run_ablations

    run_ablations(protocol, seeds, _names(studies))


@app.command()
def robustness(
    recordings: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of labelled ones; without: the test clips of the model's fold."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Its folder, or `pretrained`; without: results/model, else that.")
    ] = "",
    conditions: Annotated[
        str, typer.Option(help="white,babble,blur,pgd_both, ...; without: all.")
    ] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Two severities of each, and no PGD.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, rooms, voices and attacks.")] = 0,
) -> None:
    """Try a model under noise, blur, missing parts and attacks.

    Goes on where it was stopped.
    """
    from stages.cli.robustness import main

    main(recordings, model, _names(conditions), quick, seed)


@app.command()
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Recordings, or folders of them.")],
    model: Annotated[
        str, typer.Option(help="Its folder, or `pretrained`; without: results/model, else that.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Boxes and windows, too.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="A row per recording.")] = False,
    video: Annotated[
        Path | None,
        typer.Option(help="Annotated video to write (.mp4), or a folder for several."),
    ] = None,
) -> None:
    """Say which emotions recordings show.

    The exit code is 1 where one of them cannot be read; the others are answered.
    """
    with uncollected():
        from stages.cli.predict import main

    raise typer.Exit(main(clips, model, as_json, as_csv, video))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    model: Annotated[
        str, typer.Option(help="Its folder, or `pretrained`; without: results/model, else that.")
    ] = "",
    clip: Annotated[
        Path | None,
        typer.Option(help="Recording whose frames have the size of those to come."),
    ] = None,
) -> None:
    """Write a model as ONNX graphs, held against torch.

    Beside them lies an example that needs onnxruntime and numpy alone.
    """
    from stages.cli.export import main

    main(out, model, clip)


@app.command("app")
def page(
    model: Annotated[
        str, typer.Option(help="Its folder, or `pretrained`; without: results/model, else that.")
    ] = "",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Without: a free one.")] = None,
) -> None:
    """Serve a page for one's own recordings.

    To this machine alone, until Ctrl-C; nothing is kept.
    """
    from stages.cli.page import main

    main(model, port)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def check() -> None:
    """Check params.yaml, and whether what it names is there.

    That is: the corpus, its folds, and weights; systems against corpus and networks.
    """
    from stages.cli.check import check as findings

    found = findings()
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if found:
        raise typer.Exit(1)
    print("params.yaml: valid, and what it names is there")


@app.command()
def verify() -> None:
    """Name what is damaged: products, model, clip cache.

    DVC looks at sizes and times first, which a damaged byte does not change.
    """
    from stages.cli.verify import verify as findings

    found, read = findings()
    for line in found:
        print(f"error: {line}", file=sys.stderr)
    if found:
        raise typer.Exit(1)
    print(f"as written: {read}")


if __name__ == "__main__":
    run()
