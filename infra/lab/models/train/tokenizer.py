"""Learns the byte-level vocabulary that all five models share. Usage: tokenizer.py OUT.json FILE.jsonl…"""

import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 1536


def texts(paths):
    for path in paths:
        with open(path) as lines:
            for line in lines:
                lesson = json.loads(line)
                for message in lesson["messages"]:
                    if message["role"] != "system":
                        yield message["content"]
                yield lesson["reply"]


tok = Tokenizer(models.BPE())
tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
tok.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
)
tok.train_from_iterator(texts(sys.argv[2:]), trainer)
tok.save(sys.argv[1])
