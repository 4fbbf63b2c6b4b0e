"""The component choose: the best approved candidate goes on."""
