"""Data sets of personal picture ratings: import, split, read, and keep embeddings.

The standard form is a folder that is also a Hugging Face data set repository; see [`~modeling_pamela.data.schema`].
"""

__all__: list[str] = []
