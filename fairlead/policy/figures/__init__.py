"""Who may ask for which figures: agreements on them, questions, comparisons and overviews."""
