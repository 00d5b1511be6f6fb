"""The trained model as the folder that ships: half precision, and nothing that needs a network."""

import json
import pathlib

import torch
from gliner.model import UniEncoderSpanGLiNER
from safetensors.torch import save_file


def export(model: UniEncoderSpanGLiNER, out: pathlib.Path) -> None:
    """Write gliner_config.json, model.safetensors (fp16), tokenizer.json and its config to `out`.

    `GLiNER.from_pretrained` copies the halves into single precision parameters.
    """
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to(torch.float16).contiguous() if value.is_floating_point() else value
        for name, value in model.model.state_dict().items()
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    model.config.to_json_file(out / "gliner_config.json")
    model.data_processor.transformer_tokenizer.save_pretrained(out)
    settings = out / "tokenizer_config.json"
    values = json.loads(settings.read_text(encoding="utf-8"))
    # The class every transformers release can load; "TokenizersBackend" is known to 5 alone.
    values["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
