"""What each command does; every one ends with an exit code."""

from __future__ import annotations

import argparse
import getpass
import os
from typing import Any

from rich.console import Console

from pipeline import parameters
from pipeline import settings as settings_of
from pipeline.errors import PipelineError, SettingsError, Unavailable
from pipeline.settings import Settings

# Imports of MLflow, kfp and the model's libraries take seconds: they wait inside the commands,
# so that `--help` and a mistake in the arguments are answered at once.


def run(options: argparse.Namespace) -> int:
    """`run`: the refresh graph, on this machine or on Kubeflow."""
    arguments = _arguments(options)
    settings = _settings(options)
    if not settings.kfp_host or options.local:
        from pipeline.runs import local as localrun

        _reached(settings)
        if settings.rollout == "local":
            _served(settings, waits=arguments.get("review") != "none")
        return localrun.run("refresh", arguments, settings, _console()).exit_code
    from pipeline.runs import kubeflow

    return kubeflow.run("refresh", arguments, settings, wait=not options.no_wait)


def compile_graphs(_: argparse.Namespace) -> int:
    """`compile`: the graphs as YAML, which is committed."""
    from pipeline.runs import kubeflow

    for file in kubeflow.compile_all():
        _console().print(str(file), soft_wrap=True)
    return 0


def upload(options: argparse.Namespace) -> int:
    """`upload`: the compiled graphs to Kubeflow, once for each content."""
    from pipeline.runs import kubeflow

    for line in kubeflow.upload(_on_kubeflow(options)):
        _console().print(line, soft_wrap=True)
    return 0


def schedule(options: argparse.Namespace) -> int:
    """`schedule`: a recurring run."""
    from pipeline.runs import kubeflow

    arguments = _arguments(options)
    for line in kubeflow.schedule(
        options.cron, arguments, _on_kubeflow(options), only_show=options.diff
    ):
        _console().print(line, soft_wrap=True)
    return 0


def approve(options: argparse.Namespace) -> int:
    """`approve`: the same as setting the tag in the MLflow UI."""
    from pipeline.review import answers

    settings = _reached(_settings())
    _console().print(answers.approve(options.version, _me(), settings))
    return 0


def reject(options: argparse.Namespace) -> int:
    """`reject`: the same as setting the tag in the MLflow UI, with a reason."""
    from pipeline.review import answers

    settings = _reached(_settings())
    _console().print(answers.reject(options.version, _me(), options.reason, settings))
    return 0


def rollback(options: argparse.Namespace) -> int:
    """`rollback`: all traffic back to an earlier champion, at once."""
    from pipeline.registry import Registry
    from pipeline.rollout import controller
    from pipeline.slack.messenger import Messenger
    from pipeline.steps.roll_out import backend

    settings = _reached(_settings())
    registry, by = Registry(settings), _me()
    outcome = controller.roll_back(registry, backend(settings), options.to, options.reason, by=by)
    if outcome.state == "rolled_back":
        Messenger(registry).rolled_back(outcome.version, outcome.reason, by)
    return 0


def status(options: argparse.Namespace) -> int:
    """`status`: what serves, what waits, and how old it all is."""
    from pipeline import status as of

    found = of.collect(_settings())
    of.show(found, _console(), as_json=options.json)
    return found.exit_code


def doctor(options: argparse.Namespace) -> int:
    """`doctor`: every server and right that the lifecycle needs."""
    from pipeline import doctor as of

    found = of.run(_settings(), send=options.send, data=options.eval_data)
    return of.show(found, _console())


def poll(options: argparse.Namespace) -> int:
    """`poll`: decided reviews, once or for good."""
    from pipeline.review import poll as of

    if options.every is not None:
        of.poll(_settings(), options.every)
    else:
        of.poll_once(_reached(_settings()))
    return 0


def webhook(options: argparse.Namespace) -> int:
    """`webhook`: the service that MLflow calls when a tag was set."""
    from pipeline.review import webhook as of

    settings = _settings()
    if options.url:
        _reached(settings)
    of.serve(settings, options.address, options.port, options.url or "")
    return 0


def demo(options: argparse.Namespace) -> int:
    """`demo`: the whole loop on this machine."""
    from pipeline.local import demo as of

    of.run(
        of.Options(
            once=options.once,
            backends=options.backends,
            model=options.model,
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            mlflow_port=options.mlflow_port,
            home=options.home,
        ),
        _console(),
    )
    return 0


def _arguments(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line gave, found right before any server is asked."""
    from pipeline import arguments as arguments_of

    arguments = parameters.given(options, parameters.of("refresh"))
    arguments_of.check("refresh", arguments)
    return arguments


def _settings(options: argparse.Namespace | None = None) -> Settings:
    settings = settings_of.load()
    host = getattr(options, "host", None)
    return settings.model_copy(update={"kfp_host": host}) if host else settings


def _reached(settings: Settings) -> Settings:
    """Tell whoever waits at once that there is no MLflow, which would be asked for minutes."""
    from pipeline.doctor import tracking

    found = tracking.reachable(settings.impatient())
    if found.state == "wrong":
        raise Unavailable(f"{found.text}; {found.remedy}")
    return settings


def _served(settings: Settings, *, waits: bool) -> None:
    """Tell at once as well that the rollout at the end of the run will find no predictor.

    Args:
        waits: the rollout comes after a review, so it is only said.
    """
    from pipeline.registry import Registry
    from pipeline.rollout.follower import Follower

    try:
        Follower(settings.impatient()).check()
    except PipelineError as error:
        # One that waits for the first champion does not listen yet.
        first = isinstance(error, Unavailable) and Registry(settings).champion() is None
        if not (first or waits):
            raise
        _console().print(f"before the rollout: {error}", markup=False, soft_wrap=True)


def _on_kubeflow(options: argparse.Namespace) -> Settings:
    settings = _settings(options)
    if not settings.kfp_host:
        raise SettingsError("name the Kubeflow Pipelines API with --host or PIPELINE_KFP_HOST")
    return settings


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number alone
        return f"user {os.getuid()}"


def _console() -> Console:
    return Console(highlight=False)
