"""Networks in formats of other programs, held to the numbers of the original."""
