"""The component train_candidate: one candidate, up to a verified edge model."""
