"""What people look at: HTML pages, figures, the terminal."""
