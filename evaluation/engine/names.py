"""How a scorer is named: ``NAME[@VERSION][:OUTPUT]``, or an alias in place of what precedes the colon."""

from dataclasses import dataclass

from trainer.errors import InvalidInput


@dataclass(frozen=True)
class ScorerName:
    """A scorer's name in its two parts."""

    reference: str
    """``NAME``, ``NAME@VERSION`` or an alias."""
    output: str | None
    """The score meant, or None for the artifact's first."""

    @classmethod
    def parse(cls, text: str) -> "ScorerName":
        """Raises InvalidInput for a name with nothing on one side of its colon."""
        reference, colon, output = text.partition(":")
        if not reference or (colon and not output):
            raise InvalidInput(f"scorer {text!r}: write NAME, NAME@VERSION or NAME@VERSION:OUTPUT")
        return cls(reference, output or None)

    def meant(self, outputs: tuple[str, ...], controls: tuple[str, ...] = ()) -> str:
        """The score meant among an artifact's ``outputs`` and ``controls``. Raises InvalidInput naming the outputs."""
        if self.output is None:
            return outputs[0]
        if self.output not in outputs + controls:
            raise InvalidInput(f"{self.reference} has no output {self.output!r}; it gives {', '.join(outputs)}")
        return self.output
