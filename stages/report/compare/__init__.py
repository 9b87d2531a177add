"""`make compare`: runs beside each other, from what they have published. Nothing is computed anew."""
