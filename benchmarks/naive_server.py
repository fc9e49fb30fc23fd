"""The server that anybody writes first: every request runs the model on a thread of its own, alone.

python -m benchmarks.naive_server DIRECTORY PORT
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Item(BaseModel):
    prompt: str
    response: str


def main(directory: str, port: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    app = FastAPI()

    @app.post("/score")
    def score(item: Item) -> dict[str, float]:
        with torch.inference_mode():
            inputs = tokenizer(item.prompt, item.response, return_tensors="pt")
            return {"score": float(model(**inputs).logits[0, 0])}

    uvicorn.run(app, port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
