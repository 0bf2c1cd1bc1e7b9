"""Learns the byte-level vocabulary that all five models share. Usage: tokenizer.py SIZE OUT.json FILE.json, the last a list of texts."""

import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
size, out, source = sys.argv[1:]
with open(source) as file:
    texts = json.load(file)

tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
tok.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=int(size), special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
)
tok.train_from_iterator(texts, trainer)
tok.save(out)
