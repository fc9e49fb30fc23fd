"""GAPO (arXiv 2503.20194): a policy and an encoder-only reward model trained against each other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from trainer.artifacts import ArtifactStore
from trainer.checkpoints import Checkpoints
from trainer.data.product_world.reading import read_prompt
from trainer.data.rows import Preference
from trainer.data.text import as_text
from trainer.errors import InvalidInput
from trainer.loop import BatchSettings, CheckpointSettings
from trainer.manifest import Artifact
from trainer.models.loading import load_pair_model
from trainer.models.quantised import is_quantised, original_of
from trainer.models.reward_model import RewardModel
from trainer.models.starting_point import BackboneOrigin
from trainer.outside import RegisteredScorer
from trainer.pins import settle_versions
from trainer.recipe import DataPart, Model, Run
from trainer.recipes.adversarial_batches import AdversarialBatches, GeneratedLabel, OracleLabel, ZeroLabel, counts
from trainer.recipes.adversarial_game import AdversarialGame, Pace, RewardFrom
from trainer.recipes.encoding import EncodedPreference, encode_preferences, training_device
from trainer.recipes.live_reward_model import LiveRewardModel, LiveSettings
from trainer.recipes.played_reward_models import PlayedRewardModels
from trainer.recipes.playing import play_rounds
from trainer.recipes.preferential_data import Augmentation, check_contrast, contrasting, refuse_cut
from trainer.recipes.publishing import summary
from trainer.recipes.reading import count_disagreements, read_preferences
from trainer.recipes.reward_model import RewardModelRecipe
from trainer.recipes.rounds import Judges, PromptRounds, RoundsRecipe
from trainer.rollouts import encode_prompts
from trainer.schedule import OptimizerSettings

_WARM_UP = "warm_up"


class WarmUp(Model):
    """Phase 1: pointwise training of the reward model on accepted and rejected rows."""

    backbone: BackboneOrigin
    """An encoder (the paper) or, for comparison, a decoder."""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=1e-5)
    batch: BatchSettings = BatchSettings(size=8)
    epochs: float = Field(2.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    checkpoint: CheckpointSettings = CheckpointSettings()


class Adversary(LiveSettings):
    """The reward model: warmed up before and published, or here."""

    path: RegisteredScorer | None = None
    """NAME[@VERSION] of a reward model trained with ``loss: bce``."""
    warm_up: WarmUp | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.path is None) == (self.warm_up is None):
            raise ValueError("give either path, of a reward model that is warmed up, or warm_up")
        return self


class GAPO(RoundsRecipe):
    """Rounds of reward-model steps and PPO passes.

    Publishes the policy; as ``NAME/reward_model`` the anchor, the reward model as it was before the rounds; and as
    ``NAME/live_reward_model`` what became of it.
    """

    kind: Literal["gapo"]
    reward_model: Adversary
    augmentation: Augmentation = "preferential_prompt"
    """What accepted and rejected rows differ in; sets ``data.contrast`` of the product world."""
    reward_model_steps: int = Field(1, ge=0)
    """In each round, on fresh generations; 0 freezes the reward model, which makes it PPO."""
    policy_steps: int = Field(1, ge=1)
    """PPO passes in each round; the first takes the very responses that the reward model was shown."""
    generated_label: GeneratedLabel = ZeroLabel()
    """What the reward model is told of generations."""
    generated_share: float = Field(0.25, ge=0, le=1)
    """Of its batches; 0 trains it on with the data alone."""
    replay: int | None = Field(None, ge=1)
    """Generations it draws from, the newest, of whatever round; null: this round's."""
    reward_from: RewardFrom = "live"
    """Whose score pays the policy; ``min``: the lesser of the live model's and the anchor's."""
    publish_every_rounds: int | None = Field(None, ge=1)
    """Publish the live reward model on the way too, each time as a version of its name; null: at the end only."""

    @model_validator(mode="before")
    @classmethod
    def _verify_is_of_the_data(cls, content: Any) -> Any:  # noqa: ANN401 - pydantic passes whatever was sent
        """Recipes stored before there was ``data.verify`` have it here."""
        if not isinstance(content, dict) or not isinstance(content.get("data"), dict) or "verify" not in content:
            return content
        rest = {name: value for name, value in content.items() if name != "verify"}
        return {**rest, "data": {**content["data"], "verify": content["verify"]}}

    def run(self, run: Run) -> dict[str, Any]:
        self.check_one_process()
        settings = self.reward_model
        mix = counts(settings.batch.size, settings.accepted_share, self.generated_share)
        data = contrasting(self.data, self.augmentation)
        rows, held_out = read_preferences(data, run)
        for place, each in ((data.place, rows), (f"{data.place} (held out)", held_out)):
            check_contrast(each, self.augmentation, place)
        accepted = [row.sides[0] for row in rows]
        if isinstance(self.generated_label, OracleLabel):
            for pair in accepted:  # it must judge what answers them
                read_prompt(as_text(pair.prompt))
        warm = self._warm_up(run)
        if warm.manifest.details.get("loss") != "bce":
            run.reporter.message(
                f"{warm.reference} was not trained with loss bce: its scores have no zero of their own, which the"
                " labels of the adversarial rounds will give them"
            )
        anchor, model = self._load(warm, run.artifacts), self._load(warm, run.artifacts)
        encoded = self._encode(model, rows, run)
        passes = self.rounds * self.policy_steps
        learner, origin = self.open_learner(rows, passes, run)
        prompts = PromptRounds(learner.policy, [pair.prompt for pair in accepted], self.ppo, self.seed)
        unseen = [row.sides[0].prompt for row in held_out[: self.evaluation.prompts]]
        measured = encode_prompts(learner.policy, unseen, self.ppo.max_response_tokens)
        judges = Judges(self.data)
        steps = self.rounds * self.reward_model_steps
        published = PlayedRewardModels(
            self, warm, anchor, model, rows, self._encode(model, held_out, run, "held_out") if held_out else [], run
        )
        game = AdversarialGame(
            learner,
            LiveRewardModel(model, settings, max(steps, 1)),
            anchor,
            AdversarialBatches(encoded, mix, self.seed),
            prompts=prompts,
            held_out=measured,
            judges=judges,
            pace=Pace(
                self.reward_model_steps,
                self.policy_steps,
                self.ppo.value.warmup_rounds,
                self.replay,
            ),
            label=self.generated_label,
            reward_from=self.reward_from,
            publish=lambda done: published.on_the_way(done, self.publish_every_rounds),
        )
        played = play_rounds(game, self, run)
        metrics = count_disagreements(self.data, rows) | played.metrics
        final = learner.sample(measured, passes) if measured else []
        artifacts = published.at_the_end(played, final, judges)
        artifacts["policy"] = self.publish_policy(
            learner,
            origin,
            prompts,
            final,
            rows,
            metrics,
            played.facts,
            [artifacts["live_reward_model"].as_parent("reward_model"), artifacts["reward_model"].as_parent("anchor")],
            run,
        )
        return summary(artifacts, metrics, played.rounds) | {"stopped_early": played.reason}

    def _warm_up(self, run: Run) -> Artifact:
        """The reward model to begin with: the published one, or one trained here, once, as ``NAME/warm_up``."""
        settings = self.reward_model
        if settings.path is not None:
            return run.artifacts.open(settle_versions([settings.path], run.artifacts, run.directory)[settings.path])
        assert settings.warm_up is not None
        name = f"{self.name}/{_WARM_UP}"
        for artifact in run.artifacts.versions(name):
            if artifact.manifest.job == run.id:
                return artifact
        warm_up = settings.warm_up
        recipe = RewardModelRecipe(
            kind="reward_model",
            name=name,
            seed=self.seed,
            launch=self.launch,
            data=contrasting(self.data, self.augmentation).model_copy(update={"verify": None}),  # said already
            backbone=warm_up.backbone,
            loss="bce",
            optimizer=warm_up.optimizer,
            batch=warm_up.batch,
            epochs=warm_up.epochs,
            max_steps=warm_up.max_steps,
            checkpoint=warm_up.checkpoint,
        )
        directory = run.directory / _WARM_UP
        directory.mkdir(exist_ok=True)
        with run.reporter.part(_WARM_UP):
            made = recipe.run(replace(run, directory=directory))
        Checkpoints(directory).clear()
        return run.artifacts.open(made["artifacts"]["reward_model"])

    def _load(self, warm: Artifact, store: ArtifactStore) -> RewardModel:
        """Raises BrokenArtifact, also for one without its head, or InvalidInput for what cannot be trained on."""
        if warm.manifest.kind != "reward_model":
            raise InvalidInput(
                f"{warm.reference} is a {warm.manifest.kind}, not a reward model", pointer="/reward_model/path"
            )
        if is_quantised(warm.manifest):
            raise InvalidInput(
                f"{warm.reference} is an 8-bit version, which cannot be trained; give {original_of(warm.manifest)}",
                pointer="/reward_model/path",
            )
        model = load_pair_model(warm, store, training_device())
        assert isinstance(model, RewardModel)
        return model

    def _encode(
        self, model: RewardModel, rows: Sequence[Preference], run: Run, part: DataPart = "training"
    ) -> list[EncodedPreference]:
        """As the reward model's own tokenizer reads them. Raises InvalidInput where a prompt would lose tokens."""
        encoded = encode_preferences(model, rows, self.data, run, part)
        refuse_cut(encoded, model.max_tokens)
        return encoded
