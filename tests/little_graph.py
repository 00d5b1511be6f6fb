"""A graph of two steps and an exit handler, compiled as ours are, that does as it is told."""

# No `from __future__`: kfp needs annotations that are types.
# mypy: disable-error-code="untyped-decorator"

from pathlib import Path

from kfp import compiler, dsl
from kfp.dsl import PipelineTaskFinalStatus

component = dsl.component(base_image="steps", install_kfp_package=False)


@component
def work(job: str, what: str, folder: str) -> str:
    """Does its work, or fails in the way that is asked for."""
    import os
    import signal
    import sys
    import time
    import warnings
    from pathlib import Path

    from pipeline import errors, settings
    from pipeline.progress import say
    from pipeline.registry import Registry, RunTag
    from pipeline.runs import attempt

    def step(job: str) -> str:
        say(f"asked to {what}")
        warnings.warn("noise of a library", stacklevel=1)
        marks = Path(folder)
        tries = len(list(marks.glob("try-*")))
        (marks / f"try-{tries}").touch()
        if what == "find fault":
            raise errors.DataError("eval.jsonl line 3: spans must be\nnumbers")
        if what == "stumble":
            raise ValueError("a secret text of a user")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "try twice" and not tries:
            raise errors.Unavailable("MLflow does not answer")
        if what == "wait":
            (marks / "pid").write_text(str(os.getpid()))
            time.sleep(120)
            sys.exit(1)
        registry = Registry(settings.load())
        tags = {RunTag.OUTCOME: "promoted", RunTag.VERSION: 3}
        if what == "say no":
            tags = {RunTag.OUTCOME: "refused", RunTag.REASON: "F1 0.4 is below 0.5"}
        registry.note(registry.run(job).info.run_id, tags)
        return what

    return attempt.call(step, job=job)


@component
def more(what: str) -> None:
    """Comes after the work."""
    from pipeline.progress import say

    say(f"more of {what}")


@component
def tell(job: str, folder: str, status: PipelineTaskFinalStatus) -> None:
    """Writes how the run ended."""
    from pathlib import Path

    Path(folder, "told").write_text(status.state)


@dsl.pipeline(name="little")
def little(folder: str, what: str = "work", number: int = 1) -> None:
    """A little graph.

    Args:
        folder: For what it leaves behind.
        what: What to do.
        number: Not used.
    """
    job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    with dsl.ExitHandler(tell(job=job, folder=folder)):
        done = work(job=job, what=what, folder=folder).set_retry(2, backoff_duration="60s")
        with dsl.If(done.output != "nothing"):
            more(what=done.output)


def write(file: Path) -> None:
    """Compile it."""
    compiler.Compiler().compile(little, str(file))
