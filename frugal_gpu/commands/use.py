"""frugal-gpu export, evaluate and generate: what can be done with a model that is trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from frugal_theory.commands.options import path_given
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable

__all__ = ["evaluate", "export", "generate"]

TEMPERATURES = (1e-6, 1e6)
"""Logits are divided by no less than leaves them finite, and by no more than leaves a trace of the model."""

RunOrCheckpoint = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run such as runs/NAME, or a checkpoint such as runs/NAME/training/checkpoints/best."),
]


def export(
    run: RunOrCheckpoint,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_given, help="A folder that does not exist yet.")],
) -> None:
    """Write a trained model as transformers reads it: config.json, model.safetensors, the tokenizer."""
    from frugal_gpu.train.trained import export as write
    from frugal_gpu.train.trained import load_trained

    trained = load_trained(run)
    write(trained, out)
    kind = "SequenceClassification" if trained.has_labels else "CausalLM"
    print(printable(f'{trained.checkpoint.name} in {out}: AutoModelFor{kind}.from_pretrained("{out}")'))


def evaluate(
    run: RunOrCheckpoint,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Another text: what data.source may be. All of it is read.")
    ] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="At most about so many tokens.")] = None,
) -> None:
    """Loss and perplexity of a trained model on its run's validation text, or on another one; every token weighs the same. Of a
    model that was fine-tuned on a task, that task's metrics on its validation rows, or on those of a file or folder.
    """
    from frugal_gpu.train.judge import judge, judge_task
    from frugal_gpu.train.trained import load_trained

    trained = load_trained(run)
    if (task := trained.experiment.data.task) is not None:
        if tokens is not None:
            raise ExperimentError(f"--tokens: is of text; {run} is of the task {task}, and all its rows are read")
        found, rows = judge_task(trained, data)
        shown = ", ".join(f"{name} {value:.6f}" for name, value in found.items())
        where = "its validation rows" if data is None else data
        print(f"{trained.checkpoint.name} on {where}, {task}: {shown}, {rows:,} rows")
        return
    loss, count = judge(trained, data, tokens)
    where = "its validation text" if data is None else data
    perplexity = f"{math.exp(loss):.3f}" if loss < 700 else "inf"
    print(f"{trained.checkpoint.name} on {where}: loss {loss:.6f} nats a token, perplexity {perplexity}, {count:,} tokens")


def generate(
    run: RunOrCheckpoint,
    prompt: Annotated[str, typer.Option("--prompt", help="What the text begins with.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="How many tokens to add, at most.")] = 64,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0: the likeliest token each time.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the draws.")] = 0,
) -> None:
    """Continue a text by a trained model."""
    if temperature != 0 and not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        raise ExperimentError(
            f"--temperature {temperature:g}: 0 is allowed, for the likeliest token, or "
            f"{TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}"
        )
    import torch
    from tokenizers import Tokenizer

    from frugal_gpu.model.pretrained import longest_input
    from frugal_gpu.train.trained import load_trained

    trained = load_trained(run)
    if trained.has_labels:
        raise ExperimentError(f"{run}: its model has a head for labels ({trained.experiment.data.task}), and writes no text")
    tokenizer = Tokenizer.from_file(str(trained.tokenizer))
    model: Any = trained.model
    end = trained.separator
    ids = [end, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    longest = longest_input(model.config)
    room = tokens if longest is None else longest - len(ids)
    if room < 1:
        raise ExperimentError(f"--prompt: has {len(ids) - 1} tokens; the model takes at most {len(ids) + room - 2}")
    torch.manual_seed(seed)
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    inputs = torch.tensor([ids])
    found = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=min(tokens, room),
        eos_token_id=end,
        pad_token_id=end,
        use_cache=True,
        **drawn,
    )
    print(tokenizer.decode(found[0, 1:].tolist(), skip_special_tokens=True))
