"""A LoRA training run: its recipe, its steps, its checkpoints; transformers' Trainer drives it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from iterreason.errors import Misuse, ModelFailed
from iterreason.tuning.instruct_check import leak_faults, read_triples, refuse
from iterreason.tuning.lora import Opened, Precision, check_rank, open_model, save_adapter, save_merged
from iterreason.tuning.reasoner_examples import Reader, conversations, steps_of
from iterreason.tuning.reasoner_loss import Losses
from iterreason.tuning.training_log import TrainingLog, draw_curve
from iterreason.tuning.training_watch import ShouldStop, Watch, asked_to_stop

_AT_ONCE = 64  # validation examples, so that what they share is read once
_UNHASHED = ("data", "validation", "save_every", "threads")  # what --resume may name otherwise


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the adapter; see `train_reasoner` for each.

    steps: None for `epochs` times through the data. batch: conversations a step. even: each response weighs the same.
    """

    model: str
    data: Path
    validation: Path | None = None
    rank: int = 16
    any_rank: bool = False
    epochs: int = 1
    steps: int | None = None
    batch: int = 16
    even: bool = False
    rate: float = 2e-4
    seed: int = 0
    most_tokens: int = 4096
    precision: Precision = "auto"
    threads: int = 1
    save_every: int = 50

    def check(self) -> None:
        """Raise Misuse where a number is out of bounds."""
        check_rank(self.rank, self.any_rank)
        for name in ("epochs", "steps", "batch", "threads", "save_every", "most_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise Misuse(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        if not 0 < self.rate < 1:
            raise Misuse(f"--rate must lie between 0 and 1, not {self.rate}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training needs, all checked: examples, and the numbers of those of each step."""

    opened: Opened
    losses: Losses
    examples: Sequence[Any]
    steps: list[list[int]]
    validation: Sequence[Any]
    data_hash: str

    def validation_loss(self) -> float:
        """The mean loss over the validation set's responses."""
        self.opened.model.eval()
        some = [self.validation[n : n + _AT_ONCE] for n in range(0, len(self.validation), _AT_ONCE)]
        parts = [self.losses.step(examples, train=False) for examples in some]
        return sum(part.loss * part.weight for part in parts) / sum(part.weight for part in parts)


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    minutes: float | None = None,
    merge: bool = False,
    should_stop: ShouldStop = lambda step: False,
) -> bool:
    """Train an adapter into `out`; gives whether the last step was reached.

    merge: also write the model with the adapter worked in. should_stop: asked after each step; a stop leaves a
    checkpoint. Raises BadData with every fault of the data before any training, Misuse where `out` holds another
    training, ModelFailed.
    """
    recipe.check()
    torch.set_num_threads(recipe.threads)
    prepared = _prepare(recipe)
    checkpoint = _checkpoint(recipe, prepared, out, resume)
    step = int(checkpoint.rpartition("-")[2]) if checkpoint else 0
    log = TrainingLog(out / "log.jsonl", step)
    with asked_to_stop() as told:
        watch = Watch(
            log,
            prepared.validation_loss if prepared.validation else None,
            lambda number: bool(told) or should_stop(number),
            minutes=minutes,
            every=recipe.save_every,
        )
        trainer = _StepTrainer(prepared, _arguments(recipe, out, len(prepared.steps)), watch)
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=checkpoint)
    finished: bool = trainer.state.global_step >= len(prepared.steps)
    draw_curve(log.lines, out / "loss.svg")
    if finished:
        size = save_adapter(prepared.opened.model, out / "adapter")
        print(f"wrote {out / 'adapter'} ({size / 1e6:.1f} MB) after {log.seconds:,.0f} s", file=sys.stderr)
        if merge:
            save_merged(prepared.opened, out / "merged")
    return finished


# ------------------------------------------------------------------ before the first step


