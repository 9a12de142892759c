"""A chest made from formulas: anatomy, vessel trees, parenchyma and the scanner that sees it."""
