"""Triton's gRPC client in a process of its own: its protobuf classes and KServe's cannot share one.

`python triton_grpc.py ADDRESS` reads a JSON list of calls from standard input and writes a JSON
list of what came back. A call is `{"texts", "parameters", "outputs"}`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def ask(address: str, *calls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make some calls.

    Returns:
        For each `{"outputs": {name: values}}` or `{"status", "error"}`; then one more with
        what the client found of the server.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), address],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def main(address: str, calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    import tritonclient.grpc as triton
    from tritonclient.utils import InferenceServerException

    client = triton.InferenceServerClient(address)
    answers: list[dict[str, Any]] = []
    for call in calls:
        try:
            answers.append({"outputs": infer(triton, client, call)})
        except InferenceServerException as error:
            answers.append({"status": error.status(), "error": error.message()})
    metadata = client.get_model_metadata("gliner", as_json=True)
    answers.append(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready() and client.is_model_ready("gliner"),
            "metadata": metadata,
        }
    )
    client.close()
    return answers


def infer(triton: Any, client: Any, call: Mapping[str, Any]) -> dict[str, list[Any]]:
    import numpy as np

    texts = call["texts"]
    tensor = triton.InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([one.encode() for one in texts], dtype=np.object_))
    outputs = [triton.InferRequestedOutput(name) for name in call.get("outputs", ())]
    answer = client.infer(
        "gliner", [tensor], outputs=outputs or None, parameters=call["parameters"]
    )
    names = [one.name for one in answer.get_response().outputs]
    values = {name: answer.as_numpy(name).tolist() for name in names}
    return {
        name: [one.decode() if isinstance(one, bytes) else one for one in column]
        for name, column in values.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
