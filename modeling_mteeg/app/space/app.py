"""The page as a Hub Space. The base is named by the Space's variable MTEEG_BASE."""

from modeling_mteeg.app.space_page import serve

serve()
