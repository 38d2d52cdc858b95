"""The paper's tables and figures, and the ones it should have had: one file each, for any data folder."""
