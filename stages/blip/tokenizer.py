"""WordPiece tokens of captions: learned from the train captions, or a checkpoint's own."""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import BertTokenizerFast

_SPACE_BEFORE = re.compile(r" ([.,:;!?)\]])")
# [DEC] opens a caption that is to be generated, [ENC] is kept for checkpoints that use it (arXiv:2201.12086, fig. 2).
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")


class EncodedCaptions(NamedTuple):
    """Captions as tokens, padded to the longest of them."""

    input_ids: Tensor  # (B,L) int64
    attention_mask: Tensor  # (B,L) int64, 1 = token, 0 = padding
    truncated: int  # captions that were longer than allowed


def train_tokenizer(captions: Iterable[str], vocab_size: int, max_tokens: int) -> BertTokenizerFast:
    """Learns a lower-casing WordPiece vocabulary of at most `vocab_size` tokens from captions.

    Every ASCII word can be written with it, letter by letter if need be; characters of other scripts that never
    occurred become [UNK]. The same captions give the same vocabulary.
    """
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    captions = [learner.normalizer.normalize_str(caption) for caption in captions]
    common = Counter(character for caption in captions for character in caption if not character.isspace())
    letters = [character for character, _ in sorted(common.items(), key=lambda item: (-item[1], item[0]))]
    ascii_letters = string.punctuation + string.digits + string.ascii_lowercase
    letters = list(dict.fromkeys([*ascii_letters, *letters]))[: (vocab_size - len(SPECIAL_TOKENS)) // 3]
    # The trainer numbers the pieces inside words in the order of a hash table, and breaks ties by number; given all of
    # them in advance, it finds the same vocabulary every time.
    given = [*SPECIAL_TOKENS, *letters, *(f"##{character}" for character in letters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=given, limit_alphabet=len(letters), show_progress=False
    )
    learner.train_from_iterator(captions, trainer)
    vocabulary = learner.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: (vocabulary[token], token))
    return BertTokenizerFast(
        vocab={token: index for index, token in enumerate(tokens)},
        do_lower_case=True,
        bos_token="[DEC]",
        additional_special_tokens=["[ENC]"],
        model_max_length=max_tokens,
    )


def encode_captions(tokenizer: BertTokenizerFast, captions: Sequence[str], max_tokens: int) -> EncodedCaptions:
    """Turns captions into tokens [CLS] ... [SEP], at most `max_tokens` of them, padded to the longest caption.

    A longer caption loses its end (not its [SEP]) and is counted in `truncated`.
    """
    if not captions:
        empty = torch.zeros((0, 2), dtype=torch.int64)
        return EncodedCaptions(empty, empty, 0)
    rows = tokenizer(list(captions), truncation=False, padding=False, verbose=False)["input_ids"]
    truncated = sum(len(row) > max_tokens for row in rows)
    rows = [row if len(row) <= max_tokens else [*row[: max_tokens - 1], tokenizer.sep_token_id] for row in rows]
    length = max(len(row) for row in rows)
    input_ids = torch.full((len(rows), length), int(tokenizer.pad_token_id), dtype=torch.int64)
    attention_mask = torch.zeros_like(input_ids)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row)
        attention_mask[index, : len(row)] = 1
    return EncodedCaptions(input_ids, attention_mask, truncated)


def decode_captions(tokenizer: BertTokenizerFast, tokens: Tensor) -> list[str]:
    """Turns tokens (B,L) int64 back into captions, special tokens left out, spaces before punctuation removed."""
    decoded = tokenizer.batch_decode(tokens.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [_SPACE_BEFORE.sub(r"\1", caption).strip() for caption in decoded]
