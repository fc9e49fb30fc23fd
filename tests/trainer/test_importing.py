"""What a stranger's files may do to an import: be refused in words, run nothing, publish nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPTNeoXConfig,
    GPTNeoXForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from trainer.artifacts import ArtifactStore
from trainer.data.product_world import make_tokenizer
from trainer.errors import BrokenArtifact, InvalidInput
from trainer.files import sha256_of
from trainer.importing import import_model
from trainer.manifest import Artifact

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A classifier with one label in Hugging Face's files."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **SMALL))
    return saved(model, tmp_path / "bert")


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A causal language model."""
    torch.manual_seed(0)
    return saved(LlamaForCausalLM(LlamaConfig(vocab_size=len(make_tokenizer()), **SMALL)), tmp_path / "llama")


def saved(model: torch.nn.Module, directory: Path) -> Path:
    model.save_pretrained(directory)  # type: ignore[operator]
    make_tokenizer().save_pretrained(directory)
    return directory


def reward_model(store: ArtifactStore, directory: Path) -> Artifact:
    return import_model(store, str(directory), "theirs", kind="reward_model", architecture="encoder")


def change_config(directory: Path, **changes: object) -> None:
    file = directory / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_weights(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(directory / "model.safetensors")
    change(weights)
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def sign(directory: Path, **scores: float) -> None:
    """Have an artifact's manifest agree with its files, and perhaps say other scores of its probe pairs."""
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"] = {name: sha256_of(directory / name) for name in manifest["files"]}
    for probe in manifest["probes"]:
        probe["scores"] |= scores
    (directory / "manifest.json").write_text(json.dumps(manifest))


def test_a_models_own_code_is_never_run_and_nobody_is_asked_whether(
    store: ArtifactStore, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    (bert / "theirs.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    auto_map = {"AutoConfig": "theirs.Config", "AutoModelForSequenceClassification": "theirs.Model"}
    change_config(bert, auto_map=auto_map, model_type="theirs")
    monkeypatch.setattr("builtins.input", lambda _: "y")

    with pytest.raises(BrokenArtifact, match="custom code"):
        reward_model(store, bert)

    assert not ran.exists()
    assert store.all() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: (model / "config.json").unlink(),
        lambda model: (model / "config.json").write_text("{"),
        lambda model: change_config(model, model_type="unheard-of"),
        lambda model: change_config(model, hidden_size=24),
        lambda model: (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:-100]),
        lambda model: (model / "model.safetensors").write_bytes(b"nothing of the kind"),
        lambda model: (model / "tokenizer.json").write_text("{"),
        lambda model: change_weights(model, lambda weights: weights["classifier.bias"].fill_(torch.nan)),
        lambda model: [file.unlink() for file in model.glob("tokenizer*")],
        lambda model: change_config(model, hidden_size="sixteen"),
        lambda model: change_config(model, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        lambda model: change_config(model, attn_implementation="kernels-community/flash-attn"),
    ],
    ids=[
        "no config",
        "half a config",
        "unknown type",
        "other shape",
        "cut",
        "garbage",
        "half a tokenizer",
        "NaN",
        "none",
        "no number",
        "a library that is not here",
        "code that is not here",
    ],
)
def test_files_that_are_no_model_are_refused_and_nothing_is_published(
    spoil: Callable[[Path], object], store: ArtifactStore, bert: Path
) -> None:
    spoil(bert)

    with pytest.raises(BrokenArtifact):
        reward_model(store, bert)

    assert store.all() == []
    assert store.unreadable() == []


@pytest.mark.parametrize("lost", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight"])
def test_a_policy_that_lacks_weights_is_refused_rather_than_made_up(
    lost: str, store: ArtifactStore, llama: Path
) -> None:
    change_weights(llama, lambda weights: weights.pop(lost))

    with pytest.raises(BrokenArtifact, match=lost):
        import_model(store, str(llama), "theirs", kind="policy")


def test_an_adapter_is_refused_since_its_model_is_elsewhere(store: ArtifactStore, llama: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    make_tokenizer().save_pretrained(adapter)
    save_file({"lora": torch.zeros(1)}, adapter / "adapter_model.safetensors", {"format": "pt"})
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(llama)}))

    with pytest.raises(BrokenArtifact, match=r"an adapter .* merge it"):
        import_model(store, str(adapter), "theirs", kind="policy")

    assert store.all() == []


