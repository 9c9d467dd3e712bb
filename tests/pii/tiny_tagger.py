"""Token-classification models of some kilobytes, made where they are needed: what they say is known, or is random but fixed."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def words_tokenizer(words):
    """One token per known word, lower-cased and without accents; offsets are those of the text as it is."""
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return _wrapped(made)


def bytes_tokenizer():
    """One token per byte: characters of several bytes are several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({t: i for i, t in enumerate([*SPECIAL, *alphabet])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return _wrapped(made)


def _wrapped(made):
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=512,
    )  # fmt: skip


def knowing(tokenizer, labels, of_word, sure=20.0):
    """A model without layers: a token's class is that of its word (`of_word`: word -> label), else `O`."""
    model = BertForTokenClassification(_config(len(tokenizer), labels, layers=0))
    size = model.config.hidden_size
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.LayerNorm.weight.fill_(1)
        for word, token in tokenizer.get_vocab().items():
            number = labels.index(of_word.get(word, "O"))
            model.bert.embeddings.word_embeddings.weight[token, number] = 1
        model.classifier.weight.copy_(torch.eye(len(labels), size) * sure / size**0.5)
    return model


def arbitrary(tokenizer, labels, seed=0):
    """A model of two layers with random weights: every token's answer depends on its window."""
    torch.manual_seed(seed)
    model = BertForTokenClassification(_config(len(tokenizer), labels, layers=2))
    with torch.no_grad():
        model.classifier.weight.mul_(40)
    return model.eval()


def _config(vocabulary, labels, layers):
    return BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=512, id2label=dict(enumerate(labels)), label2id={v: k for k, v in enumerate(labels)},
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip


def save(folder: Path, model, tokenizer) -> str:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
