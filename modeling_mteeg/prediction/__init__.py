"""From a recording to answers: sliding windows, probabilities over time, events, pictures."""

from .engine import predict
from .result import Prediction

__all__ = ["Prediction", "predict"]