def test_an_artifact_that_no_library_here_can_read_is_refused_in_words(
    store: ArtifactStore, bert: Path, tmp_path: Path
) -> None:
    theirs = reward_model(ArtifactStore(tmp_path / "theirs"), bert).path
    change_config(theirs, model_type="of-the-future")
    sign(theirs)

    with pytest.raises(BrokenArtifact, match="cannot be read as a model of transformers: ValueError"):
        import_model(store, str(theirs), "ours")


@pytest.mark.parametrize("broken", ["weights", "probe"])
def test_a_probe_pair_without_a_finite_score_proves_nothing(
    broken: str, store: ArtifactStore, bert: Path, tmp_path: Path
) -> None:
    theirs = reward_model(ArtifactStore(tmp_path / "theirs"), bert).path
    if broken == "weights":
        change_weights(theirs, lambda weights: weights["classifier.bias"].fill_(torch.nan))
    sign(theirs, **({"score": float("nan")} if broken == "probe" else {}))

    with pytest.raises(BrokenArtifact, match=r"a probe pair scores .*nan"):
        import_model(store, str(theirs), "ours")


def test_a_head_that_pools_otherwise_than_here_is_refused_with_both_scores(
    store: ArtifactStore, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    size = len(make_tokenizer())
    ids = {f"{name}_token_id": 0 for name in ("pad", "eos", "bos", "cls", "sep")}
    config = ModernBertConfig(vocab_size=size, num_labels=1, classifier_pooling="mean", **ids, **SMALL)  # type: ignore[arg-type]
    directory = saved(ModernBertForSequenceClassification(config), tmp_path / "modern")

    with pytest.raises(InvalidInput, match=r"own head scores a probe pair .* pooling cls"):
        reward_model(store, directory)

    change_config(directory, classifier_pooling="cls")
    assert reward_model(store, directory).manifest.details["pooling"] == "cls"


def test_an_encoder_is_no_decoder(store: ArtifactStore, bert: Path) -> None:
    with pytest.raises(InvalidInput, match="as decoder"):
        import_model(store, str(bert), "theirs", kind="reward_model", architecture="decoder")


def test_a_decoder_that_pads_with_its_end_is_read_at_its_last_token(store: ArtifactStore, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    end = tokenizer.eos_token_id
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=end, eos_token_id=end, **SMALL)
    directory = saved(LlamaForSequenceClassification(config), tmp_path / "decoder")

    artifact = import_model(store, str(directory), "theirs", kind="reward_model", architecture="decoder")

    assert artifact.manifest.details["pooling"] == "last_token"


def test_a_decoder_whose_every_special_token_ends_a_text_is_read_at_its_last_token(
    store: ArtifactStore, tmp_path: Path
) -> None:
    """As of GPT-NeoX and Pythia: one token, of id 0, begins, ends and stands for what is unknown."""
    torch.manual_seed(0)
    end = "<|endoftext|>"
    words = {word: number for number, word in enumerate([end, "Paris", "."])}
    cut = Tokenizer(WordLevel(words, unk_token=end))
    cut.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=cut, bos_token=end, eos_token=end, unk_token=end)
    config = GPTNeoXConfig(vocab_size=len(words), num_labels=1, bos_token_id=0, eos_token_id=0, **SMALL)  # type: ignore[arg-type]
    directory = tmp_path / "pythia"
    GPTNeoXForSequenceClassification(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)

    artifact = import_model(store, str(directory), "theirs", kind="reward_model", architecture="decoder")

    assert json.loads((artifact.path / "config.json").read_text())["pad_token_id"] == 1
