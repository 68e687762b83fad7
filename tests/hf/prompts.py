"""Prompts for the tiny models: rows of words, images and videos, padded, with what is known of them beforehand.

How many tokens an image has is written down here from the layouts of the families, not asked of the library.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from tests.hf.tiny import FAMILIES, IMAGE, PATCH, SIDE, VIDEO, WORDS

GRID = SIDE // PATCH
TILED = {  # height, width: tokens of the whole image, then rows of its tiles with a newline behind each
    (12, 24): 9 + 3 * (6 + 1),
    (24, 12): 9 + 6 * (3 + 1),
    (18, 24): 9 + 4 * (6 + 1),  # fitted into 24 x 24, where the first and last row are padding
}
GRIDS = {(1, 4, 4): 4, (1, 4, 6): 6, (1, 2, 8): 4}  # time, height, width in patches; 2 x 2 of them are a token
CLIPS = {(2, 4, 4): 8, (3, 2, 4): 6}


@dataclass(frozen=True)
class Part:
    """A run of words, an image or a video of a prompt."""

    kind: str
    size: Any


@dataclass(repr=False)
class Prompt:
    """A batch of prompts for one family.

    Attributes:
        inputs: What the model takes.
        attended: `(batch, sequence)`, False for padding.
        image_index: `(batch, sequence)`: which image each token belongs to, -1 for text and padding.
        rows: What it was made of.
    """

    inputs: dict[str, Tensor]
    attended: Tensor
    image_index: Tensor
    rows: list[list[Part]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Prompt({self.rows})"

    def permuted(self, order: list[int]) -> "Prompt":
        """The same rows in another order, with their images."""
        inputs = dict(self.inputs)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            if name in inputs:
                inputs[name] = inputs[name][order]
        for kind, pixels, sizes in (
            ("image", "pixel_values", ("image_sizes", "image_grid_thw")),
            ("video", "pixel_values_videos", ("video_grid_thw", "second_per_grid_ts")),
        ):
            if pixels not in inputs:
                continue
            owners = [number for number, row in enumerate(self.rows) for part in row if part.kind == kind]
            places = [place for row in order for place, owner in enumerate(owners) if owner == row]
            grid = inputs.get(f"{kind}_grid_thw")
            parts = inputs[pixels].split(1 if grid is None else grid.prod(dim=1).tolist())
            if not places:
                inputs = {name: value for name, value in inputs.items() if name not in (pixels, *sizes)}
                continue
            inputs[pixels] = torch.cat([parts[place] for place in places])
            for name in sizes:
                if name in inputs:
                    inputs[name] = inputs[name][places]
        return Prompt(inputs, self.attended[order], self.image_index[order], [self.rows[row] for row in order])

    @property
    def counts(self) -> list[int]:
        """Visual tokens of each row."""
        return [int(row.sum()) for row in self.image_index >= 0]


def spans(family: str, part: Part) -> list[int]:
    """Tokens of every image that a part counts as."""
    if family in ("llava", "video_llava") and part.kind == "image":
        return [GRID**2]
    if family.startswith("qwen"):
        return [(GRIDS if part.kind == "image" else CLIPS)[part.size]]
    if part.kind == "image":
        return [TILED[part.size]]
    frames = part.size
    return {"llava_next_video": [frames], "llava_onevision": [4 * frames + 1], "video_llava": [10] * frames}[family]


def make_prompt(name: str, rows: list[list[Part]], seed: int = 0, padding: str = "left", dtype=torch.float64) -> Prompt:
    """The batch of these rows."""
    family, _ = FAMILIES[name]
    generator = torch.Generator().manual_seed(seed)

    def word() -> int:
        return int(torch.randint(WORDS.start, WORDS.stop, (), generator=generator))

    tokens: list[list[tuple[int, int]]] = []
    for parts in rows:
        row: list[tuple[int, int]] = []
        seen = 0
        for part in parts:
            if part.kind == "words":
                row += [(word(), -1) for _ in range(part.size)]
                continue
            for span in spans(family, part):
                placeholder = IMAGE if part.kind == "image" else VIDEO
                pieces = part.size[0] if family == "qwen3_vl" and part.kind == "video" else 1
                for piece in range(pieces):  # Qwen3-VL writes the time before each frame
                    row += [(word(), -1)] * bool(piece) + [(placeholder, seen)] * (span // pieces)
                seen += 1
        tokens.append(row)
    length = max(map(len, tokens))
    ids, index = torch.zeros(len(rows), length, dtype=torch.int64), torch.full((len(rows), length), -1)
    attended = torch.zeros(len(rows), length, dtype=torch.bool)
    for number, row in enumerate(tokens):
        place = slice(length - len(row), None) if padding == "left" else slice(0, len(row))
        ids[number, place] = torch.tensor([token for token, _ in row])
        index[number, place] = torch.tensor([owner for _, owner in row])
        attended[number, place] = True
    inputs = {"input_ids": ids, "attention_mask": attended.long()}
    items = {kind: [part.size for row in rows for part in row if part.kind == kind] for kind in ("image", "video")}
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    if family.startswith("qwen"):
        inputs["mm_token_type_ids"] = torch.where(ids == IMAGE, 1, torch.where(ids == VIDEO, 2, 0)).int()
        for kind, pixels in (("image", "pixel_values"), ("video", "pixel_values_videos")):
            if items[kind]:
                inputs[f"{kind}_grid_thw"] = torch.tensor(items[kind])
                patches = int(inputs[f"{kind}_grid_thw"].prod(dim=1).sum())
                inputs[pixels] = draw(patches, 3 * 2 * PATCH**2)
        if family == "qwen2_5_vl" and items["video"]:
            inputs["second_per_grid_ts"] = torch.tensor([1.5 + number for number in range(len(items["video"]))])
        return Prompt(inputs, attended, index, rows)
    if items["image"]:
        tiles = () if family in ("llava", "video_llava") else (5,)
        inputs["pixel_values"] = draw(len(items["image"]), *tiles, 3, SIDE, SIDE)
        if tiles:
            inputs["image_sizes"] = torch.tensor(items["image"])
    if items["video"]:
        inputs["pixel_values_videos"] = draw(len(items["video"]), items["video"][0], 3, SIDE, SIDE)
    return Prompt(inputs, attended, index, rows)


def fixed_prompt(name: str, padding: str = "left", dtype: torch.dtype = torch.float64) -> Prompt:
    """Two images in the first row, one image or video in the second, text alone in the third."""
    family, _ = FAMILIES[name]
    size = {"llava": None, "video_llava": None}.get(family, (1, 4, 6) if family.startswith("qwen") else (12, 24))
    image, words = Part("image", size), Part("words", 2)
    video = image if family in ("llava", "llava_next") else Part("video", (2, 4, 4) if "qwen" in family else 2)
    return make_prompt(
        name, [[words, image, words, image, words], [words, video, words], [words, words]], 0, padding, dtype
    )


@st.composite
def prompts(draw: st.DrawFn, name: str, max_rows: int = 2, dtype: torch.dtype = torch.float64) -> Prompt:
    """One or two rows, of which the first has an image and the second may have none; two images at most in a row."""
    family, _ = FAMILIES[name]
    frames = draw(st.integers(1, 3), label="frames")

    def item(kind: str) -> Part:
        if family.startswith("qwen"):
            return Part(kind, draw(st.sampled_from(sorted(GRIDS if kind == "image" else CLIPS)), label=kind))
        if kind == "video":
            return Part(kind, frames)
        return Part(kind, None if family in ("llava", "video_llava") else draw(st.sampled_from(sorted(TILED))))

    kinds = ["image"] if family in ("llava", "llava_next") else ["image", "video"]
    rows = []
    for number in range(draw(st.integers(1, max_rows), label="rows")):
        row = [Part("words", draw(st.integers(0, 3), label="words before"))]
        for _ in range(draw(st.integers(0 if number else 1, 2), label="images")):
            row += [item(draw(st.sampled_from(kinds), label="kind")), Part("words", draw(st.integers(1, 3)))]
        rows.append(row if row[0].size or len(row) > 1 else [Part("words", 2)])
    padding = draw(st.sampled_from(["left", "right"]), label="padding")
    return make_prompt(name, rows, draw(st.integers(0, 2**16), label="prompt seed"), padding, dtype)
