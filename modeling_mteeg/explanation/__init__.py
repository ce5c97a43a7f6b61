"""Which channels a task's answer rests on."""

from .attribution import ChannelAttribution, attribute
from .explaining import explain

__all__ = ["ChannelAttribution", "attribute", "explain"]
