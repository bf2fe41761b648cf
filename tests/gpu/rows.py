"""Small checkpoints and rows of tasks, in the formats of the real ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tests.gpu.tiny import WORDS

NOT = ("", "never ")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Short sentences, every other one with the word "never"."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        who, does, what = (draw.choice(words) for words in WORDS.values())
        found.append(f"{number} {who} {NOT[number % 2]}{does} {what}.")
    return found


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Rows as .jsonl, as .json (a list) or as .parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(list(rows)).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(list(rows)), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tokenizer(folder: Path, roberta: bool, vocabulary: int = 400) -> Path:
    """A byte-level BPE of the sentences, and of an answer: RoBERTa's template, or none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["<|endoftext|>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        [*sentences(200), *["the correct answer is true"] * 40],
        trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    if roberta:
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def roberta(folder: Path) -> Path:
    """A RoBERTa of two layers, with its tokenizer, as ``save_pretrained`` writes it."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    tokenizer(folder, roberta=True)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=400, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, **shape)
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    """A LLaMA of two layers, with its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer(folder, roberta=False)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=400, max_position_embeddings=256, bos_token_id=0, eos_token_id=0, **shape)
    ).save_pretrained(folder)
    return folder
