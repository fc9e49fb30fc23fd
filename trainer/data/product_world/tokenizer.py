"""A word-level tokenizer over the closed vocabulary, as a plain Hugging Face fast tokenizer."""

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trainer.data.product_world.worlds import WORLDS, WorldName

SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>", "<cls>", "<sep>")

CHAT_TEMPLATE = (
    "<bos> {% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ message['content'] }} <eos>"
    "{% else %}{{ message['content'] }} <sep> {% endif %}{% endfor %}"
)


def make_tokenizer(world: WorldName = "small") -> PreTrainedTokenizerFast:
    """The tokenizer that policies and reward models of a world share; 6 specials, then the words in order."""
    vocabulary = {token: index for index, token in enumerate([*SPECIALS, *WORLDS[world].words()])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>",
        pair="<cls> $A <sep> $B:1 <sep>:1",
        special_tokens=[(token, vocabulary[token]) for token in ("<cls>", "<sep>")],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        cls_token="<cls>",
        sep_token="<sep>",
        clean_up_tokenization_spaces=False,
        model_max_length=WORLDS[world].max_tokens,
        # as an argument it is saved too: set afterwards, a loaded tokenizer would no longer tell the segments apart
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
