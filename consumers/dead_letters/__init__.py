"""Dead letters: produced, stored, reviewed and sent back."""
