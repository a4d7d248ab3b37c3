"""Charts, trees, tables and words for people: data in, text, SVG or PNG out."""
