"""Where a model's weights come from: an artifact, a directory, the Hugging Face hub, or nothing yet."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from trainer.artifacts import Artifact, ArtifactStore, names_directory, refuse_pickled_weights
from trainer.data.product_world import make_tokenizer
from trainer.errors import InvalidInput, NotFound
from trainer.hub import fetch_model, names_hub_model, pin_model
from trainer.models.lora import LoRA, add_adapters
from trainer.models.match_features import TYPE_VOCABULARY
from trainer.models.policy import Policy
from trainer.models.reward_model import Architecture, Pooling, RewardModel
from trainer.pins import settle_versions
from trainer.recipe import Model, Run

ComputeType = Annotated[
    Literal["float32", "bfloat16"],
    Field(
        description="What training computes in. The weights stay float32, for bfloat16 would round away 99.9 % of the"
        " changes at a rate of 5e-7: bfloat16 is mixed precision."
    ),
]


class Scratch(Model):
    """The shape of a network to be trained from random weights on the product-description world's vocabulary."""

    hidden_size: int = Field(96, ge=8)
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    max_tokens: int = Field(128, ge=8)

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} cannot be shared out evenly among {self.heads} heads")
        return self


class _Origin(Model):
    """Exactly one of a path and a shape."""

    path: str | None = None
    """An artifact NAME or NAME@VERSION, a directory (beginning with ``.``, ``/`` or ``~``), or, where no artifact has
    that name, a model OWNER/NAME on the Hugging Face hub: safetensors only, and none of its code is run."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; null: its main branch. A run keeps the commit it began with."""
    scratch: Scratch | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.scratch is None):
            raise ValueError("give either path or scratch")
        if self.revision is not None and (self.path is None or not names_hub_model(self.path)):
            raise ValueError("only a model on the Hugging Face hub, OWNER/NAME, has a revision")
        return self

    def settled(self, run: Run) -> Self:
        """The same with the version its name meant when the run first started. Raises as ``settle_versions``."""
        if self.path is None:
            return self
        pin = partial(pin_model, revision=self.revision) if names_hub_model(self.path) else None
        versions = settle_versions([self.path], run.artifacts, run.directory, elsewhere=pin)
        return self.model_copy(update={"path": versions[self.path]})

    def locate(self, store: ArtifactStore) -> tuple[Path, Artifact | None]:
        """The directory to load from, downloaded if need be, and, if it is one, the artifact.

        Raises NotFound or BrokenArtifact.
        """
        assert self.path is not None
        if names_directory(self.path):
            directory = Path(self.path).expanduser()
            if not directory.is_dir():
                raise NotFound(f"no such model directory: {self.path}")
            refuse_pickled_weights(directory)
            return directory, None
        try:
            artifact = store.open(self.path)
        except (InvalidInput, NotFound):
            if not names_hub_model(self.path):
                raise
            return self._fetch(self.path), None
        artifact.verify()
        return artifact.path, artifact

    def _fetch(self, path: str) -> Path:
        try:
            directory = fetch_model(path, self.revision)
        except NotFound as error:
            raise NotFound(f"no artifact {path}, and {error.detail}") from error
        refuse_pickled_weights(directory)
        return directory


class PolicyOrigin(_Origin):
    """The policy to start from."""

    def open(
        self, store: ArtifactStore, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Policy, Artifact | None]:
        """The policy, in ``dtype``, and the artifact it was, if it was one."""
        if self.scratch is not None:
            return _scratch_policy(self.scratch, seed), None
        path, artifact = self.locate(store)
        if artifact is not None and artifact.manifest.kind != "policy":
            raise InvalidInput(
                f"{artifact.reference} is a {artifact.manifest.kind}, not a policy", pointer="/policy/path"
            )
        return Policy.load(path, dtype=dtype), artifact


class TrainedPolicy(PolicyOrigin):
    """The policy whose weights a recipe moves."""

    dtype: ComputeType = "float32"
    lora: LoRA | None = None
    """Adapters in place of all weights."""

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trained network multiplies in."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    def open(
        self, store: ArtifactStore, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Policy, Artifact | None]:
        """The policy, with adapters where asked for, and the artifact it was, if it was one."""
        policy, artifact = super().open(store, seed, dtype)
        if self.lora is not None:
            add_adapters(policy.model, self.lora, seed)
        return policy, artifact


class BackboneOrigin(_Origin):
    """The network a reward model is made of."""

    architecture: Architecture = "encoder"
    pooling: Pooling | None = None
    """None: ``cls`` for encoders, ``last_token`` for decoders."""
    match_features: bool = False
    """Tell each token where it reappears on the other side; for encoders trained from scratch."""
    max_tokens: int | None = Field(None, ge=8)
    dtype: ComputeType = "float32"

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trained network multiplies in."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    @model_validator(mode="after")
    def _features_need_scratch(self) -> Self:
        if self.match_features and (self.scratch is None or self.architecture != "encoder"):
            raise ValueError("match_features needs an encoder from scratch: a trained one has other token types")
        return self

    def open(self, store: ArtifactStore, seed: int) -> tuple[RewardModel, Artifact | None]:
        """The reward model with a fresh head, and the artifact its backbone was, if it was one."""
        artifact: Artifact | None = None
        torch.manual_seed(seed)
        if self.scratch is not None:
            if self.architecture == "decoder":
                raise InvalidInput("a decoder reward model starts from a policy: give backbone.path")
            model, tokenizer = _scratch_encoder(self.scratch, self.match_features), make_tokenizer()
        else:
            path, artifact = self.locate(store)
            model = AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=1, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        reward_model = RewardModel(
            model,
            tokenizer,
            architecture=self.architecture,
            pooling=self.pooling or ("cls" if self.architecture == "encoder" else "last_token"),
            match_features=self.match_features,
            max_tokens=self.max_tokens,
        )
        return reward_model, artifact


def _scratch_policy(shape: Scratch, seed: int) -> Policy:
    tokenizer = make_tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=4 * shape.hidden_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.max_tokens,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    _initialise(model, seed)
    return Policy(model, tokenizer)


def _scratch_encoder(shape: Scratch, match_features: bool) -> BertForSequenceClassification:
    tokenizer = make_tokenizer()
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=4 * shape.hidden_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.max_tokens,
            type_vocab_size=TYPE_VOCABULARY if match_features else 2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=1,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _initialise(model: PreTrainedModel, seed: int) -> None:
    """Unit-scale embeddings and Xavier matrices, instead of 0.02 everywhere.

    Small networks spend their first hundreds of steps growing out of a tiny initialisation; from here a policy of
    this world copies values from its prompt after 200 steps, where before it had not after 700.
    """
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "embed" in name:
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif weight.dim() > 1:
            nn.init.xavier_uniform_(weight)
