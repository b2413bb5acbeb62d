"""Serve a fitted pipeline: documents go in, labels and probabilities come out.

The environment variable MODEL names the pipeline's .joblib or .skops file:

    MODEL=model.joblib uvicorn app:app --workers 2
"""

import os
import reprlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import joblib
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sklearn.pipeline import Pipeline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_DOCUMENTS = 1_000
MAX_CHARACTERS = 10_000
MAX_BYTES = 1_000_000

# What a skops file may contain besides the types that skops trusts by itself.
TRUSTED = ["sklearn_static.StaticEmbeddingVectorizer", "sklearn_static.StaticTable"]

Document = Annotated[str, Field(max_length=MAX_CHARACTERS)]
Documents = Annotated[list[Document], Body(min_length=1, max_length=MAX_DOCUMENTS)]


class Prediction(BaseModel):
    """The answer: one label and one row of scores per document."""

    labels: list[Any]
    classes: list[Any]
    probabilities: list[Any] | None = None
    decision: list[Any] | None = None


def load(path: Path) -> Pipeline:
    """Load a pipeline: a .joblib file, which has to be your own, or a .skops file.

    Raises
    ------
    ValueError
        If the file is of another kind, or a .skops file contains types that are not in TRUSTED.
    """
    if path.suffix == ".joblib":
        # The workers map the same file, so that they share one copy of the token vectors.
        return joblib.load(path, mmap_mode="r")
    if path.suffix == ".skops":
        import skops.io  # not needed for .joblib files

        if unknown := set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED):
            raise ValueError(
                f"MODEL={path} contains the types {sorted(unknown)}, which are not trusted; "
                "add them to TRUSTED in app.py if you know them, or use another file."
            )
        return skops.io.load(path, trusted=TRUSTED)
    raise ValueError(f"MODEL={path} must be the path of a .joblib or a .skops file.")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model before the first request."""
    app.state.model = load(Path(os.environ.get("MODEL", "model.joblib")))
    yield


class BodyLimit:
    """Refuse a body as soon as it is larger than MAX_BYTES, before the rest is in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BYTES:
                raise HTTPException(
                    413,
                    f"the body must have at most {MAX_BYTES} bytes, got more; "
                    "divide the documents among several requests.",
                )
            return message

        await self.app(scope, counted, send)


app = FastAPI(title="Text classifier", lifespan=lifespan)
app.add_middleware(BodyLimit)


def explain(error: dict[str, Any]) -> str:
    """Say which part of the body broke which rule, and what to do."""
    place, given = error["loc"][1:], error["input"]
    row = f"documents[{place[0]}]" if place else "documents"
    shown = "null" if given is None else reprlib.repr(given)
    match error["type"]:
        case "json_invalid":
            return (
                f"the body is not valid JSON at character {place[0]}: {error['ctx']['error']}; "
                'send a list such as ["a document"].'
            )
        case "list_type" | "missing" if isinstance(given, bytes):
            return (
                "the body is not declared as JSON; set the header Content-Type: application/json."
            )
        case "list_type" | "missing":
            return f'the body must be a JSON list, got {shown}; send a list such as ["a document"].'
        case "too_short":
            return "the body must have at least 1 document, got 0; send one or more."
        case "too_long":
            return (
                f"the body must have at most {MAX_DOCUMENTS} documents, got {len(given)}; "
                "divide them among several requests."
            )
        case "string_too_long":
            return (
                f"{row} must have at most {MAX_CHARACTERS} characters, got {len(given)}, "
                f"{shown}; shorten it or divide it into several documents."
            )
        case "string_unicode":
            return f"{row} must be valid Unicode, got {shown}; remove lone surrogates."
        case _:
            return f"{row} must be a string, got {shown}; leave it out or send a string."


@app.exception_handler(RequestValidationError)
async def refuse(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer with one sentence about the first error."""
    return JSONResponse({"detail": explain(error.errors()[0])}, status_code=422)


# FastAPI's answer to a body that is not Unicode, or nested too deeply for Python.
@app.exception_handler(400)
async def refuse_unreadable(request: Request, error: HTTPException) -> JSONResponse:
    """Answer like `refuse`."""
    detail = (
        "the body must be a JSON list in UTF-8, got one that cannot be decoded; send a list such "
        'as ["a document"].'
    )
    return JSONResponse({"detail": detail}, status_code=422)


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer once the model is loaded."""
    return {"status": "ok"}


# Not `async`: FastAPI runs it in a thread, so that a large request does not hold up the others.
@app.post("/predict", response_model_exclude_none=True)
def predict(documents: Documents, request: Request) -> Prediction:
    """Predict one label per document."""
    vectorizer, classifier = request.app.state.model[:-1], request.app.state.model[-1]
    # The label and the scores come from the same features, which are computed once.
    features = vectorizer.transform(documents)
    prediction = Prediction(
        labels=classifier.predict(features).tolist(), classes=classifier.classes_.tolist()
    )
    if hasattr(classifier, "predict_proba"):
        prediction.probabilities = classifier.predict_proba(features).tolist()
    else:
        prediction.decision = classifier.decision_function(features).tolist()
    return prediction
