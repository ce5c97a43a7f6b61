"""From a recording to answers: sliding windows, probabilities over time, events, pictures."""

from .engine import predict
from .live import LivePredictor, LiveResult
from .live_checks import LiveWindowError
from .result import Prediction

__all__ = ["LivePredictor", "LiveResult", "LiveWindowError", "Prediction", "predict"]
