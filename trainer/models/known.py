"""Shapes of models on the hub that ready recipes name, so that a plan can be checked without fetching anything."""

from transformers import Gemma2Config, LlamaConfig, PretrainedConfig


def known_config(hub_id: str) -> PretrainedConfig | None:
    """The configuration that ``hub_id`` has on the hub, as far as it shapes the network; None if it is not known here.

    Gemma-2-2B is what ``Gemma2Config`` defaults to: 2,614,341,888 parameters. Llama-3-8B (arXiv 2407.21783, table 3)
    has 8,030,261,248.
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
    return None
