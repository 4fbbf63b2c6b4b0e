"""An edge model as a function, in each runtime that it may meet."""
