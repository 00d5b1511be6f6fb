"""A tokenizer cut from the encoder's: fewer pieces, and upper case made visible.

The encoder is uncased, yet case is most of what tells a name from a word. The normalizer puts a
marker piece before every capitalised or upper-case word, so stock GLiNER sees case with no code.
"""

import collections
import json
import pathlib
import string
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

CAPITALISED = "⇧"
UPPER = "⇪"
ENTITY = "<<ENT>>"
SEPARATOR = "<<SEP>>"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SYMBOLS = "€£¥°©®™–—‘’“”…•·×½§"
PIECES = 10_200
"""As many as 25 MB leave room for beside the encoder's layers."""
COMMON = 3_500
"""How many of the encoder's most frequent pieces stay whether or not our rows hold them."""


def normalizer() -> normalizers.Normalizer:
    """Case to marker pieces, then the encoder's own accent stripping and lower-casing.

    The marker is prepended to each word and taken away again unless a capital follows. A word of
    nothing but marks or controls keeps it: without any piece GLiNER, which counts words by their
    pieces, would shift all the words after it.
    """
    sequence: normalizers.Normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(f"{CAPITALISED} "),
            normalizers.BertNormalizer(
                clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=False
            ),
            normalizers.Replace(Regex(rf"^{CAPITALISED} +(?=[^A-Z\s])"), ""),
            normalizers.Replace(Regex(rf"^{CAPITALISED}(?= [A-Z][A-Z])"), UPPER),
            normalizers.Lowercase(),
        ]
    )
    return sequence


def load(encoder: pathlib.Path) -> Tokenizer:
    """The encoder's whole tokenizer with our normalizer, neither cutting nor padding."""
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.normalizer = normalizer()
    return tokenizer


def choose(whole: Tokenizer, texts: Iterable[Sequence[str]], size: int) -> list[str]:
    """The `size` pieces to keep, specials first, then in the encoder's order.

    Every piece of one printable character stays, alone and as a continuation, so that any Latin
    text still encodes; then the encoder's most frequent pieces, then those most seen in `texts`.
    """
    vocabulary = whole.get_vocab()
    ranked = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    counts: collections.Counter[str] = collections.Counter()
    for words in texts:
        counts.update(whole.encode(words, is_pretokenized=True, add_special_tokens=False).tokens)
    alphabet = set(string.ascii_lowercase + string.digits + string.punctuation + SYMBOLS)
    plain = [piece for piece in ranked if piece == "[" or not piece.startswith("[")]
    kept = dict.fromkeys(piece for piece in plain if piece.removeprefix("##") in alphabet)
    # Ids grow with rarity, after some 2,000 places for unused and single-character pieces.
    first = vocabulary["the"]
    kept.update(dict.fromkeys([p for p in plain if vocabulary[p] >= first][:COMMON]))
    for piece in [*(piece for piece, _ in counts.most_common()), *plain]:
        if len(kept) >= size - len(SPECIAL) - 4:
            break
        if piece in vocabulary and piece not in SPECIAL:
            kept.setdefault(piece)
    return [*SPECIAL, *sorted(kept, key=lambda piece: vocabulary[piece])]


def cut(whole: Tokenizer, pieces: Sequence[str], positions: int) -> PreTrainedTokenizerFast:
    """A tokenizer of these pieces, the case markers and GLiNER's two prompt tokens, in order."""
    value = json.loads(whole.to_str())
    vocabulary = {piece: index for index, piece in enumerate([*pieces, CAPITALISED, UPPER])}
    value["model"]["vocab"] = vocabulary
    value["added_tokens"] = [
        {**token, "id": vocabulary[token["content"]]} for token in value["added_tokens"]
    ]
    for token in value["post_processor"]["special_tokens"].values():
        token["ids"] = [vocabulary[name] for name in token["tokens"]]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(value)),
        model_max_length=positions,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    tokenizer.add_tokens([ENTITY, SEPARATOR], special_tokens=True)
    return tokenizer
