"""From a recording to answers: sliding windows, probabilities over time, events, pictures."""

from .engine import predict
from .live import LivePredictor, LiveResult
from .result import Prediction

__all__ = ["LivePredictor", "LiveResult", "Prediction", "predict"]