def _prepare(recipe: Recipe) -> Prepared:
    placed = read_triples(recipe.data)
    held = read_triples(recipe.validation) if recipe.validation else ()
    refuse(leak_faults(placed, held), "training and validation are not apart")
    set_seed(recipe.seed)
    opened = open_model(recipe.model, recipe.rank, recipe.precision)
    known = getattr(opened.model.config.get_text_config(), "max_position_embeddings", None)
    reader = Reader(
        opened.tokenizer, opened.processor, most_tokens=min(recipe.most_tokens, known or recipe.most_tokens)
    )
    examples, validation = reader.examples(placed), reader.examples(held)
    groups = conversations(placed)
    count = recipe.steps or recipe.epochs * -(-len(groups) // recipe.batch)
    steps = steps_of(groups, recipe.batch, count, recipe.seed)
    total = sha256(json.dumps([asdict(p.triple) for p in placed]).encode()).hexdigest()
    return Prepared(opened, Losses(opened.model, reader, even=recipe.even), examples, steps, validation, total)


def _checkpoint(recipe: Recipe, prepared: Prepared, out: Path, resume: bool) -> str | None:
    """Where to go on from; None for a new training, whose recipe is then written."""
    values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(recipe).items()}
    now = {
        **values,
        "data_hash": prepared.data_hash,
        "triples": len(prepared.examples),
        "of_steps": len(prepared.steps),
    }
    path = out / "recipe.json"
    if not resume:
        if path.exists():
            raise Misuse(f"{out} holds a training already; go on with --resume, or name another folder")
        try:
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise Misuse(f"cannot write into {out}: {error.strerror}; name another folder") from None
        return None
    try:
        former = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"{out} holds no training to go on with ({error}); drop --resume") from None
    for key, value in now.items():
        if key not in _UNHASHED and former.get(key) != value:
            raise Misuse(
                f"{out} was begun with {key} = {former.get(key)}, not {value}; drop --resume and name a new --out"
            )
    return _last_checkpoint(out / "checkpoints")


def _last_checkpoint(folder: Path) -> str | None:
    """The last checkpoint that is whole: its state is written last, so that a kill in mid-write leaves none."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None


def _arguments(recipe: Recipe, out: Path, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=1,  # a step's examples make one item
        learning_rate=recipe.rate,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 20,
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=recipe.seed,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=2,
        logging_strategy="no",  # `Watch` keeps the log
        report_to="none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        disable_tqdm=not sys.stderr.isatty(),
        use_cpu=not torch.cuda.is_available(),
    )


# ------------------------------------------------------------------ the steps


class _Steps(Dataset[dict[str, int]]):
    """The numbers of the steps; the examples of one are looked up when its turn comes."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, int]:
        return {"number": number}


class _StepTrainer(Trainer):  # type: ignore[misc]  # transformers' types are not followed
    """transformers' Trainer, whose step is ours: all examples of a step, their shared tokens read once."""

    def __init__(self, prepared: Prepared, arguments: TrainingArguments, watch: Watch) -> None:
        if arguments.n_gpu > 1:
            raise Misuse(f"{arguments.n_gpu} GPUs are visible; one is used: set CUDA_VISIBLE_DEVICES to it")
        self._prepared, self._watch = prepared, watch
        super().__init__(
            model=prepared.opened.model,
            args=arguments,
            train_dataset=_Steps(len(prepared.steps)),
            data_collator=lambda items: items[0],
            callbacks=[watch],
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.train_dataset)  # the order was drawn with the steps

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """The gradient of a step's mean loss over all its responses."""
        model.train()
        examples = [self._prepared.examples[n] for n in self._prepared.steps[int(inputs["number"])]]
        read = self._prepared.losses.step(examples, train=True)
        if not math.isfinite(read.loss):
            raise ModelFailed(f"the loss became {read.loss}; take a lower --rate, or --precision float32")
        self._watch.now = {
            "loss": read.loss,
            "trained_tokens": read.trained_tokens,
            "read_tokens": read.read_tokens,
        }
        return torch.tensor(read.loss, device=self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0
