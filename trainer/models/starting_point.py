"""Where a model's weights come from: an artifact, a directory, the Hugging Face hub, or nothing yet."""

from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self, cast

import torch
from pydantic import Field, model_validator
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)

from trainer.artifacts import ArtifactStore, check_weight_files, names_directory
from trainer.data.product_world import make_tokenizer
from trainer.data.text import ChatFormat
from trainer.errors import BrokenArtifact, InvalidInput, NotFound
from trainer.hub import cached_file, fetch_model, names_hub_model, pin_model
from trainer.manifest import Artifact
from trainer.models.known import known_config
from trainer.models.lora import LoRA, add_adapters
from trainer.models.policy import Policy
from trainer.models.reward_model import Reads, RewardModel
from trainer.models.reward_network import Architecture, Pooling
from trainer.models.scratch import Scratch, scratch_encoder, scratch_policy
from trainer.outside import ModelPath
from trainer.pins import settle_versions
from trainer.recipe import Model, Run

__all__ = ["BackboneOrigin", "ComputeType", "PolicyOrigin", "Scratch", "TrainedPolicy"]

ComputeType = Annotated[
    Literal["float32", "bfloat16"],
    Field(
        description="What training computes in. The weights stay float32, for bfloat16 would round away 99.9 % of the"
        " changes at a rate of 5e-7: bfloat16 is mixed precision."
    ),
]


class _Origin(Model):
    """Exactly one of a path and a shape."""

    path: ModelPath | None = None
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
        found = self._find(store)
        if isinstance(found, Artifact):
            found.verify()
            return found.path, found
        directory = found or self._fetch()
        check_weight_files(directory)
        return directory, None

    def shape(self, store: ArtifactStore) -> PretrainedConfig | None:
        """The network's configuration, read without its weights; None for a hub model unknown to this machine.

        Raises as ``locate`` for anything else that is not there.
        """
        found = self._find(store)
        if found is None:
            assert self.path is not None
            cached = cached_file(self.path, "config.json", self.revision)
            if cached is None:
                return known_config(self.path)
            found = cached.parent
        directory = found.directory_with("config.json") if isinstance(found, Artifact) else found
        try:
            return cast(
                PretrainedConfig, AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
            )
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{directory} has no readable config.json; give a model's directory") from error

    def _find(self, store: ArtifactStore) -> Artifact | Path | None:
        """The artifact or the directory; None where it can only be a hub model."""
        assert self.path is not None
        if names_directory(self.path):
            directory = Path(self.path).expanduser()
            if not directory.is_dir():
                raise NotFound(f"no such model directory: {self.path}")
            return directory
        try:
            return store.open(self.path)
        except (InvalidInput, NotFound):
            if not names_hub_model(self.path):
                raise
        return None

    def _fetch(self) -> Path:
        assert self.path is not None
        try:
            return fetch_model(self.path, self.revision)
        except NotFound as error:
            raise NotFound(f"no artifact {self.path}, and {error.detail}") from error


class PolicyOrigin(_Origin):
    """The policy to start from."""

    def shape(self, store: ArtifactStore) -> PretrainedConfig | None:
        return super().shape(store) if self.scratch is None else self.scratch.policy_config()

    def reading(self, store: ArtifactStore) -> tuple[ChatFormat, int]:
        """How a trained policy reads prompts, and its window in tokens, without its weights. Raises as ``locate``."""
        found = self._find(store)
        directory = found.path if isinstance(found, Artifact) else found or self._fetch()
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        return ChatFormat(tokenizer), int(config.max_position_embeddings)

    def open(
        self, store: ArtifactStore, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Policy, Artifact | None]:
        """The policy, in ``dtype``, and the artifact it was, if it was one."""
        if self.scratch is not None:
            return scratch_policy(self.scratch, seed), None
        path, artifact = self.locate(store)
        return Policy.load(path, dtype=dtype), artifact

    def _find(self, store: ArtifactStore) -> Artifact | Path | None:
        found = super()._find(store)
        if isinstance(found, Artifact) and found.manifest.kind != "policy":
            raise InvalidInput(f"{found.reference} is a {found.manifest.kind}, not a policy", pointer="/policy/path")
        return found


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
    reads: Reads = "pair"
    """``prompt`` or ``response``: that alone, which makes a control. What it tells apart takes no comparison of the
    two; of preferential prompts, whose response is shared, a reader of responses tells nothing. For encoders."""
    max_tokens: int | None = Field(None, ge=8)
    dtype: ComputeType = "float32"

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trained network multiplies in."""
        return getattr(torch, self.dtype)  # type: ignore[no-any-return]

    @model_validator(mode="after")
    def _what_an_encoder_reads(self) -> Self:
        if self.match_features and (self.scratch is None or self.architecture != "encoder"):
            raise ValueError("match_features needs an encoder from scratch: a trained one has other token types")
        if self.reads != "pair" and (self.match_features or self.architecture != "encoder"):
            raise ValueError(f"reads {self.reads} needs an encoder without match_features: there is nothing to match")
        return self

    def shape(self, store: ArtifactStore) -> PretrainedConfig | None:
        config = super().shape(store) if self.scratch is None else self.scratch.encoder_config(self.match_features)
        if config is not None:
            config.num_labels = 1
        return config

    def open(self, store: ArtifactStore, seed: int) -> tuple[RewardModel, Artifact | None]:
        """The reward model, with a fresh head where there was none with one score, and the artifact its backbone was.

        Raises BrokenArtifact for a backbone that lacks weights.
        """
        artifact: Artifact | None = None
        torch.manual_seed(seed)
        if self.scratch is not None:
            if self.architecture == "decoder":
                raise InvalidInput("a decoder reward model starts from a policy: give backbone.path")
            model, tokenizer = scratch_encoder(self.scratch, self.match_features), make_tokenizer(self.scratch.world)
        else:
            path, artifact = self.locate(store)
            model = _with_one_score(path)
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        reward_model = RewardModel(
            model,
            tokenizer,
            architecture=self.architecture,
            pooling=self.pooling or ("cls" if self.architecture == "encoder" else "last_token"),
            match_features=self.match_features,
            reads=self.reads,
            max_tokens=self.max_tokens,
        )
        return reward_model, artifact


def _with_one_score(path: Path) -> PreTrainedModel:
    """The network in ``path``; seed torch before. A classifier's head for several labels gives way to a fresh one."""
    model, info = AutoModelForSequenceClassification.from_pretrained(
        path,
        num_labels=1,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    fresh = {*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])}
    backbone = f"{model.base_model_prefix}."
    # models of masked words come without a pooler, which belongs to the head
    if lacking := sorted(name for name in fresh if name.startswith(backbone) and ".pooler." not in name):
        raise BrokenArtifact(f"{path}: its weights lack {lacking[0]} as its config.json has it; fetch the model again")
    return cast(PreTrainedModel, model)
