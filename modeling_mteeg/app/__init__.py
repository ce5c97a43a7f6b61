"""A page in the browser: drop a recording, choose tasks, see and download the answers.

``mteeg app`` serves it here, and ``space/`` holds the files of a Hub Space that serves it there.
Needs Gradio and matplotlib, which come with the ``app`` extra.
"""
