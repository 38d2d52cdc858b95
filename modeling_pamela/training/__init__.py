"""Training: closed form, steps, and the recipes for both."""
