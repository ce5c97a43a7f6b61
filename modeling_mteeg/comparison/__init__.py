"""One table of many trainings: rows, what is finished of them, tables, figures' data, claims."""
