"""The component tune: a search for the hyperparameters of the best edge model."""
