"""The closed vocabulary. Every value word belongs to exactly one property, so a value identifies its fact.

There are two sizes of it (``worlds``). Whoever reads, reads the larger, which contains the smaller.
"""

NOUNS = (
    "backpack", "bottle", "camera", "chair", "clock", "desk", "drone", "guitar", "helmet", "jacket",
    "kettle", "keyboard", "lamp", "mug", "pillow", "router", "sofa", "tent", "umbrella", "watch",
)  # fmt: skip

_VALUES = {
    "color": "red blue green black white amber violet teal ivory grey pink brown",
    "material": "steel oak cotton leather glass nylon ceramic bamboo wool copper cork resin",
    "shape": "round square oval curved flat conical slim cubic tapered angular arched domed",
    "size": "tiny small medium large huge compact narrow wide tall short bulky petite",
    "origin": "italy japan norway brazil canada kenya india france chile spain korea peru",
    "finish": "matte glossy satin brushed polished waxed painted raw etched frosted lacquered oiled",
    "power": "solar battery mains manual usb kinetic thermal wind hydrogen spring crank fuel",
    "price": "cheap fair premium budget costly modest steep reduced free luxury standard bargain",
    "weight": "light heavy feathery hefty solid airy dense balanced weighty slight massive trim",
    "age": "new vintage antique recent classic modern dated retro timeless fresh ancient current",
    "pattern": "striped plain dotted checked floral woven speckled marbled zigzag paisley tartan quilted",
    "closure": "zip button clasp magnet velcro buckle snap lace hook latch toggle strap",
}

PROPERTIES: dict[str, tuple[str, ...]] = {name: tuple(values.split()) for name, values in _VALUES.items()}

MORE_NOUNS = ("bicycle", "blender", "notebook", "toaster")

_MORE_VALUES = {
    "color": "orange maroon cream silver",
    "material": "marble linen rubber granite",
    "shape": "hexagonal spherical twisted pointed",
    "size": "giant mini broad deep",
    "origin": "mexico sweden egypt vietnam",
    "finish": "chromed varnished sanded gilded",
    "power": "coal steam diesel tidal",
    "price": "fixed moderate wholesale inflated",
    "weight": "stout ponderous buoyant leaden",
    "age": "worn youthful mature weathered",
    "pattern": "herringbone chevron houndstooth dappled",
    "closure": "drawstring rivet bolt clip",
    "texture": "smooth rough grainy silky coarse velvety bumpy ribbed grooved knitted fuzzy slick pebbled creased"
    " sandy waxy",
    "scent": "lavender citrus cedar vanilla musk mint rose jasmine pine sage ginger clove honey coconut lemon almond",
    "style": "rustic minimal baroque gothic nordic industrial bohemian tropical urban coastal colonial ornate playful"
    " sporty elegant casual",
    "sound": "silent humming buzzing clicking ringing chiming rattling whistling droning muted echoing squeaking"
    " purring hissing crackling booming",
}

MORE_PROPERTIES: dict[str, tuple[str, ...]] = {
    name: (*PROPERTIES.get(name, ()), *values.split()) for name, values in _MORE_VALUES.items()
}
"""The same properties with more values, and more properties: 16 of 16 values."""

TONES: dict[str, tuple[str, ...]] = {
    "calm": ("serene", "quiet", "gentle", "restful"),
    "bold": ("daring", "fierce", "loud", "striking"),
    "warm": ("cozy", "friendly", "sunny", "kind"),
    "formal": ("refined", "proper", "dignified", "stately"),
}

FACT_TEMPLATES = (
    "{p} is {v}",
    "the {p} is {v}",
    "it comes with {v} {p}",
    "here the {p} is always {v}",
    "this {noun} has a {p} of {v}",
)
"""Three to seven words, so that any length window can be met by choosing templates."""

TONE_TEMPLATES = (
    "simply feels {t}",
    "the whole feels very {t}",
    "this {noun} was made to feel {t}",
)

PROMPT_WORDS = ("product", "|", ";", "len", "to", "tone", "start", "before", "avoid")

PROPERTY_OF: dict[str, str] = {value: name for name, values in MORE_PROPERTIES.items() for value in values}
TONE_OF: dict[str, str] = {word: tone for tone, words in TONES.items() for word in words}

FUNCTION_WORDS: tuple[str, ...] = tuple(
    sorted({word for template in (*FACT_TEMPLATES, *TONE_TEMPLATES) for word in template.split() if "{" not in word})
)

AVOIDABLE = ("the", "it", "here", "this", "always", "has")
"""Function words a prompt may forbid; avoiding any one still leaves templates of other lengths."""
