"""The features consumer: from records to feature rows in every sink."""
