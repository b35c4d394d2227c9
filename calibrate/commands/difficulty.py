"""``calibrate difficulty``: train, judge and question predictors of which model answers well."""

from pathlib import Path

import click

from phasewatt.console import Commands, note, out, print_json, progress
from phasewatt.errors import BadOption
from phasewatt.files import whole_file, write_text

_ENTITIES = {"capitals": "capitals", "spacy": "en_core_web_sm-3.8"}

_entities = click.option(
    "--entities",
    type=click.Choice(list(_ENTITIES)),
    default="capitals",
    show_default=True,
    help="Who finds named entities in a table's text; spacy needs the extra nlp.",
)
_embed = click.option(
    "--embed",
    is_flag=True,
    help="Add sentence embeddings to a table's text; needs the extra embed.",
)
_models = click.option("--models", help="Only these models of the table, comma-separated.")
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")


@click.group("difficulty", cls=Commands)
def command() -> None:
    """Predict from a query's text which model answers it well, and what a larger one gains."""


@command.command("train")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Write here.")
@click.option("--with-task", is_flag=True, help="Make the query's task a feature.")
@_models
@_entities
@_embed
@click.option("--name", help="What the predictor is called.  [default: the table's name]")
@click.option("--source", default="", help="Where the outcomes come from; kept in the file.")
def train_command(
    table: Path,
    output: Path,
    with_task: bool,
    models: str | None,
    entities: str,
    embed: bool,
    name: str | None,
    source: str,
) -> None:
    """Train a predictor on TABLE, a CSV file of outcomes (docs/difficulty.md), and write it.

    A name that ends in .gz is compressed.
    """
    from calibrate.difficulty.embeddings import extractor_of, features_for
    from model.difficulty.predictor_file import dump_predictor, packed
    from model.difficulty.table import read_table
    from model.difficulty.training import Recipe, train

    extractor = extractor_of(_ENTITIES[entities], embed=embed)
    outcomes = read_table(table, extractor, features_for)
    recipe = Recipe(with_task=with_task)
    chosen = None if models is None else models.split(",")
    with (
        whole_file(output) as temporary,
        progress("fitting", recipe.folds + 1) as advance,
    ):
        learned = train(
            outcomes,
            recipe,
            models=chosen,
            name=name or table.name.split(".")[0],
            source=source,
            advance=advance,
        )
        content = dump_predictor(learned)
        temporary.write_bytes(packed(content) if output.suffix == ".gz" else content)
    note(
        f"wrote {output}: {len(learned.models)} models, {len(learned.gains)} gains, from "
        f"{learned.rows:,} queries, features {learned.extractor}"
    )


@command.command("eval")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--pair", "pairs", multiple=True, help="SMALL:LARGE to route between; repeatable.")
@_models
@_entities
@_embed
@click.option(
    "--labels",
    type=click.IntRange(min=0),
    default=0,
    help="Also train on so few rows, for the first pair, and judge all others.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the routing curves (PNG).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Keep the results (JSON) here."
)
@_json
def eval_command(
    tables: tuple[str, ...],
    pairs: tuple[str, ...],
    models: str | None,
    entities: str,
    embed: bool,
    labels: int,
    seed: int,
    plot: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Judge predictors on TABLE: pooled, within tasks, and on unseen tasks, against baselines.

    TABLE is a CSV file of outcomes, a JSON file of results, or the name of a shipped evaluation,
    whose results are kept (`cascades`, whose queries may not be passed on, `routellm`, `boolq`).
    Several are set side by side. Without TABLE, the names are listed.
    """
    from calibrate.difficulty.embeddings import extractor_of
    from calibrate.difficulty.report import print_comparison, print_study
    from calibrate.difficulty.results import results_of, shipped_results

    if not tables:
        for name in shipped_results():
            out().print(name)
        return
    if len(tables) > 1 and (output is not None or plot is not None):
        raise BadOption("-o and --plot go with one table")
    extractor = extractor_of(_ENTITIES[entities], embed=embed)
    split = [_pair(pair) for pair in pairs]
    chosen = None if models is None else models.split(",")
    studies = [results_of(table, extractor, split, chosen, labels, seed) for table in tables]
    study = studies[0]
    if output is not None:
        from calibrate.difficulty.results import dump_results

        write_text(output, dump_results(study))
    if plot is not None:
        from calibrate.difficulty.plot import plot_routing

        with whole_file(plot) as temporary:
            plot_routing(study, temporary)
    if as_json:
        print_json(study if len(studies) == 1 else {each["name"]: each for each in studies})
    elif len(studies) > 1:
        print_comparison(out(), studies)
    else:
        print_study(out(), study)
    for path in (output, plot):
        if path is not None:
            note(f"wrote {path}")


@command.command("explain")
@click.option("--text", required=True, help="The query.")
@click.option("--task", help="Its task, where the predictor asks for it.")
@click.option(
    "--predictor", "source", default="cascades", show_default=True, help="A file or shipped name."
)
@click.option("--model", help="Attribute the chances of this model.  [default: the first]")
@click.option("--top", type=click.IntRange(min=1), default=8, show_default=True)
@_json
def explain_command(
    text: str, task: str | None, source: str, model: str | None, top: int, as_json: bool
) -> None:
    """Say what a predictor makes of one query: chances, gains, and which features speak."""
    from calibrate.difficulty.explain import explain, print_explanation
    from model.difficulty.predictor_file import load_predictor

    if not text.strip():
        raise BadOption("--text is empty; expected a query")
    explained = explain(load_predictor(source), text, task, model, top)
    if as_json:
        print_json(explained)
    else:
        print_explanation(out(), explained)


def _pair(text: str) -> tuple[str, str]:
    small, colon, large = text.partition(":")
    if not (small and colon and large) or small == large:
        raise BadOption(f"--pair {text!r}: expected SMALL:LARGE, two models of the table")
    return small, large
