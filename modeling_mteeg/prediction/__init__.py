"""From a recording to answers: sliding windows, probabilities over time, events, pictures."""
