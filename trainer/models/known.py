"""Shapes of models on the hub that ready recipes name, so that a plan can be checked without fetching anything."""

from transformers import Gemma2Config, LlamaConfig, LongformerConfig, PretrainedConfig, Qwen2Config


def known_config(hub_id: str) -> PretrainedConfig | None:
    """The configuration that ``hub_id`` has on the hub, as far as it shapes the network; None if it is not known here.

    Gemma-2-2B is what ``Gemma2Config`` defaults to: 2,614,341,888 parameters. Llama-3-8B (arXiv 2407.21783, table 3)
    has 8,030,261,248; Qwen2.5-7B (arXiv 2412.15115, table 1) 7,615,616,512. Longformer (arXiv 2004.05150) is RoBERTa
    with windows of 512 tokens, 4,096 positions, and two that RoBERTa counts before the first.
    """
    match hub_id:
        case "google/gemma-2-2b" | "google/gemma-2-2b-it":
            return Gemma2Config()
        case "meta-llama/Meta-Llama-3-8B" | "meta-llama/Meta-Llama-3-8B-Instruct":
            return LlamaConfig(
                vocab_size=128_256,
                hidden_size=4096,
                intermediate_size=14_336,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=8,
                max_position_embeddings=8192,
                rms_norm_eps=1e-5,
                rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
                tie_word_embeddings=False,
            )
        case "Qwen/Qwen2.5-7B" | "Qwen/Qwen2.5-7B-Instruct":
            return Qwen2Config(
                vocab_size=152_064,
                hidden_size=3584,
                intermediate_size=18_944,
                num_hidden_layers=28,
                num_attention_heads=28,
                num_key_value_heads=4,
                max_position_embeddings=32_768 if hub_id.endswith("Instruct") else 131_072,
                rms_norm_eps=1e-6,
                rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
                tie_word_embeddings=False,
            )
        case "allenai/longformer-base-4096":
            return _longformer(layers=12, hidden_size=768, heads=12)
        case "allenai/longformer-large-4096":
            return _longformer(layers=24, hidden_size=1024, heads=16)
    return None


def _longformer(*, layers: int, hidden_size: int, heads: int) -> LongformerConfig:
    return LongformerConfig(
        attention_window=[512] * layers,
        vocab_size=50_265,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=4098,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
    )
