"""Words and ids, and the prompt that a question becomes."""

from dataclasses import dataclass

from .config import LlavaConfig


@dataclass(frozen=True)
class Vocabulary:
    """A closed vocabulary: every word is one token.

    Args:
        words: The words by id; the first are `<pad> <bos> <eos> <image> user assistant`.

    Examples:
        >>> words = Vocabulary(("<pad>", "<bos>", "<eos>", "<image>", "user", "assistant", "what", "color"))
        >>> words.prompt("What color?", visual_tokens=2)
        [1, 4, 3, 3, 6, 7, 5]
        >>> words.decode([6, 7, 2])
        'what color'
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = ("<pad>", "<bos>", "<eos>", "<image>", "user", "assistant")
        if self.words[: len(expected)] != expected:
            raise ValueError(
                f"words must begin with {' '.join(expected)}, got {' '.join(self.words[: len(expected)])!r}"
            )

    @classmethod
    def of(cls, config: LlavaConfig) -> "Vocabulary":
        """Returns the vocabulary in a model's configuration."""
        if not config.vocabulary:
            raise ValueError("questions must be token ids for a model without a vocabulary, got text")
        return cls(config.vocabulary)

    @property
    def pad(self) -> int:
        """Id of padding."""
        return 0

    @property
    def bos(self) -> int:
        """Id that begins every prompt."""
        return 1

    @property
    def eos(self) -> int:
        """Id that ends every answer."""
        return 2

    @property
    def image(self) -> int:
        """Id of the placeholder of one visual token."""
        return 3

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the words of `text`, case and punctuation aside."""
        cleaned = "".join(letter if letter.isalnum() or letter.isspace() else " " for letter in text.lower())
        known = {word: index for index, word in enumerate(self.words) if not word.startswith("<")}
        unknown = [word for word in cleaned.split() if word not in known]
        if unknown:
            raise ValueError(
                f"questions must use words that the model knows ({' '.join(sorted(known))}), got {' '.join(unknown)!r}"
            )
        return [known[word] for word in cleaned.split()]

    def prefix(self, visual_tokens: int) -> list[int]:
        """Returns what stands before the question: beginning, "user", the placeholders."""
        return [self.bos, self.words.index("user"), *[self.image] * visual_tokens]

    def question(self, text: str) -> list[int]:
        """Returns what stands after the image: the question and "assistant"."""
        words = self.encode(text)
        if not words:
            raise ValueError(f"questions must have at least one word, got {text!r}")
        return [*words, self.words.index("assistant")]

    def prompt(self, text: str, visual_tokens: int) -> list[int]:
        """Returns the whole prompt of one question on one image of `visual_tokens` tokens (0: no image)."""
        return [*self.prefix(visual_tokens), *self.question(text)]

    def decode(self, ids: list[int]) -> str:
        """Returns the words up to the end of the sequence, special tokens left out."""
        if self.eos in ids:
            ids = ids[: ids.index(self.eos)]
        return " ".join(self.words[index] for index in ids if not self.words[index].startswith("<"))
