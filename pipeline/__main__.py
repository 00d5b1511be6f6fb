"""`python -m pipeline`: the lifecycle of a model version from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline import commands, parameters
from pipeline.errors import PipelineError
from pipeline.local import home

Command = Callable[[argparse.Namespace], int]

_SHORTEST_PAUSE = 5
"""Seconds between two looks at reviews, each of which asks MLflow for all versions."""
_LONGEST_PAUSE = 86_400

_EXAMPLES = """
a first run on this machine (MLflow and the predictor must be up, see `doctor`):
  python -m pipeline run --local --eval-data examples/eval --review none

on a cluster, once and then every night at three:
  python -m pipeline run --host http://kubeflow.example.com/pipeline --eval-data s3://data/eval
  python -m pipeline schedule --cron "0 3 * * *" --eval-data s3://data/eval

when a version waits for its review:
  python -m pipeline approve 7

exit codes: 0 well; 1 failed; 2 wrong arguments or settings; 3 the data cannot be used;
4 refused by the gate or a person; 5 rolled back; 6 another rollout is under way;
7 a server does not answer (trying again may help); 8 stale (status); 9 another version serves
than should (status)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        An exit code as `--help` lists them; what went wrong is one line on standard error.
    """
    options = parser().parse_args(argv)
    command: Command = options.command
    try:
        return command(options)
    except PipelineError as error:
        sys.stderr.write(f"pipeline: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("pipeline: stopped\n")
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    root = argparse.ArgumentParser(
        prog="python -m pipeline",
        description="Measure, register, judge, review, roll out and roll back GLiNER versions.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = root.add_subparsers(title="commands", metavar="COMMAND", required=True).add_parser

    def command(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        made = add(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(command=run)
        return made

    run = command("run", commands.run, "run the refresh graph: measure, register, judge, roll out")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--local", action="store_true", help="on this machine, with kfp's runner")
    where.add_argument("--host", metavar="URL", help="on Kubeflow; also PIPELINE_KFP_HOST")
    run.add_argument("--no-wait", action="store_true", help="on Kubeflow: do not wait for its end")
    parameters.add_flags(run, parameters.of("refresh"))

    command("compile", commands.compile_graphs, "write the graphs as pipeline/compiled/*.yaml")

    upload = command("upload", commands.upload, "upload the compiled graphs to Kubeflow")
    upload.add_argument("--host", metavar="URL", help="also PIPELINE_KFP_HOST")

    schedule = command("schedule", commands.schedule, "run the refresh graph again and again")
    schedule.add_argument("--host", metavar="URL", help="also PIPELINE_KFP_HOST")
    schedule.add_argument(
        "--cron",
        default="0 3 * * *",
        help="five fields, or six with seconds first, in the cluster's time (default: %(default)s)",
    )
    schedule.add_argument("--diff", action="store_true", help="only show what would change")
    parameters.add_flags(schedule, parameters.of("refresh"))

    approve = command("approve", commands.approve, "let a version that waits be rolled out")
    approve.add_argument("version", type=int)
    reject = command("reject", commands.reject, "turn a version that waits away")
    reject.add_argument("version", type=int)
    reject.add_argument("--reason", default="", help="for its history and for Slack")

    rollback = command("rollback", commands.rollback, "go back to the champion before this one")
    rollback.add_argument("--to", type=int, metavar="VERSION", help="to this version instead")
    rollback.add_argument("--reason", default="by hand", help="for the version's history")

    status = command("status", commands.status, "champion, challenger, ages, last runs, staleness")
    status.add_argument("--json", action="store_true", help="for scripts")

    doctor = command("doctor", commands.doctor, "check every server and right: ok, or what to do")
    doctor.add_argument("--eval-data", default="", help="check this data as a run does")
    doctor.add_argument("--send", action="store_true", help="send a test message to Slack as well")

    poll = command("poll", commands.poll, "look for decided reviews, and act on them")
    poll.add_argument(
        "--every", type=_pause, metavar="SECONDS", help="go on looking, so often; 5 or more"
    )

    webhook = command("webhook", commands.webhook, "take MLflow's webhooks, and act on reviews")
    webhook.add_argument("--port", type=int, default=8090)
    webhook.add_argument("--address", default="0.0.0.0", help="to listen on")
    webhook.add_argument("--url", help="register this address of ours in MLflow first")

    demo = command("demo", commands.demo, "the whole loop on this machine")
    demo.add_argument("--once", action="store_true", help="end after the loop")
    demo.add_argument("--backends", choices=["embedded", "real"], default="embedded")
    demo.add_argument("--model", default="embedded", help="`embedded`, a folder or a hub id")
    demo.add_argument("--http-port", type=int, default=8080)
    demo.add_argument("--grpc-port", type=int, default=8081)
    demo.add_argument("--mlflow-port", type=int, default=5000)
    demo.add_argument(
        "--home",
        type=Path,
        default=home.DEFAULT,
        metavar="DIR",
        help="its folder, new, empty or an earlier demo's; that is emptied (default: %(default)s)",
    )
    return root


def _pause(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    # Written so that a value that is no number passes nothing.
    if not _SHORTEST_PAUSE <= seconds <= _LONGEST_PAUSE:
        raise argparse.ArgumentTypeError(
            f"{text} is no pause; it must be from {_SHORTEST_PAUSE} to {_LONGEST_PAUSE} seconds"
        )
    return seconds


if __name__ == "__main__":
    sys.exit(main())
