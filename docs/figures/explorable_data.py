"""What two explorables need that only Python knows: the bundled model's choices and answers, and sizes and rules."""

import base64
import hashlib
import io
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _model import asked, curves, images, model
from PIL import Image

import entropyprune_ref
from entropyprune_ref import EntropyPrune
from entropyprune_ref.evaluation.plan import scorers
from entropyprune_ref.flops import DECODERS, FORMULAS
from entropyprune_ref.llava import Vocabulary
from entropyprune_ref.llava.model import LlavaOutput
from entropyprune_ref.world.scenes import GRID

CACHE = Path(__file__).parents[2] / ".cache" / "explorables"
IMAGES, LAYERS = 12, 4
KEEPS = (72, 48, 32, 16, 8, 0)
SCORERS = (
    "token-entropy-paper",
    "token-entropy-row_normalized",
    "token-entropy-released",
    "last-token-attention",
    "random",
    "lowest-entropy",
)


def flops() -> str:
    """Decoders and counting rules, as JSON."""
    sizes = {name: asdict(size) for name, size in DECODERS.items()}
    return json.dumps({"models": sizes, "rules": {name: asdict(rule) for name, rule in FORMULAS.items()}})


@cache
def prune() -> str:
    """What the bundled model keeps and answers, as JSON; computed again only when the package has changed."""
    package = Path(entropyprune_ref.__file__).parent
    files = sorted(path for path in [*package.rglob("*.*"), Path(__file__)] if path.is_file() and path.suffix != ".pyc")
    kept = CACHE / f"{hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:24]}.json"
    if not kept.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_computed(), separators=(",", ":")))
    return kept.read_text()


@torch.no_grad()
def _computed() -> dict[str, Any]:
    """Every image with every question, scorer, layer and budget.

    Rankings are the bytes of the visual tokens, best first, as many as are ever kept, one a scorer, layer and image, or
    one a question where the question decides. Answers are letters, `A` for the first of `words`, a question each, by
    scorer, layer, budget and image.
    """
    shown = asked(IMAGES)
    texts = [question.text for _, questions in shown for question in questions]
    each = len(texts) // IMAGES
    batch = images(IMAGES).repeat_interleave(each, dim=0)
    vocabulary = Vocabulary.of(model().config)
    length = max(len(question.answer.split()) for _, questions in shown for question in questions)
    words: dict[str, int] = {}

    def places(answers: list[str]) -> list[str]:
        found = "".join(chr(ord("A") + words.setdefault(answer, len(words))) for answer in answers)
        return [found[start : start + each] for start in range(0, len(found), each)]

    def said(output: LlavaOutput) -> list[str]:
        token, cache = output.last_logits().argmax(-1, keepdim=True), output.cache.copy()
        tokens = [token]
        for _ in range(length - 1):
            token = model().step(token, cache)[:, -1].argmax(-1, keepdim=True)
            tokens.append(token)
        return places([vocabulary.decode(row) for row in torch.cat(tokens, dim=1).tolist()])

    whole = said(model()(batch, texts))
    layers = range(1, min(model().config.decoder.layers, LAYERS + 1))
    rankings: dict[str, list[list[list[str]]]] = {name: [] for name in SCORERS}
    answers: dict[str, list[list[list[str]]]] = {name: [] for name in SCORERS}
    for layer in layers:
        reading = model().read(batch, texts, layer)
        view = reading.view()
        for name in SCORERS:
            scores = scorers()[name](view)  # type: ignore[misc]
            chosen = EntropyPrune(layer, KEEPS[0], scorer=lambda _, scores=scores: scores)
            outputs = [model().resume(reading, chosen.choose(view, [keep] * len(texts))) for keep in KEEPS]
            answers[name].append([said(output) for output in outputs])
            order = (
                scores[view.image_index >= 0]
                .unflatten(0, (len(texts), -1))
                .argsort(dim=1, descending=True, stable=True)
            )
            packed = [base64.b64encode(bytes(row[: max(KEEPS)])).decode() for row in order.tolist()]
            rows = [packed[start : start + each] for start in range(0, len(packed), each)]
            rankings[name].append([row[:1] if len(set(row)) == 1 else row for row in rows])
    return {
        "side": GRID,
        "keeps": KEEPS,
        "layers": list(layers),
        "words": list(words),
        "images": [
            {
                "jpeg": _jpeg(scene.image),
                "curve": curves(True, IMAGES)[place].tolist(),
                "questions": [question.text for question in questions],
                "right": [question.answer for question in questions],
                "unpruned": whole[place],
            }
            for place, (scene, questions) in enumerate(shown)
        ],
        "rankings": rankings,
        "answers": answers,
    }


def _jpeg(image: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="jpeg", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
