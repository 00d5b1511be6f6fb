"""What the predictor says that it serves, held against the registry."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from pipeline.evaluation import Value
from pipeline.registry.versions import Tag, Version
from pipeline.rollout.move import ROLLING_BACK, RUNNING
from pipeline.settings import Settings


class Serving(Value):
    """What the predictor says of itself.

    Attributes:
        version: the registered version with its digest, where there is one.
        agrees: whether that is what should serve; None where nothing says what should.
        detail: one sentence.
    """

    url: str
    answers: bool
    id: str = ""
    digest: str = ""
    version: int | None = None
    agrees: bool | None = None
    detail: str


def ask(
    settings: Settings,
    versions: Sequence[Version],
    champion: Version | None,
    moving: Version | None,
) -> Serving:
    """What the predictor serves, and whether it should. Never raises for one that is down.

    Args:
        versions: all of them, to find the one that serves.
        champion: what should serve.
        moving: the version of a rollout under way, which may serve as well.
    """
    url = settings.predictor_url.rstrip("/")
    headers = settings.caller_headers(settings.predictor_host)
    try:
        answer = httpx.get(
            f"{url}/api/v1/config", headers=headers, timeout=settings.http_timeout_seconds
        )
        answer.raise_for_status()
        model = answer.json()["model"]
        name, digest = str(model["id"]), str(model["digest"])
    except httpx.HTTPStatusError as error:
        reason = f"answered {error.response.status_code}"
        return Serving(url=url, answers=False, detail=f"the predictor at {url} {reason}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        return Serving(url=url, answers=False, detail=f"the predictor at {url}: {reason}")
    except (ValueError, KeyError, TypeError):
        detail = f"what answers at {url} is no predictor of ours; set PIPELINE_PREDICTOR_URL"
        return Serving(url=url, answers=False, detail=detail)
    number = next((one.number for one in versions if one.digest == digest), None)
    shown = f"version {number}" if number else f"a model that is not registered ({name})"
    agrees: bool | None
    if champion is None:
        agrees, detail = None, f"serves {shown}; there is no champion yet"
    elif not champion.digest:
        agrees, detail = None, f"serves {shown}; the champion's tag {Tag.BUNDLE_DIGEST} is missing"
    elif digest == champion.digest:
        agrees, detail = True, "serves the champion"
    elif moving is not None and digest == moving.digest:
        agrees, detail = True, f"serves {shown}, which is being rolled out"
    else:
        agrees, detail = False, f"serves {shown} and not the champion, version {champion.number}"
    return Serving(
        url=url, answers=True, id=name, digest=digest, version=number, agrees=agrees, detail=detail
    )


def moving_among(versions: Sequence[Version]) -> Version | None:
    """The version whose rollout or rollback has begun and not ended."""
    wanted = (RUNNING, ROLLING_BACK)
    return next((one for one in versions if one.tags.get(Tag.ROLLOUT) in wanted), None)
