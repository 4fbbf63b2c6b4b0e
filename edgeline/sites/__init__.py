"""A bundle at a site: its image, and what each manager of sites takes to run it."""
