"""Which channels a task's answer rests on."""

from .attribution import ChannelAttribution, LabelledWindows, attribute
from .explaining import NoSuchWindowError, explain

__all__ = ["ChannelAttribution", "LabelledWindows", "NoSuchWindowError", "attribute", "explain"]
