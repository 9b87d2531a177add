from pathlib import Path

from transformers import AutoTokenizer, BertTokenizerFast

from stages.blip.tokenizer import SPECIAL_TOKENS, decode_captions, encode_captions, train_tokenizer


def test_captions_come_back_as_they_were(tokenizer: BertTokenizerFast, captions: list[str]) -> None:
    encoded = encode_captions(tokenizer, captions, 40)
    assert encoded.truncated == 0
    assert decode_captions(tokenizer, encoded.input_ids) == captions


def test_a_word_never_seen_comes_back_letter_by_letter(tokenizer: BertTokenizerFast) -> None:
    encoded = encode_captions(tokenizer, ["Zebra quay 42", "a red patch"], 40)
    assert decode_captions(tokenizer, encoded.input_ids) == ["zebra quay 42", "a red patch"]


def test_any_text_can_be_encoded(tokenizer: BertTokenizerFast) -> None:
    strange = ["👩🏽‍🚀 & 😀", "Ça vâ? „Ünïcode“ — 日本語", "", "\t\n", "[SEP] [DEC] <b>", "x" * 500]
    encoded = encode_captions(tokenizer, strange, 16)
    assert encoded.input_ids.shape == (6, 16)
    assert int(encoded.input_ids.max()) < len(tokenizer)


def test_long_captions_lose_their_end_but_not_their_separator_and_are_counted(tokenizer: BertTokenizerFast) -> None:
    encoded = encode_captions(tokenizer, ["a red patch on blue " * 9, "a red patch"], 12)
    assert encoded.truncated == 1
    assert encoded.input_ids.shape == (2, 12)
    assert encoded.input_ids[0, -1] == tokenizer.sep_token_id
    assert encoded.attention_mask.sum(1).tolist() == [12, 5]


def test_padding_reaches_to_the_longest_caption_only(tokenizer: BertTokenizerFast) -> None:
    encoded = encode_captions(tokenizer, ["a red patch", "red"], 40)
    assert encoded.input_ids.tolist()[1][3:] == [tokenizer.pad_token_id] * 2
    assert encoded.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]


def test_the_vocabulary_is_capped_and_holds_what_blip_needs(captions: list[str]) -> None:
    tokenizer = train_tokenizer([*captions, *(f"word{i} thing{i * 7}" for i in range(900))], 300, 16)
    assert len(tokenizer) <= 300
    assert [tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    assert tokenizer.bos_token == "[DEC]"


def test_the_same_captions_give_the_same_vocabulary(captions: list[str]) -> None:
    many = [*captions, *(f"{a}{b}r {b}ess{a}" for a in "bcdfglmnp" for b in ("an", "ol", "é", "日"))]  # ties in plenty
    first = train_tokenizer(many, 300, 16).get_vocab()
    assert all(train_tokenizer(many, 300, 16).get_vocab() == first for _ in range(5))


def test_saved_in_hugging_face_layout(tokenizer: BertTokenizerFast, captions: list[str], tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    for kind in (AutoTokenizer, BertTokenizerFast):
        loaded = kind.from_pretrained(tmp_path)
        assert loaded(captions)["input_ids"] == tokenizer(captions)["input_ids"]
        assert (loaded.bos_token_id, loaded.pad_token_id) == (tokenizer.bos_token_id, tokenizer.pad_token_id)
